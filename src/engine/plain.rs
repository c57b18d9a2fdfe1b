//! The operations that are plain commands in every engine.

use super::{
    failure::{Failure, nonsense},
    reply::{server_error, typed},
    session::Session,
    wire::Packed,
};
use crate::{
    model::limits,
    op::{
        ClearLocks, ClearLocksReply, Holders, HoldersReply, Op, Read, ReadReply, Reply,
        keys::{channel, sibling},
    },
};
use redis::Value;

pub(super) async fn perform(session: &mut Session<'_>, op: &Op) -> Result<Reply, Failure> {
    match op {
        Op::Read(asked) => read(session, op, asked).await,
        Op::ClearLocks(asked) => {
            session.enter_locks().await?;
            let reply = clear_locks(session, op, asked).await?;
            session.leave_locks().await?;
            Ok(reply)
        }
        Op::Holders(asked) => {
            let usual = session.peer.response_timeout();
            let Some(within) = asked.within.filter(|within| *within < usual) else {
                return holders_in_their_database(session, op, asked).await;
            };
            session.wait_up_to(within)?;
            let reply = holders_in_their_database(session, op, asked).await;
            session.wait_as_usual();
            reply
        }
        _ => Err(nonsense(op.name())),
    }
}

async fn read(session: &mut Session<'_>, op: &Op, asked: &Read) -> Result<Reply, Failure> {
    let key = &asked.entry.value;
    let stamp = sibling(key, "stamp");
    let get = |packed: &mut Packed| {
        packed.request(&[b"MGET", stamp.as_bytes(), key.as_bytes()]);
    };
    if !asked.life {
        let reply = session.ask(get).await?;
        return typed(op, reply);
    }
    let [entry, life] = session
        .ask_two(|packed| {
            get(packed);
            packed.request(&[b"PTTL", key.as_bytes()]);
        })
        .await?;
    let mut reply = typed(op, entry)?;
    if let Reply::Read(ReadReply::Found { left_ms, .. }) = &mut reply {
        *left_ms = match life {
            Value::Int(-1) => None,
            // -2 if the value has expired since.
            Value::Int(left) => Some(u64::try_from(left).unwrap_or(0)),
            Value::ServerError(error) => return Err(Failure::Refused(server_error(&error))),
            _ => return Err(nonsense("PTTL")),
        };
    }
    Ok(reply)
}

async fn clear_locks(
    session: &mut Session<'_>,
    op: &Op,
    asked: &ClearLocks,
) -> Result<Reply, Failure> {
    let mut cleared = 0;
    for keys in asked.locks.chunks(limits::UNLINK_CHUNK) {
        let mut replies = session
            .exchange(|packed| {
                packed.begin(keys.len() + 1);
                packed.arg(b"UNLINK");
                keys.iter().for_each(|key| packed.arg(key.as_bytes()));
                pack_messages(keys, packed);
            })
            .await?;
        // Whether the messages were sent does not matter: waiters poll anyway.
        replies.truncate(1);
        let reply = replies.pop().ok_or_else(|| nonsense("no reply"))?;
        if let Reply::ClearLocks(ClearLocksReply::Cleared(n)) = typed(op, reply)? {
            cleared += n;
        }
    }
    Ok(Reply::ClearLocks(ClearLocksReply::Cleared(cleared)))
}

async fn holders_in_their_database(
    session: &mut Session<'_>,
    op: &Op,
    asked: &Holders,
) -> Result<Reply, Failure> {
    session.enter_locks().await?;
    let reply = holders(session, op, asked).await?;
    session.leave_locks().await?;
    Ok(reply)
}

async fn holders(session: &mut Session<'_>, op: &Op, asked: &Holders) -> Result<Reply, Failure> {
    let mut found = Vec::with_capacity(asked.locks.len());
    for keys in asked.locks.chunks(limits::UNLINK_CHUNK) {
        let replies = session
            .exchange(|packed| {
                for key in keys {
                    // A replica refuses it. So does a demoted primary, which knows of no lock.
                    packed.request(&[b"GETEX", key.as_bytes()]);
                    packed.request(&[b"PTTL", key.as_bytes()]);
                }
            })
            .await?;
        let mut replies = replies.into_iter();
        while let (Some(value), Some(left)) = (replies.next(), replies.next()) {
            found.push(holder(op, value, left)?);
        }
    }
    Ok(Reply::Holders(HoldersReply::Found(found)))
}

/// The holder of one lock, from the replies to GETEX and PTTL.
fn holder(op: &Op, value: Value, left: Value) -> Result<Option<(String, u64)>, Failure> {
    match (value, left) {
        (Value::Nil, _) => Ok(None),
        // It expired in between.
        (Value::BulkString(_), Value::Int(-2)) => Ok(None),
        (Value::BulkString(value), Value::Int(left)) => {
            let value = String::from_utf8_lossy(&value).into_owned();
            Ok(Some((value, u64::try_from(left).unwrap_or(u64::MAX))))
        }
        (Value::ServerError(error), _) if error.code() == "WRONGTYPE" => Ok(None),
        (Value::ServerError(error), _) | (_, Value::ServerError(error)) => {
            Err(Failure::Refused(server_error(&error)))
        }
        _ => Err(nonsense(op.name())),
    }
}

/// Tells the waiters for these locks that they are free.
pub(super) fn pack_messages(locks: &[impl AsRef<str>], packed: &mut Packed) {
    for lock in locks {
        packed.request(&[b"PUBLISH", channel(lock.as_ref()).as_bytes(), b""]);
    }
}
