//! Server steps that several protocols use.

use super::run::Io;
use crate::{
    disk::{Invalidation, OutboxAction},
    model::{Lock, Result},
    op::{Invalidate, InvalidateReply, Release, ReleaseReply},
    rules::Params,
};
use std::time::Duration;

/// Deletes entries and the marks with this token, and releases the lock in the same step. If the
/// step fails, releases the lock alone.
pub(super) async fn invalidate(
    io: &Io,
    document: &str,
    what: &Invalidation,
    token: &str,
) -> Result<u64> {
    let asked = Invalidate {
        entries: what.entries.clone(),
        raises: what.raises.clone(),
        token: token.to_owned(),
        release: what.release.clone(),
    };
    match io.server(asked).await {
        Ok(InvalidateReply::Removed(removed)) => Ok(removed),
        Err(fault) => {
            let cause = fault.into_error();
            if let (Some(lock), true) = (&what.release, cause.takes_deletions()) {
                let_go(io, document, lock.clone()).await;
            }
            Err(cause)
        }
    }
}

/// Releases the lock. If the server is unavailable, the outbox releases it later. On any other
/// failure, logs it and leaves the lock to its TTL.
pub(super) async fn let_go(io: &Io, document: &str, lock: Lock) {
    match io.server(Release { lock: lock.clone() }).await {
        Ok(ReleaseReply::Done) => {}
        Ok(ReleaseReply::Lost) => log::debug!("{document}: the lock was gone when it was released"),
        Err(fault) => {
            let cause = fault.into_error();
            // Others may wait for the lock longer than the server is unreachable.
            let recorded = cause.is_unavailable() && release_later(io, lock).await;
            let left = match recorded {
                true => "until the outbox is replayed",
                false => "to its TTL",
            };
            log::warn!("{document}: the lock could not be released and is left {left}: {cause}");
        }
    }
}

/// Whether the outbox recorded it.
async fn release_later(io: &Io, lock: Lock) -> bool {
    let what = Invalidation {
        entries: Vec::new(),
        raises: Vec::new(),
        release: Some(lock),
        params: Params::new(),
        at_ns: io.now().wall_ns,
    };
    io.outbox(OutboxAction::Defer(what)).await.is_ok()
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
