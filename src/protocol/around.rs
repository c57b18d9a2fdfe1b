//! Changing a truth that is not one of our documents: [`begin`], then the caller changes it, then
//! [`end`].
//!
//! Its dependents are recorded, deleted and marked before the change, and deleted again after it,
//! whether it succeeded or failed: an error does not prove that nothing was changed.

use super::{
    defer::delete_or_defer,
    intent::{Intent, Scope},
    outcome::CacheOutcome,
    run::Run,
};
use crate::disk::Invalidation;

/// Records the dependents and marks them.
pub(crate) fn begin(scope: Scope) -> Run<Intent> {
    Run::new(|io| async move { Intent::declare(&io, scope).await })
}

/// Renews the marks for their whole life.
pub(crate) fn renew(mut intent: Intent) -> Run<()> {
    Run::new(|io| async move {
        intent.mark(&io).await;
        Ok(())
    })
}

/// Deletes the dependents, with the marks.
pub(crate) fn end(intent: Intent) -> Run<CacheOutcome> {
    Run::new(|io| async move {
        let mut outcome = CacheOutcome::Invalidated { removed: 0 };
        let Scope {
            what,
            steps,
            params,
            ..
        } = intent.scope().clone();
        for entries in steps {
            let gone = Invalidation::of(entries, params.clone(), io.now().wall_ns);
            let step = delete_or_defer(&io, &what, gone, Some(&intent)).await;
            outcome = outcome.and(step);
        }
        intent.settle(&io, &outcome).await;
        Ok(outcome)
    })
}
