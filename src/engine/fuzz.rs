//! A server's reply, whatever it says, read as the reply to each operation and to each question of
//! a boot.

use super::{redirect::Redirect, reply, session, survey::Survey, topology};
use crate::{
    model::{Bytes, Entry, Lock, Stamp},
    op::{
        Acquire, Ask as _, ClearLocks, Commit, Extend, Fill, GiveBack, Invalidate, Lease, Op, Own,
        Prepare, Read, Release, Renew, voucher,
    },
};
use redis::Value;

/// Parses the bytes as a series of replies, as a connection delivers them.
pub(crate) fn reply(bytes: &[u8]) {
    let mut parser = redis::Parser::new();
    let mut rest = bytes;
    let mut replies = Vec::new();
    while replies.len() < 16
        && let Ok(value) = parser.parse_value(&mut rest)
    {
        replies.push(value);
    }
    for value in &replies {
        for op in operations() {
            drop(reply::typed(&op, value.clone()));
        }
        session::is_wrong_type(value);
        reply::is_denied(value);
        drop(Redirect::of(value));
        topology::read_slots(value);
        if let Value::BulkString(stored) = value {
            stored_stamp(stored);
        }
    }
    drop(Survey::read(replies));
}

/// The value under a stamp key may be anything.
fn stored_stamp(stored: &[u8]) {
    let file = Stamp {
        mtime_ns: 1_700_000_000_000_000_000,
        size: 1,
        inode: 1,
    };
    if voucher::vouches(stored, &file, stored) {
        assert!(voucher::is_of(stored, &file) && voucher::fits(stored, stored));
    }
    assert!(!(voucher::is_of(stored, &file) && voucher::is_later(stored, &file)));
}

/// One operation of each kind.
fn operations() -> [Op; 12] {
    let text = str::to_owned;
    let lock = || Lock {
        key: text("l"),
        value: text("me"),
    };
    let entry = || Entry {
        value: "a".into(),
        leases: "h".into(),
    };
    let (token, ttl_ms) = (text("t"), 1);
    let bytes = Bytes::from(&b"{}"[..]);
    let stamp = Stamp {
        mtime_ns: 1,
        size: 2,
        inode: 3,
    };
    [
        Acquire {
            lock: lock(),
            fence_key: text("f"),
            ttl_ms,
            floor: 0,
        }
        .into_op(),
        Renew {
            lock: lock(),
            fence_key: text("f"),
            ttl_ms,
        }
        .into_op(),
        Release { lock: lock() }.into_op(),
        Prepare {
            locks: vec![lock()],
            entries: vec![entry()],
            token: token.clone(),
            ttl_ms,
        }
        .into_op(),
        Commit {
            id: token.clone(),
            locks: vec![lock()],
            own: vec![Own {
                entry: entry(),
                bytes: bytes.clone(),
                stamp,
                ttl_ms,
                over: None,
            }],
            dependents: vec![entry()],
            release: true,
            token: token.clone(),
            wait: None,
        }
        .into_op(),
        Invalidate {
            entries: vec![entry()],
            raises: Vec::new(),
            token: token.clone(),
            release: None,
        }
        .into_op(),
        Lease {
            entry: entry(),
            token: token.clone(),
            ttl_ms,
            wanted: None,
            refused: None,
        }
        .into_op(),
        Extend {
            entry: entry(),
            token: token.clone(),
            ttl_ms,
        }
        .into_op(),
        GiveBack {
            entry: entry(),
            token: token.clone(),
        }
        .into_op(),
        Fill {
            entry: entry(),
            token,
            bytes,
            stamp: None,
            ttl_ms,
        }
        .into_op(),
        Read {
            entry: entry(),
            life: false,
        }
        .into_op(),
        ClearLocks {
            locks: vec![text("l")],
        }
        .into_op(),
    ]
}
