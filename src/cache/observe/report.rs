//! Counts, logs and reports what a cache did.

use super::{Began, Event, Observers};
use crate::{cache::Cache, model::Error, protocol::CacheOutcome};
use std::fmt;

impl Cache {
    pub(crate) fn observers(&self) -> &Observers {
        &self.0.observers
    }

    /// Collects the names of the tasks that pass by, if there are observers.
    pub(crate) fn named<'a, I: IntoIterator<Item: AsRef<str>>>(
        &self,
        tasks: I,
        names: &'a mut Vec<String>,
    ) -> impl Iterator<Item = I::Item> + use<'a, I> {
        let is_told = !self.observers().is_empty();
        tasks.into_iter().inspect(move |task| {
            if is_told {
                names.push(task.as_ref().to_owned());
            }
        })
    }

    /// Counts an outcome, and logs what was deferred.
    pub(crate) fn note(&self, what: &dyn fmt::Display, outcome: &CacheOutcome) {
        let counters = self.counters();
        match outcome {
            CacheOutcome::Committed { .. } => counters.commits.add(),
            CacheOutcome::Invalidated { .. } => counters.invalidations.add(),
            CacheOutcome::Deferred { cause } => {
                counters.deferred.add();
                log::warn!(
                    "{what}: the server did not take it; it is recorded in the outbox, and dependents may be stale until it is replayed: {cause}"
                );
            }
            CacheOutcome::Unrecorded { cause, outbox } => {
                counters.unrecorded.add();
                log::error!(
                    "{what}: the server did not take it ({cause}), and it is not recorded: {outbox}; should this process end before the server answers, dependents are stale until their TTL"
                );
            }
        }
    }

    /// An invalidation ended.
    pub(crate) fn invalidated(
        &self,
        what: &str,
        tasks: &[String],
        began: Began,
        outcome: &CacheOutcome,
    ) {
        self.note(&what, outcome);
        if let Some(duration) = began.took() {
            self.observers().tell(&Event::Invalidation {
                tasks,
                duration,
                outcome,
            });
        }
    }

    /// A lock was found to be lost while its guard held it.
    pub(crate) fn lock_lost(&self, document: &str, why: &'static str) {
        self.counters().locks_lost.add();
        self.observers().tell(&Event::LockLost { document, why });
    }

    /// Rules came into force, or were refused.
    pub(crate) fn rules_changed(&self, outcome: Result<(), &Error>) {
        match outcome {
            Ok(()) => self.counters().rules_replaced.add(),
            Err(_) => self.counters().rules_refused.add(),
        }
        self.observers().tell(&Event::Rules { outcome });
    }
}
