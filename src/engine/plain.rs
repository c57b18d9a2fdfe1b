//! The operations that are plain commands in every engine.

use super::{
    reply::typed,
    session::{Failure, Session, nonsense},
    wire::Packed,
};
use crate::{
    limits,
    op::{
        ClearLocks, ClearLocksReply, Op, Read, Reply,
        keys::{channel, sibling},
    },
};

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
    let reply =
        session.ask(|packed| packed.request(&[b"MGET", stamp.as_bytes(), key.as_bytes()]))?;
    typed(op, reply)
}

fn clear_locks(session: &mut Session<'_>, op: &Op, asked: &ClearLocks) -> Result<Reply, Failure> {
    let mut cleared = 0;
    for keys in asked.locks.chunks(limits::UNLINK_CHUNK) {
        let mut replies = session.exchange(|packed| {
            packed.begin(keys.len() + 1);
            packed.arg(b"UNLINK");
            keys.iter().for_each(|key| packed.arg(key.as_bytes()));
            pack_messages(keys, packed);
        })?;
        // What became of the messages is nobody's business: who waits looks again by itself.
        replies.truncate(1);
        let reply = replies.pop().ok_or_else(|| nonsense("no reply"))?;
        if let Reply::ClearLocks(ClearLocksReply::Cleared(n)) = typed(op, reply)? {
            cleared += n;
        }
    }
    Ok(Reply::ClearLocks(ClearLocksReply::Cleared(cleared)))
}

/// Tells those who wait for these locks that they are free.
pub(super) fn pack_messages(locks: &[impl AsRef<str>], packed: &mut Packed) {
    for lock in locks {
        packed.request(&[b"PUBLISH", channel(lock.as_ref()).as_bytes(), b""]);
    }
}
