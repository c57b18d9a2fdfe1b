//! What the model does by itself. The histories show that servers do the same.

use super::{
    MemoryEngine, MemoryServer,
    keyspace::{bytes, counter},
};
use crate::{
    engine::Performer as _,
    model::{
        Effect, Entry, Lock, Stamp,
        limits::{FENCE_LIFE, MAX_FENCE, MAX_LIFE_MS},
    },
    op::{
        Acquire, AcquireReply, Ask, Commit, CommitReply, Fault, Own, Read, ReadReply, Renew,
        RenewReply, keys::sibling,
    },
};
use std::{sync::Arc, time::Duration};

fn run<A: Ask>(server: &MemoryServer, ask: A) -> Result<A::Reply, Fault> {
    let engine = MemoryEngine::new(server.clone());
    let reply = engine.perform(&ask.into_op())?;
    Ok(A::reply(reply).expect("the reply of the operation"))
}

fn lock(value: &str) -> Lock {
    Lock {
        key: "l".to_owned(),
        value: value.to_owned(),
    }
}

fn acquire(value: &str, ttl_ms: u64, floor: u64) -> Acquire {
    Acquire {
        lock: lock(value),
        fence_key: sibling("l", "fence"),
        ttl_ms,
        floor,
    }
}

fn fence(server: &MemoryServer, ask: Acquire) -> Option<u64> {
    match run(server, ask).unwrap() {
        AcquireReply::Acquired { fence } => Some(fence),
        AcquireReply::Held { .. } => None,
    }
}

#[test]
fn a_lock_runs_out_to_the_millisecond_and_its_fence_later() {
    let server = MemoryServer::with_manual_clock();
    assert_eq!(fence(&server, acquire("me", 100, 0)), Some(1));
    server.advance(Duration::from_millis(99));
    let held = AcquireReply::Held {
        value: "me".to_owned(),
        left_ms: 1,
    };
    assert_eq!(run(&server, acquire("you", 100, 0)).unwrap(), held);
    server.advance(Duration::from_millis(1));
    // The failed attempt skipped one fence.
    assert_eq!(fence(&server, acquire("you", 100, 0)), Some(3));
    let renew = Renew {
        lock: lock("you"),
        fence_key: sibling("l", "fence"),
        ttl_ms: 150,
    };
    assert_eq!(run(&server, renew.clone()).unwrap(), RenewReply::Done);
    server.advance(Duration::from_millis(149));
    assert!(server.contains("l"));
    server.advance(Duration::from_millis(1));
    assert!(!server.contains("l") && server.contains("{l}:fence"));
    assert_eq!(run(&server, renew).unwrap(), RenewReply::Lost);
    server.advance(FENCE_LIFE - Duration::from_millis(150));
    assert!(!server.contains("{l}:fence"));
}

/// Regression: a copy's clock started at zero, so time stood still there until it had caught up.
#[cfg(feature = "testing")]
#[test]
fn time_goes_on_in_a_copy() {
    let server = MemoryServer::with_manual_clock();
    server.advance(Duration::from_secs(3));
    assert_eq!(fence(&server, acquire("me", 100, 0)), Some(1));
    let copy = server.copy();
    copy.advance(Duration::from_millis(100));
    assert!(server.contains("l") && !copy.contains("l"));
}

#[test]
fn fences_are_exact_in_64_bits_and_refused_where_they_end() {
    let server = MemoryServer::with_manual_clock();
    let big = (1 << 53) + 1;
    assert_eq!(fence(&server, acquire("me", 1, big - 1)), Some(big));
    assert!(fence(&server, acquire("me", 1, 0)) > Some(big));
    assert_eq!(
        fence(&server, acquire("me", 1, MAX_FENCE)),
        Some(MAX_FENCE + 1)
    );
    for (ttl_ms, floor) in [
        (1, 0),
        (1, u64::MAX),
        (0, 0),
        (MAX_LIFE_MS + 1, 0),
        (u64::MAX, 0),
    ] {
        let refused = run(&server, acquire("me", ttl_ms, floor)).unwrap_err();
        let Fault::NotDone(error) = refused else {
            panic!("{refused:?}");
        };
        assert!(error.is_server() && error.effect() == Effect::None);
    }
}

#[test]
fn numbers_are_read_as_a_server_reads_them() {
    assert_eq!(counter(b"0"), Some(0));
    assert_eq!(counter(b"18446744073709551615"), Some(u64::MAX));
    for text in [
        &b""[..],
        b"x",
        b"+1",
        b"-1",
        b"01",
        b" 1",
        b"1 ",
        b"1e3",
        b"\xff",
    ] {
        assert_eq!(counter(text), None, "{text:?}");
    }
}

#[test]
fn what_has_run_out_does_not_stay_in_memory() {
    let server = MemoryServer::with_manual_clock();
    for n in 0..10_000 {
        let ask = Acquire {
            lock: Lock {
                key: format!("l{n}"),
                value: "me".to_owned(),
            },
            fence_key: "f".to_owned(),
            ttl_ms: 10,
            floor: 0,
        };
        assert!(run(&server, ask).is_ok());
        server.advance(Duration::from_millis(1));
    }
    // Nine locks and their fence are alive; at most half of what is kept is dead.
    assert_eq!(server.keyspace().unwrap().dump().len(), 10);
    assert!(server.keyspace().unwrap().stored() <= 100);
}

#[test]
fn a_stopped_server_is_unavailable_and_keeps_what_it_has() {
    let server = MemoryServer::new();
    let own = Own {
        entry: Entry {
            value: "own".into(),
            leases: Arc::from("leases"),
        },
        bytes: bytes("new"),
        stamp: Stamp {
            mtime_ns: 1,
            size: 3,
            inode: 1,
        },
        ttl_ms: 60_000,
        over: None,
    };
    let read = Read {
        entry: own.entry.clone(),
        life: true,
    };
    let commit = Commit {
        token: String::new(),
        wait: None,
        id: "c1".to_owned(),
        locks: Vec::new(),
        own: vec![own],
        dependents: Vec::new(),
        release: false,
    };
    let committed = CommitReply::Committed { removed: 0 };
    assert_eq!(run(&server, commit).unwrap(), committed);
    server.stop();
    let away = run(&server, read.clone()).unwrap_err();
    assert!(matches!(&away, Fault::NotDone(e) if e.is_unavailable()));
    assert!(!server.contains("own"));
    server.start();
    let ReadReply::Found { value, .. } = run(&server, read).unwrap();
    assert_eq!(value.as_deref(), Some(&b"new"[..]));
}
