//! What becomes of an invalidation that the server did not take.

use super::{outcome::CacheOutcome, run::Io, save::invalidate};
use crate::{
    Error, Params, Result,
    disk::{Invalidation, OutboxAction},
    op::{Entry, Lock},
};

/// Deletes entries and lets the lock go; where the server does not take it, later.
pub(super) async fn delete_or_defer(
    io: &Io,
    document: &str,
    entries: Vec<Entry>,
    lock: Option<Lock>,
    params: &Params,
) -> CacheOutcome {
    match invalidate(io, document, entries.clone(), lock.clone()).await {
        Ok(removed) => CacheOutcome::Invalidated { removed },
        Err(cause) => defer(io, entries, lock, params.clone(), cause).await,
    }
}

/// Records it in the outbox; the lock is released with it.
pub(super) async fn defer(
    io: &Io,
    entries: Vec<Entry>,
    release: Option<Lock>,
    params: Params,
    cause: Error,
) -> CacheOutcome {
    let action = record(io, entries, release, params);
    deferred(cause, io.outbox(action).await)
}

pub(super) fn record(
    io: &Io,
    entries: Vec<Entry>,
    release: Option<Lock>,
    params: Params,
) -> OutboxAction {
    OutboxAction::Defer(Invalidation {
        entries,
        release,
        params,
        at_ns: io.now().wall_ns,
    })
}

pub(crate) fn deferred<T>(cause: Error, recorded: Result<T>) -> CacheOutcome {
    match recorded {
        Ok(_) => CacheOutcome::Deferred { cause },
        Err(outbox) => CacheOutcome::Unrecorded { cause, outbox },
    }
}
