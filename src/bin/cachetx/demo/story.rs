//! What the demo prints.

use crate::output;
use cachetx::CacheOutcome;
use serde_json::{Value, json};
use std::{fmt, time::Duration};

/// One lock and save.
pub(super) struct Transaction {
    pub(super) took: Duration,
    pub(super) round_trips: u64,
    pub(super) cache: CacheOutcome,
}

pub(super) struct Story {
    pub(super) server: String,
    /// The same for people.
    pub(super) host: String,
    /// What happened to the server then.
    pub(super) ending: &'static str,
    pub(super) run: String,
    pub(super) documents: usize,
    pub(super) task: &'static str,
    /// What the task's rule invalidates, dependents of dependents included.
    pub(super) controllers: Vec<String>,
    pub(super) field: &'static str,
    /// Entries on the server before the transaction.
    pub(super) warm: usize,
    pub(super) seen_before: i64,
    pub(super) transaction: Transaction,
    pub(super) deleted: Vec<String>,
    /// Entries on the server after it.
    pub(super) left: usize,
    pub(super) seen_after: i64,
    pub(super) without_server: Transaction,
    pub(super) seen_without_server: i64,
}

fn outcome(cache: &CacheOutcome) -> (&'static str, String) {
    match cache {
        CacheOutcome::Committed { removed } => (
            "committed",
            format!(
                "committed, {} deleted",
                output::counted(*removed, "dependent", "dependents")
            ),
        ),
        CacheOutcome::Invalidated { removed } => {
            let entries = output::counted(*removed, "entry", "entries");
            ("invalidated", format!("{entries} deleted"))
        }
        CacheOutcome::Deferred { cause } => (
            "deferred",
            format!("deferred into the outbox, since {cause}"),
        ),
        _ => ("other", format!("{cache:?}")),
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |took: Duration| took.as_secs_f64() * 1e3;
        let (saved, away) = (&self.transaction, &self.without_server);
        writeln!(
            f,
            "server   {}; run folder {} with {} documents",
            self.host, self.run, self.documents
        )?;
        writeln!(
            f,
            "rule     {} invalidates {}",
            self.task,
            self.controllers.join(", ")
        )?;
        writeln!(
            f,
            "before   {} entries on the server; a reader of climate sees {} = {}",
            self.warm, self.field, self.seen_before
        )?;
        writeln!(
            f,
            "save     climate with {}: {}; {} round trips (lock, commit), {:.1} ms with the durable file write",
            self.task,
            outcome(&saved.cache).1,
            saved.round_trips,
            millis(saved.took),
        )?;
        for key in &self.deleted {
            writeln!(f, "deleted  {key}")?;
        }
        writeln!(
            f,
            "after    {} entries on the server; a reader of climate sees {} = {}",
            self.left, self.field, self.seen_after
        )?;
        writeln!(f, "{}, while climate was locked again", self.ending)?;
        writeln!(
            f,
            "save     climate with {}: the file is written, the cache is {} ({:.1} ms)",
            self.task,
            outcome(&away.cache).1,
            millis(away.took)
        )?;
        writeln!(
            f,
            "after    a reader of climate sees {} = {}, from the file",
            self.field, self.seen_without_server
        )
    }
}

impl Story {
    pub(super) fn to_json(&self) -> Value {
        let transaction = |t: &Transaction| {
            json!({
                "outcome": outcome(&t.cache).0,
                "says": outcome(&t.cache).1,
                "round_trips": t.round_trips,
                "took_us": u64::try_from(t.took.as_micros()).unwrap_or(u64::MAX),
            })
        };
        json!({
            "server": self.server,
            "run": self.run,
            "documents": self.documents,
            "rule": { "task": self.task, "controllers": self.controllers },
            "before": { "entries": self.warm, self.field: self.seen_before },
            "save": transaction(&self.transaction),
            "deleted": self.deleted,
            "after": { "entries": self.left, self.field: self.seen_after },
            "save_without_server": transaction(&self.without_server),
            "after_without_server": { self.field: self.seen_without_server },
        })
    }
}
