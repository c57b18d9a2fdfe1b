//! What observers are told, by threads and by tasks; counts, metrics, spans, and the alerts that are shipped.
#![cfg(all(feature = "testing", feature = "tokio"))]

#[cfg(feature = "metrics")]
mod alerts;
mod bed;
mod events;
mod faults;
#[cfg(feature = "metrics")]
mod metrics;
mod observers;
#[cfg(feature = "tracing")]
mod spans;
mod stats;
#[path = "../support/mod.rs"]
mod support;
