//! The entries that a save or a deletion makes out of date, by server step.

use super::{Io, defer::delete_or_defer, intent::Intent, outcome::CacheOutcome};
use crate::{disk::Invalidation, model::Entry, rules::Params};

/// Dependents: those in the own entry's step, and those that need steps of their own in a Cluster.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spread {
    pub(crate) here: Vec<Entry>,
    /// One step each.
    pub(crate) elsewhere: Vec<Vec<Entry>>,
}

impl Spread {
    /// All steps; the own entry is in the first.
    pub(super) fn steps_with(&self, own: &Entry) -> Vec<Vec<Entry>> {
        let here = std::iter::once(own).chain(&self.here);
        let elsewhere = self.elsewhere.iter().cloned();
        std::iter::once(here.cloned().collect())
            .chain(elsewhere)
            .collect()
    }

    pub(super) fn is_split(&self) -> bool {
        !self.elsewhere.is_empty()
    }

    /// Performs the steps after the own entry's, whatever its outcome: the file is the new one, and
    /// deleting is always safe. Deleting only before that is not enough: until the new file is in
    /// place, a reader may derive the old values again.
    pub(super) async fn finish(
        self,
        io: &Io,
        document: &str,
        params: &Params,
        intent: Option<&Intent>,
        mut outcome: CacheOutcome,
    ) -> CacheOutcome {
        for entries in self.elsewhere {
            let what = Invalidation::of(entries, params.clone(), io.now().wall_ns);
            let step = delete_or_defer(io, document, what, intent).await;
            outcome = outcome.and(step);
        }
        outcome
    }
}
