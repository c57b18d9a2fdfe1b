//! Acquires a lock in one transaction of plain commands, which costs the server a fifth of what a
//! script does. It is the same for every engine.

use super::{
    failure::{Failure, nonsense},
    session::Session,
    transaction,
};
use crate::{
    model::limits,
    op::{Acquire, AcquireReply},
};
use redis::Value;

/// Returns `None` if the transaction gave no fence above the floor, or a key is of another type.
/// The operation's program then reports what is wrong, or gives a lock with this value its fence. A
/// fence is skipped if the lock is held.
pub(super) async fn at_once(
    session: &mut Session<'_>,
    op: &Acquire,
) -> Result<Option<AcquireReply>, Failure> {
    let (lock, fence) = (op.lock.key.as_bytes(), op.fence_key.as_bytes());
    let (value, ttl) = (op.lock.value.as_bytes(), op.ttl_ms.to_string());
    let fence_life = limits::FENCE_LIFE.as_millis().to_string();
    let databases = session.peer.databases();
    let mut replies = session
        .exchange(|packed| {
            if let Some(databases) = databases {
                packed.select(databases.lock);
            }
            packed.request(&[b"MULTI"]);
            packed.request(&[b"SET", lock, value, b"NX", b"PX", ttl.as_bytes()]);
            packed.request(&[b"GET", lock]);
            packed.request(&[b"PTTL", lock]);
            packed.request(&[b"INCR", fence]);
            packed.request(&[b"PEXPIRE", fence, fence_life.as_bytes()]);
            packed.request(&[b"EXEC"]);
            if let Some(databases) = databases {
                packed.select(databases.cache);
            }
        })
        .await?;
    if databases.is_some() {
        let selects = [
            replies.pop(),
            (!replies.is_empty()).then(|| replies.remove(0)),
        ];
        if selects.iter().flatten().any(|reply| *reply != Value::Okay) {
            return Err(nonsense("SELECT"));
        }
    }
    let results = transaction::results(session, replies)?;
    Ok(match results.as_slice() {
        [Value::Okay, _, _, Value::Int(fence), Value::Int(1)] => {
            let fence = u64::try_from(*fence).ok();
            fence
                .filter(|fence| *fence > op.floor)
                .map(|fence| AcquireReply::Acquired { fence })
        }
        [Value::Nil, Value::BulkString(holder), Value::Int(left), ..] if holder != value => {
            Some(AcquireReply::Held {
                value: String::from_utf8_lossy(holder).into_owned(),
                left_ms: u64::try_from(*left).unwrap_or(u64::MAX),
            })
        }
        _ => None,
    })
}
