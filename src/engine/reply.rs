//! Converts the server's answers to typed replies.

use super::{
    failure::{Failure, nonsense},
    refusal::{Meaning, is_midway, meaning, refused},
};
use crate::{
    model::{Effect, Error},
    op::{
        AcquireReply, ClearLocksReply, CommitReply, ExtendReply, FillReply, GiveBackReply,
        InvalidateReply, LeaseReply, Op, PrepareReply, ReadReply, ReleaseReply, RenewReply, Reply,
    },
};
use redis::Value;

/// The reply of `op`, from what its script or command answered.
pub(super) fn typed(op: &Op, value: Value) -> Result<Reply, Failure> {
    match value {
        Value::ServerError(error) => Err(failure(&error)),
        Value::Int(n) if matches!(op, Op::ClearLocks(_)) => Ok(Reply::ClearLocks(
            ClearLocksReply::Cleared(n.unsigned_abs()),
        )),
        Value::Int(n) if matches!(op, Op::Commit(_)) => {
            let removed = n.unsigned_abs();
            Ok(Reply::Commit(CommitReply::Committed { removed }))
        }
        Value::Int(n) if matches!(op, Op::Invalidate(_)) => Ok(Reply::Invalidate(
            InvalidateReply::Removed(n.unsigned_abs()),
        )),
        Value::Array(parts) => {
            let parts: Option<Vec<_>> = parts.into_iter().map(part).collect();
            parts
                .and_then(|parts| typed_array(op, parts))
                .ok_or_else(|| nonsense(op.name()))
        }
        Value::BulkString(word) => {
            typed_array(op, vec![Some(word)]).ok_or_else(|| nonsense(op.name()))
        }
        _ => Err(nonsense(op.name())),
    }
}

fn failure(error: &redis::ServerError) -> Failure {
    match error.details() {
        Some(details) if is_midway(error.code(), details) => {
            Failure::Midway(server_error(error).effect_is(Effect::Unknown))
        }
        _ => Failure::Refused(server_error(error)),
    }
}

pub(super) fn server_error(error: &redis::ServerError) -> Error {
    refused(error.code(), error.details())
}

/// The code of an error reply: `NOSCRIPT`.
pub(super) fn code(value: &Value) -> Option<&str> {
    match value {
        Value::ServerError(error) => Some(error.code()),
        _ => None,
    }
}

/// Whether a command may not be called: the ACL denies it, it was renamed (`rename-command`), or it
/// does not exist.
pub(super) fn is_denied(value: &Value) -> bool {
    match value {
        Value::ServerError(error) => meaning_of(error) == Meaning::Denied,
        _ => false,
    }
}

pub(super) fn meaning_of(error: &redis::ServerError) -> Meaning {
    meaning(error.code(), error.details().unwrap_or_default())
}

/// Whether the command does not exist.
pub(super) fn is_unknown_command(value: &Value) -> bool {
    is_denied(value) && code(value) == Some("ERR")
}

type Part = Option<Vec<u8>>;

fn part(value: Value) -> Option<Part> {
    match value {
        Value::BulkString(bytes) => Some(Some(bytes)),
        Value::Nil => Some(None),
        _ => None,
    }
}

fn typed_array(op: &Op, parts: Vec<Part>) -> Option<Reply> {
    let mut parts = parts.into_iter();
    if matches!(op, Op::Read(_)) {
        let (voucher, value) = (parts.next()?, parts.next()?);
        // Another request asks for it.
        let left_ms = None;
        return Some(Reply::Read(ReadReply::Found {
            voucher,
            value,
            left_ms,
        }));
    }
    let word = parts.next()??;
    let reply = match (op, word.as_slice()) {
        (Op::Acquire(_), b"acquired") => Reply::Acquire(AcquireReply::Acquired {
            fence: number(parts.next())?,
        }),
        (Op::Acquire(_), b"held") => Reply::Acquire(AcquireReply::Held {
            value: String::from_utf8_lossy(&parts.next()??).into_owned(),
            left_ms: left_ms(parts.next())?,
        }),
        (Op::Renew(_), b"done") => Reply::Renew(RenewReply::Done),
        (Op::Renew(_), b"lost") => Reply::Renew(RenewReply::Lost),
        (Op::Release(_), b"done") => Reply::Release(ReleaseReply::Done),
        (Op::Release(_), b"lost") => Reply::Release(ReleaseReply::Lost),
        (Op::Prepare(_), b"done") => Reply::Prepare(PrepareReply::Done),
        (Op::Prepare(_), b"lost") => Reply::Prepare(PrepareReply::Lost),
        (Op::Commit(_), b"replayed") => Reply::Commit(CommitReply::Replayed),
        (Op::Commit(_), b"lost") => Reply::Commit(CommitReply::Lost {
            removed: number(parts.next())?,
        }),
        (Op::Commit(_), b"superseded") => Reply::Commit(CommitReply::Superseded {
            removed: number(parts.next())?,
        }),
        (Op::Lease(_), b"present") => Reply::Lease(LeaseReply::Present {
            voucher: parts.next()??,
            value: parts.next()??,
        }),
        (Op::Lease(_), b"newer") => Reply::Lease(LeaseReply::Newer),
        (Op::Lease(_), b"busy") => Reply::Lease(LeaseReply::Busy {
            left_ms: number(parts.next())?,
        }),
        (Op::Lease(_), b"leased") => Reply::Lease(LeaseReply::Leased),
        (Op::Extend(_), b"done") => Reply::Extend(ExtendReply::Done),
        (Op::Extend(_), b"lost") => Reply::Extend(ExtendReply::Lost),
        (Op::GiveBack(_), b"done") => Reply::GiveBack(GiveBackReply::Done),
        (Op::GiveBack(_), b"lost") => Reply::GiveBack(GiveBackReply::Lost),
        (Op::Fill(_), b"filled") => Reply::Fill(FillReply::Filled),
        (Op::Fill(_), b"refused") => Reply::Fill(FillReply::Refused),
        _ => return None,
    };
    parts.next().is_none().then_some(reply)
}

fn number(part: Option<Part>) -> Option<u64> {
    std::str::from_utf8(&part??).ok()?.parse().ok()
}

/// PTTL's answer: -1 is a lock that somebody set without expiry, so no wait is long enough.
fn left_ms(part: Option<Part>) -> Option<u64> {
    let left: i64 = std::str::from_utf8(&part??).ok()?.parse().ok()?;
    Some(match left {
        -1 => u64::MAX,
        left => u64::try_from(left).unwrap_or(0),
    })
}
