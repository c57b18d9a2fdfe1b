//! All or nothing: a refusal has written nothing, and an operation that breaks off reports it.

use super::*;
use crate::op::{Op, Release, ReleaseReply, Renew, RenewReply};

const LEASES: &str = "cachetx:leases:run";

fn ops(bytes: usize) -> Vec<Op> {
    let renew = Renew {
        lock: lock("l", "me"),
        fence_key: "{l}:fence".to_owned(),
        ttl_ms: 60_000,
    };
    let mut with_lock = invalidate(&["a", "b"]);
    with_lock.release = Some(lock("l", "me"));
    vec![
        acquire("l", "me", 9).into_op(),
        renew.into_op(),
        Release {
            lock: lock("l", "me"),
        }
        .into_op(),
        prepare(&["own", "a", "b"]).into_op(),
        commit(&vec![b'x'; bytes], &["a", "b"]).into_op(),
        with_lock.into_op(),
        lease("a").into_op(),
        extend("a").into_op(),
        give_back("a").into_op(),
        fill("a", b"x").into_op(),
    ]
}

/// The keys that each script reads, so that it finds the wrong type before it writes.
fn reads(op: &Op, key: &str) -> bool {
    match op {
        // Another test covers a lock that cannot get a fence.
        Op::Acquire(_) | Op::Renew(_) | Op::Release(_) => key == "l",
        Op::Prepare(_) => key == LEASES,
        // A key of another type is not the caller's lock, nor a stamp or a lease.
        Op::Commit(_) => false,
        Op::Invalidate(_) => key == "l",
        Op::Lease(_) => matches!(key, "{a}:stamp" | LEASES),
        Op::Extend(_) | Op::GiveBack(_) | Op::Fill(_) => key == LEASES,
        Op::Read(_) | Op::ClearLocks(_) | Op::Holders(_) => false,
    }
}

#[test]
fn a_key_of_the_wrong_type_is_refused_before_any_write() {
    on_every_server(|bed| {
        for key in ["l", "{l}:fence", "{own}:stamp", "{a}:stamp", LEASES] {
            for op in ops(10).into_iter().filter(|op| reads(op, key)) {
                bed.cmd::<()>(&["FLUSHDB"]);
                bed.hold();
                bed.cmd::<()>(&["MSET", "own", "old", "a", "old", "b", "old"]);
                bed.cmd::<()>(&["HSET", LEASES, "a", "l:t:9"]);
                bed.cmd::<()>(&["DEL", key]);
                bed.cmd::<()>(&["RPUSH", key, "x"]);
                let before = without_fences(bed.dump());
                let message = refusal(bed.engine.perform(&op));
                assert!(message.contains("WRONGTYPE"), "{key}: {message}");
                assert_eq!(without_fences(bed.dump()), before, "{key}, {}", op.name());
            }
        }
    });
}

#[test]
fn own_entries_of_any_type_are_replaced() {
    on_every_server(|bed| {
        bed.hold();
        bed.cmd::<()>(&["RPUSH", "own", "x"]);
        bed.cmd::<()>(&["RPUSH", "a", "x"]);
        assert_eq!(bed.run(commit(b"new", &["a"])), committed(1));
        assert_eq!(bed.get("own").as_deref(), Some("new"));
    });
}

#[test]
fn a_full_server_refuses_a_commit_before_any_write_and_invalidates() {
    on_every_server(|bed| {
        for bytes in [10, BIG] {
            bed.cmd::<()>(&["FLUSHDB"]);
            bed.hold();
            bed.cmd::<()>(&["MSET", "own", "old", "a", "old", "b", "old"]);
            bed.cmd::<()>(&["HSET", LEASES, "a", "l:t:9"]);
            let before = bed.dump();
            bed.cmd::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
            let [
                acquire,
                renew,
                release,
                prepare,
                commit,
                invalidate,
                lease,
                ..,
            ] = &ops(bytes)[..]
            else {
                panic!("the operations");
            };
            for op in [acquire, prepare, commit, lease, &fill("a", b"x").into_op()] {
                let message = refusal(bed.engine.perform(op));
                assert!(message.contains("OOM"), "{message}");
                assert_eq!(bed.dump(), before, "{}", op.name());
            }
            let reply = bed.engine.perform(renew).unwrap();
            assert_eq!(reply, crate::op::Reply::Renew(RenewReply::Done));
            let reply = bed.engine.perform(invalidate).unwrap();
            assert_eq!(reply, crate::op::Reply::Invalidate(removed(2)));
            assert!(!bed.exists("a") && !bed.exists("l") && !bed.exists(LEASES));
            let reply = bed.engine.perform(release).unwrap();
            assert_eq!(reply, crate::op::Reply::Release(ReleaseReply::Lost));
            bed.cmd::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        }
    });
}

/// Deletions need only the program that is there already, or nothing that a full server would have
/// to store.
#[test]
fn a_boot_on_a_full_server_still_lets_invalidate() {
    on_every_server(|bed| {
        bed.cmd::<()>(&["SET", "a", "old"]);
        bed.cmd::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        let engine = ServerEngine::open(bed.config()).unwrap();
        assert_eq!(run(&engine, invalidate(&["a"])).unwrap(), removed(1));
        bed.cmd::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    });
}

/// Keys of another type among those that a commit reads belong to another program: it deletes all
/// the same.
#[test]
fn a_commit_minds_no_key_of_the_wrong_type() {
    on_every_server(|bed| {
        for (key, reply) in [
            ("l", CommitReply::Lost { removed: 2 }),
            ("{own}:stamp", committed(2)),
            (LEASES, committed(2)),
        ] {
            bed.cmd::<()>(&["FLUSHDB"]);
            bed.hold();
            bed.cmd::<()>(&["MSET", "own", "old", "a", "old", "b", "old"]);
            bed.cmd::<()>(&["DEL", key]);
            bed.cmd::<()>(&["RPUSH", key, "x"]);
            assert_eq!(bed.run(commit(b"new", &["a", "b"])), reply, "{key}");
            assert!(!bed.exists("a") && !bed.exists("b"), "{key}");
            assert_eq!(bed.exists("own"), key != "l");
        }
    });
}

#[test]
fn an_inner_command_that_is_denied_midway_is_not_taken_for_nothing_done() {
    let users = |_: &ServerBinary| {
        let rule = "bob on >pw ~* +@all -pexpire";
        Some(
            ServerOptions::new()
                .user("default on nopass ~* +@all")
                .user(rule),
        )
    };
    on_every_server_with(LUA, users, |bed| {
        bed.hold();
        bed.cmd::<()>(&["MSET", "own", "old", "a", "old"]);
        let url = bed.server.url_as("bob", "pw");
        let engine = ServerEngine::open(bed.config_at(url)).unwrap();
        let fault = run(&engine, commit(b"new", &["a"])).unwrap_err();
        let Fault::Unknown(error) = fault else {
            panic!("{fault:?}");
        };
        assert!(error.is_server() && error.effect() == crate::model::Effect::Unknown);
        // The entry is absent, never stale, and the lock is held.
        assert!(!bed.exists("a") && bed.exists("l"));
        while bed.exists("own") {
            assert!(bed.pttl("own") <= 100, "the value has a life");
        }
    });
}
