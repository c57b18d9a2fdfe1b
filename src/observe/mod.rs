//! Monitoring of a cache and its stores: [`Observer`], [`Event`], latencies, metrics and spans.
//!
//! | what | how |
//! | --- | --- |
//! | counts | [`Cache::stats`](crate::Cache::stats), always on; [`Stats`](crate::Stats) is `Serialize` |
//! | latencies in those | [`CacheBuilder::measure_latencies`](crate::CacheBuilder::measure_latencies) |
//! | each outcome, to code of yours | [`CacheBuilder::observer`](crate::CacheBuilder::observer) |
//! | Prometheus and similar systems | `Metrics` (feature `metrics`), an observer for the `metrics` facade; names, alerts and a dashboard are in docs/operations.md |
//! | spans, for OpenTelemetry say | feature `tracing`, below |
//!
//! # Spans
//!
//! With the feature `tracing`, at level INFO:
//!
//! | span | fields |
//! | --- | --- |
//! | `cachetx.lock` | `document`, `outcome` ([`LockOutcome::as_str`]) |
//! | `cachetx.save` | `kind` ([`SaveKind::as_str`]), `document` (a transaction's are listed), `tasks`, `outcome` ([`CacheOutcome::as_str`](crate::CacheOutcome::as_str), or `refused`) |
//! | `cachetx.load` | `controller`, `key`, `outcome` ([`LoadOutcome::as_str`]) |
//!
//! And at level DEBUG:
//!
//! | span | fields |
//! | --- | --- |
//! | `cachetx.replay` | `records`, `left`; where the outbox has something to replay |
//! | `cachetx.request` | `operation`: `Acquire`, `Commit`, `Invalidate`, … One operation on its way to the server, within one of the others |
//!
//! A save under a lock, or a transaction, is a sibling of its lock's span: the caller's work lies
//! between them. A task's span stays the parent if the work continues in another task or in a
//! thread that may block.

#[cfg(feature = "metrics")]
mod metrics;

pub use crate::cache::observe::{
    DocumentName, Event, Histogram, Latencies, LoadOutcome, LockOutcome, Observer, Reason, SaveKind,
};
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use metrics::{Metric, MetricKind, Metrics};
