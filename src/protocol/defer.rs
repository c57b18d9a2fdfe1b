//! Invalidations that the server did not take.

use super::{intent::Intent, outcome::CacheOutcome, run::Io, steps::invalidate};
use crate::{
    disk::{Invalidation, OutboxAction},
    model::{Error, Result},
};

/// Deletes entries and the own marks on them, and releases the lock. If the server does not take
/// it, defers it.
pub(super) async fn delete_or_defer(
    io: &Io,
    document: &str,
    what: Invalidation,
    intent: Option<&Intent>,
) -> CacheOutcome {
    let token = intent.map_or("", Intent::token);
    match invalidate(io, document, &what, token).await {
        Ok(removed) => CacheOutcome::Invalidated { removed },
        Err(cause) => defer(io, what, cause, intent).await,
    }
}

/// Records it in the outbox, unless an intent has recorded it before. A replay releases the lock
/// too.
pub(super) async fn defer(
    io: &Io,
    what: Invalidation,
    cause: Error,
    intent: Option<&Intent>,
) -> CacheOutcome {
    if intent.is_some() {
        return CacheOutcome::Deferred { cause };
    }
    deferred(cause, io.outbox(OutboxAction::Defer(what)).await)
}

pub(crate) fn deferred<T>(cause: Error, recorded: Result<T>) -> CacheOutcome {
    match recorded {
        Ok(_) => CacheOutcome::Deferred { cause },
        Err(outbox) => CacheOutcome::Unrecorded { cause, outbox },
    }
}
