//! An observer for the `metrics` facade.

use super::{Event, LoadOutcome, LockOutcome, Observer, Reason, SaveKind};
use crate::{cache::Stats, engine::BreakerState};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

/// The kind of a [`Metric`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricKind {
    /// It only rises.
    Counter,
    /// It rises and falls.
    Gauge,
    /// Durations in seconds.
    Histogram,
}

/// A metric that [`Metrics`] records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name, unit included.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it counts or measures.
    pub what: &'static str,
}

const fn counts(name: &'static str, labels: &'static [&'static str], what: &'static str) -> Metric {
    Metric {
        name,
        kind: MetricKind::Counter,
        labels,
        what,
    }
}

const fn measures(
    name: &'static str,
    labels: &'static [&'static str],
    what: &'static str,
) -> Metric {
    Metric {
        name,
        kind: MetricKind::Histogram,
        labels,
        what,
    }
}

const fn shows(name: &'static str, what: &'static str) -> Metric {
    Metric {
        name,
        kind: MetricKind::Gauge,
        labels: &[],
        what,
    }
}

const OUTCOMES: [&str; 4] = ["committed", "invalidated", "deferred", "unrecorded"];
const REFUSED: &str = "refused";

/// Records a cache's events through the `metrics` facade: counters, histograms, and, if it is
/// polled, gauges. [`Metrics::TABLE`] lists them; docs/operations.md says what to do about them.
///
/// Everything goes to the recorder that is installed at that moment, so install it first: `new`
/// registers all counters with the value 0, so that Prometheus sees their first rise. Several
/// caches of a process are counted together; [`poll`](Self::poll) only one of them.
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, Params, Rules, observe::Metrics};
/// use metrics_exporter_prometheus::PrometheusBuilder;
///
/// # fn main() -> Result<(), cachetx::BoxError> {
/// let prometheus = PrometheusBuilder::new().set_buckets(&Metrics::BUCKETS_SECONDS)?.install_recorder()?;
/// let cache = Cache::builder(Rules::from_path("rules/nodb.json")?)
///     .in_memory()
///     .observer(Metrics::new())
///     .open()?;
/// let params = Params::new().with("run_id", "copacetic-sled");
/// cache.get_or_load("wepp", &params, || Ok("computed".as_bytes()))?;
/// // At each scrape:
/// Metrics::poll(&cache.stats());
/// let scraped = prometheus.render();
/// assert!(scraped.contains(r#"cachetx_loads_total{outcome="filled"} 1"#));
/// assert!(scraped.contains("cachetx_outbox_pending_records 0"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Metrics(());

impl Metrics {
    /// Bucket bounds for all histograms, in seconds, for exporters that need them: from 0.1 ms to
    /// 10 s.
    pub const BUCKETS_SECONDS: [f64; 16] = [
        0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0,
        5.0, 10.0,
    ];

    /// All metrics.
    pub const TABLE: &[Metric] = &[
        counts(
            "cachetx_locks_total",
            &["outcome"],
            "Locks that were asked for, by what came of it.",
        ),
        counts(
            "cachetx_lock_waits_total",
            &[],
            "Locks acquired after somebody else held them. Polled.",
        ),
        counts(
            "cachetx_locks_lost_total",
            &[],
            "Locks found lost while their guard held them.",
        ),
        measures(
            "cachetx_lock_wait_seconds",
            &["controller"],
            "From asking for a lock until it was acquired or timed out.",
        ),
        counts(
            "cachetx_saves_total",
            &["kind", "outcome"],
            "Saves, updates, transactions and deletions, by what became of the entries on the server.",
        ),
        counts(
            "cachetx_saves_refused_total",
            &["kind", "reason"],
            "Those that were refused: nothing was written.",
        ),
        counts(
            "cachetx_conflicts_total",
            &[],
            "Times that a file was not the one that a save or a try of an update had read.",
        ),
        measures(
            "cachetx_save_duration_seconds",
            &["kind", "controller"],
            "Those that went through. A transaction has no controller.",
        ),
        counts(
            "cachetx_invalidations_total",
            &["outcome"],
            "Invalidations without a document.",
        ),
        counts(
            "cachetx_loads_total",
            &["outcome"],
            "Values asked for by get_or_load, by where they came from.",
        ),
        measures(
            "cachetx_load_duration_seconds",
            &["controller"],
            "From asking for a value until it was there.",
        ),
        counts(
            "cachetx_reads_total",
            &["from"],
            "Documents read from the snapshot in memory, or from their file. Polled.",
        ),
        shows(
            "cachetx_outbox_pending_records",
            "Records in this process's outbox that wait for the server. Polled.",
        ),
        counts(
            "cachetx_outbox_replayed_records_total",
            &[],
            "Records that were brought to the server.",
        ),
        counts(
            "cachetx_outbox_set_aside_records_total",
            &[],
            "Damaged lines of dead processes' outboxes, set aside in .poison files. Polled.",
        ),
        counts(
            "cachetx_echoes_total",
            &[],
            "Times that a server was another one than before, so that the last changes were sent again.",
        ),
        shows(
            "cachetx_breaker_open",
            "1 while the circuit breaker keeps operations from the server, or probes it, else 0. Polled.",
        ),
        counts(
            "cachetx_breaker_changes_total",
            &["state"],
            "Changes of the circuit breaker.",
        ),
        counts(
            "cachetx_skipped_operations_total",
            &[],
            "Operations not sent, since the breaker was open. Polled.",
        ),
        counts(
            "cachetx_rules_changes_total",
            &["outcome"],
            "Other rules that came into force, or were refused.",
        ),
        counts(
            "cachetx_round_trips_total",
            &[],
            "Requests sent to servers. Polled.",
        ),
        counts(
            "cachetx_script_reloads_total",
            &[],
            "Scripts loaded again since a server had lost them. Polled.",
        ),
        counts(
            "cachetx_reconnects_total",
            &[],
            "Connections opened in place of one that was closed. Polled.",
        ),
        counts(
            "cachetx_redirects_total",
            &[],
            "Operations sent on to another server. Polled.",
        ),
        shows(
            "cachetx_connections_open",
            "Connections that are open. Polled.",
        ),
        shows(
            "cachetx_connections_idle",
            "Those that nobody uses. Polled.",
        ),
        counts(
            "cachetx_connection_timeouts_total",
            &[],
            "Calls that found all connections in use. Polled.",
        ),
    ];

    /// Describes all metrics to the installed recorder, and sets counters that it does not have yet
    /// to 0.
    #[must_use]
    pub fn new() -> Self {
        for metric in Self::TABLE {
            match metric.kind {
                MetricKind::Counter => describe_counter!(metric.name, metric.what),
                MetricKind::Gauge => describe_gauge!(metric.name, metric.what),
                MetricKind::Histogram => {
                    describe_histogram!(metric.name, Unit::Seconds, metric.what);
                }
            }
        }
        let none = |name: &'static str, label: &'static str, value: &'static str| {
            counter!(name, label => value).increment(0);
        };
        for outcome in [
            "acquired",
            "acquired_while_away",
            "timed_out",
            "abandoned",
            REFUSED,
        ] {
            none("cachetx_locks_total", "outcome", outcome);
        }
        for outcome in OUTCOMES {
            none("cachetx_invalidations_total", "outcome", outcome);
        }
        for outcome in LoadOutcome::ALL {
            none("cachetx_loads_total", "outcome", outcome.as_str());
        }
        for state in ["closed", "open", "probing"] {
            none("cachetx_breaker_changes_total", "state", state);
        }
        for outcome in ["replaced", REFUSED] {
            none("cachetx_rules_changes_total", "outcome", outcome);
        }
        for kind in SaveKind::ALL.iter().map(|kind| kind.as_str()) {
            for outcome in OUTCOMES {
                counter!("cachetx_saves_total", "kind" => kind, "outcome" => outcome).increment(0);
            }
            for reason in Reason::ALL.iter().map(|reason| reason.as_str()) {
                counter!("cachetx_saves_refused_total", "kind" => kind, "reason" => reason)
                    .increment(0);
            }
        }
        for name in [
            "cachetx_locks_lost_total",
            "cachetx_conflicts_total",
            "cachetx_outbox_replayed_records_total",
            "cachetx_echoes_total",
        ] {
            counter!(name).increment(0);
        }
        Self(())
    }

    /// Records what must be polled: gauges, and counters without an event. Call it at each scrape,
    /// or every few seconds.
    pub fn poll(stats: &Stats) {
        let is_open = stats.breaker != BreakerState::Closed;
        for (name, now) in [
            ("cachetx_outbox_pending_records", stats.outbox_pending),
            ("cachetx_breaker_open", u64::from(is_open)),
            ("cachetx_connections_open", stats.connections_open),
            ("cachetx_connections_idle", stats.connections_idle),
        ] {
            gauge!(name).set(now as f64);
        }
        for (name, count) in [
            ("cachetx_lock_waits_total", stats.lock_waits),
            (
                "cachetx_outbox_set_aside_records_total",
                stats.outbox_set_aside,
            ),
            ("cachetx_skipped_operations_total", stats.skipped),
            ("cachetx_round_trips_total", stats.round_trips),
            ("cachetx_script_reloads_total", stats.reloads),
            ("cachetx_reconnects_total", stats.reconnects),
            ("cachetx_redirects_total", stats.redirects),
            (
                "cachetx_connection_timeouts_total",
                stats.connection_timeouts,
            ),
        ] {
            counter!(name).absolute(count);
        }
        for (from, count) in [
            ("snapshot", stats.reads_from_snapshot),
            ("file", stats.reads_from_file),
        ] {
            counter!("cachetx_reads_total", "from" => from).absolute(count);
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &Event<'_>) {
        match *event {
            Event::Lock {
                document,
                waited,
                outcome,
            } => {
                counter!("cachetx_locks_total", "outcome" => outcome.as_str()).increment(1);
                if !matches!(outcome, LockOutcome::Abandoned | LockOutcome::Refused(_)) {
                    let controller = document.controller.to_owned();
                    histogram!("cachetx_lock_wait_seconds", "controller" => controller)
                        .record(waited);
                }
            }
            Event::Save {
                kind,
                documents,
                duration,
                conflicts,
                outcome,
                ..
            } => {
                let kind = kind.as_str();
                counter!("cachetx_conflicts_total").increment(conflicts.into());
                match outcome {
                    Ok(done) => {
                        let outcome = done.cache.as_str();
                        counter!("cachetx_saves_total", "kind" => kind, "outcome" => outcome)
                            .increment(1);
                        let controller = match documents {
                            [only] => only.controller.to_owned(),
                            _ => String::new(),
                        };
                        histogram!("cachetx_save_duration_seconds", "kind" => kind, "controller" => controller)
                            .record(duration);
                    }
                    Err(e) => {
                        let reason = Reason::of(e).as_str();
                        counter!("cachetx_saves_refused_total", "kind" => kind, "reason" => reason)
                            .increment(1);
                    }
                }
            }
            Event::Invalidation { outcome, .. } => {
                counter!("cachetx_invalidations_total", "outcome" => outcome.as_str()).increment(1);
            }
            Event::Load {
                controller,
                duration,
                outcome,
                ..
            } => {
                counter!("cachetx_loads_total", "outcome" => outcome.as_str()).increment(1);
                if outcome != LoadOutcome::Failed {
                    let controller = controller.to_owned();
                    histogram!("cachetx_load_duration_seconds", "controller" => controller)
                        .record(duration);
                }
            }
            Event::LockLost { .. } => counter!("cachetx_locks_lost_total").increment(1),
            Event::Replay { records, .. } => {
                counter!("cachetx_outbox_replayed_records_total").increment(records);
            }
            Event::Breaker { state } => {
                let state = match state {
                    BreakerState::Closed => "closed",
                    BreakerState::Open => "open",
                    BreakerState::Probing => "probing",
                };
                counter!("cachetx_breaker_changes_total", "state" => state).increment(1);
            }
            Event::Rules { outcome } => {
                let outcome = outcome.map_or(REFUSED, |()| "replaced");
                counter!("cachetx_rules_changes_total", "outcome" => outcome).increment(1);
            }
            Event::Echo { .. } => counter!("cachetx_echoes_total").increment(1),
        }
    }
}
