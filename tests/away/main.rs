//! The server away, slow, or losing replies: outcomes, the outbox, the circuit breaker.
#![cfg(feature = "testing")]

#[cfg(target_os = "linux")]
mod all_dead;
mod breaker;
mod cut_replies;
#[cfg(target_os = "linux")]
mod interrupted;
mod outage;
mod outbox;
mod outbox_processes;
#[path = "../support/mod.rs"]
mod support;
mod while_away;
