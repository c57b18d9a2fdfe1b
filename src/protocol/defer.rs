//! What becomes of an invalidation that the server did not take.

use super::{
    intent::{self, Intent},
    outcome::CacheOutcome,
    run::Io,
    save::invalidate,
};
use crate::{
    Error, Params, Result,
    disk::{Invalidation, OutboxAction},
    op::{Entry, Fault, Lock},
};

/// Deletes entries and lets the lock go; where the server does not take it, later.
pub(super) async fn delete_or_defer(
    io: &Io,
    document: &str,
    entries: Vec<Entry>,
    lock: Option<Lock>,
    params: &Params,
    intent: Option<&Intent>,
) -> CacheOutcome {
    match delete(io, document, entries.clone(), lock.clone(), intent).await {
        Ok(removed) => CacheOutcome::Invalidated { removed },
        Err(cause) => defer(io, entries, lock, params.clone(), cause, intent).await,
    }
}

/// Deletes entries, with the own marks on them, and lets the lock go.
pub(super) async fn delete(
    io: &Io,
    document: &str,
    entries: Vec<Entry>,
    lock: Option<Lock>,
    intent: Option<&Intent>,
) -> Result<u64> {
    let Some(intent) = intent else {
        return invalidate(io, document, entries, lock).await;
    };
    let erased = intent::erase(io, entries.clone(), lock.clone(), intent.token()).await;
    match erased.map_err(Fault::into_error) {
        // A full server takes only what frees memory.
        Err(first) if first.takes_deletions() => {
            let deleted = invalidate(io, document, entries, lock).await;
            deleted.map_err(|e| e.with_effect_of(&first))
        }
        done => done,
    }
}

/// Records it in the outbox, unless an intent has done so before; the lock is released with it.
pub(super) async fn defer(
    io: &Io,
    entries: Vec<Entry>,
    release: Option<Lock>,
    params: Params,
    cause: Error,
    intent: Option<&Intent>,
) -> CacheOutcome {
    if intent.is_some() {
        return CacheOutcome::Deferred { cause };
    }
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
