//! What becomes of an invalidation that the server did not take.

use super::{outcome::CacheOutcome, run::Io};
use crate::{
    Error, Params, Result,
    disk::{Invalidation, OutboxAction},
    op::{Entry, Lock},
};

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
