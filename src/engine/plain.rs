//! The operations that are plain commands in every engine.

use super::{
    reply::{server_error, typed},
    session::{Failure, Session, nonsense},
    wire::Packed,
};
use crate::{
    limits,
    op::{ClearLocks, ClearLocksReply, Op, Read, ReadReply, Reply, keys::sibling},
};
use redis::Value;

pub(super) fn perform(session: &mut Session<'_>, op: &Op) -> Result<Reply, Failure> {
    match op {
        Op::Read(asked) => read(session, op, asked),
        Op::ClearLocks(asked) => {
            session.in_lock_database(|session| clear_locks(session, op, asked))
        }
        _ => Err(nonsense(op.name())),
    }
}

fn read(session: &mut Session<'_>, op: &Op, asked: &Read) -> Result<Reply, Failure> {
    let key = &asked.entry.value;
    let stamp = sibling(key, "stamp");
    let get = |packed: &mut Packed| {
        packed.request(&[b"MGET", stamp.as_bytes(), key.as_bytes()]);
    };
    if !asked.life {
        let reply = session.ask(get)?;
        return typed(op, reply);
    }
    let [entry, life] = session.ask_two(|packed| {
        get(packed);
        packed.request(&[b"PTTL", key.as_bytes()]);
    })?;
    let mut reply = typed(op, entry)?;
    if let Reply::Read(ReadReply::Found { left_ms, .. }) = &mut reply {
        *left_ms = match life {
            Value::Int(-1) => None,
            // -2 where the value has gone since.
            Value::Int(left) => Some(u64::try_from(left).unwrap_or(0)),
            Value::ServerError(error) => return Err(Failure::Refused(server_error(&error))),
            _ => return Err(nonsense("PTTL")),
        };
    }
    Ok(reply)
}

fn clear_locks(session: &mut Session<'_>, op: &Op, asked: &ClearLocks) -> Result<Reply, Failure> {
    let mut cleared = 0;
    for keys in asked.locks.chunks(limits::UNLINK_CHUNK) {
        let reply = session.ask(|packed| {
            packed.begin(keys.len() + 1);
            packed.arg(b"UNLINK");
            keys.iter().for_each(|key| packed.arg(key.as_bytes()));
        })?;
        if let Reply::ClearLocks(ClearLocksReply::Cleared(n)) = typed(op, reply)? {
            cleared += n;
        }
    }
    Ok(Reply::ClearLocks(ClearLocksReply::Cleared(cleared)))
}
