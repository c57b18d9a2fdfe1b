//! Changing a truth that is no document of ours: [`begin`], then the caller changes it, then [`end`].
//!
//! What depends on it is recorded, deleted and marked before, and deleted again after; whether the change went through or
//! not, since an error is no proof that nothing was changed.

use super::{
    defer::delete_or_defer,
    intent::{Intent, Scope},
    outcome::CacheOutcome,
    run::Run,
};
use crate::disk::Invalidation;

/// Records and marks.
pub(crate) fn begin(scope: Scope) -> Run<Intent> {
    Run::new(|io| async move { Intent::declare(&io, scope).await })
}

/// Gives the marks their whole life again.
pub(crate) fn renew(mut intent: Intent) -> Run<()> {
    Run::new(|io| async move {
        intent.mark(&io).await;
        Ok(())
    })
}

/// Deletes what depends on it, with the marks.
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
