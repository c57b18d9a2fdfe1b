//! Library keys that hold another program's data, and values that are too big for the server.

use super::*;
use crate::op::{Op, Release, Renew};

fn ops() -> Vec<Op> {
    let held = lock("l", "me");
    vec![
        lease("own").into_op(),
        acquire("l", "me", 0).into_op(),
        Renew {
            lock: held.clone(),
            fence_key: sibling("l", "fence"),
            ttl_ms: 60_000,
        }
        .into_op(),
        prepare(&["a"]).into_op(),
        commit(b"new", &["a"]).into_op(),
        Release { lock: held }.into_op(),
        invalidate(&["a"]).into_op(),
        extend("own").into_op(),
        give_back("own").into_op(),
        fill("own", b"x").into_op(),
    ]
}

#[test]
fn the_key_that_holds_another_type_is_named_with_what_to_do() {
    on_every_server(|bed| {
        let stamp = sibling("own", "stamp");
        let fence = sibling("l", "fence");
        let leases = leases("own", Some("run"));
        // Each with the number of operations that fail on it.
        for (key, command, kind, minds) in [
            ("l", "RPUSH", "list", 3),
            (fence.as_str(), "RPUSH", "list", 1),
            (stamp.as_str(), "SADD", "set", 1),
            (leases.as_str(), "SET", "string", 5),
        ] {
            bed.cmd::<()>(&["FLUSHDB"]);
            bed.hold();
            bed.cmd::<()>(&["DEL", key]);
            bed.cmd::<()>(&[command, key, "x"]);
            let mut minded = 0;
            for op in ops() {
                // A fence may be skipped, and a lock that could not get one is released.
                bed.cmd::<()>(&["SET", "l", "me", "NX", "PX", "60000"]);
                let before = without_fences(bed.dump());
                let Err(fault) = bed.engine.perform(&op) else {
                    continue;
                };
                let message = refusal::<()>(Err(fault));
                for word in [&format!("`{key}` is a {kind}"), &format!("DEL {key}")] {
                    assert!(message.contains(word), "{}: {message}", op.name());
                }
                bed.cmd::<()>(&["SET", "l", "me", "NX", "PX", "60000"]);
                assert_eq!(without_fences(bed.dump()), before, "{}", op.name());
                minded += 1;
            }
            assert_eq!(minded, minds, "{key}");
        }
    });
}

/// As a user with the permissions that operations need, and no more.
#[test]
fn the_key_is_named_to_a_user_with_the_least_permissions() {
    on_every_server_with(
        ENGINES,
        |_| Some(ServerOptions::new()),
        |bed| {
            let acl = crate::engine::Acl::new(bed.kind);
            let mut user = vec!["ACL".to_owned(), "SETUSER".to_owned()];
            let rule = format!("bob on >pw ~* &* -@all {acl}");
            user.extend(rule.split(' ').map(str::to_owned));
            bed.cmd::<()>(&user.iter().map(String::as_str).collect::<Vec<_>>());
            let url = bed.server.url_as("bob", "pw");
            bed.engine = ServerEngine::open(bed.config_at(url)).unwrap();
            bed.cmd::<()>(&["RPUSH", "l", "x"]);
            let message = refusal(bed.try_run(acquire("l", "me", 0)));
            assert!(message.contains("`l` is a list"), "{message}");
        },
    );
}

#[test]
fn a_fence_that_is_no_number_is_named() {
    on_every_server(|bed| {
        bed.cmd::<()>(&["SET", &sibling("l", "fence"), "x"]);
        let message = refusal(bed.try_run(acquire("l", "me", 0)));
        assert!(message.contains(&sibling("l", "fence")), "{message}");
    });
}

const BULK: usize = 1024 * 1024;

#[test]
fn a_value_over_the_server_s_bound_is_refused_before_it_is_sent() {
    let bound = BULK.to_string();
    for setting in ["proto-max-bulk-len", "client-query-buffer-limit"] {
        let options = |_: &ServerBinary| Some(ServerOptions::new().config(setting, &bound));
        on_every_server_with(ENGINES, options, |bed| {
            bed.hold();
            bed.cmd::<()>(&["MSET", "own", "old", "a", "old"]);
            bed.run(lease("b"));
            let big = vec![b'x'; BULK + 1];
            let reconnects = bed.engine.counters().reconnects();
            for result in [
                bed.try_run(commit(&big, &["a"])).map(|_| ()),
                bed.try_run(fill("b", &big)).map(|_| ()),
            ] {
                let message = refusal(result);
                for word in [setting, &bound, &big.len().to_string()] {
                    assert!(message.contains(word), "{message}");
                }
            }
            assert_eq!(bed.get("own").as_deref(), Some("old"));
            let fits = vec![b'x'; BULK - 100 * 1024];
            assert_eq!(bed.run(commit(&fits, &["a"])), committed(1));
            assert_eq!(bed.engine.counters().reconnects(), reconnects);
        });
    }
}

/// The setting may not be read: the server closes the connection, and the next operation opens a
/// new one.
#[test]
fn where_the_bound_is_not_known_nothing_worse_happens_than_a_lost_connection() {
    let bound = BULK.to_string();
    let options = |_: &ServerBinary| {
        let options = bob("~* +@all -config").config("proto-max-bulk-len", &bound);
        Some(options)
    };
    on_every_server_with(ENGINES, options, |bed| {
        let url = bed.server.url_as("bob", "pw");
        bed.engine = ServerEngine::open(bed.config_at(url)).unwrap();
        bed.hold();
        bed.cmd::<()>(&["SET", "own", "old"]);
        assert!(bed.try_run(commit(&vec![b'x'; 4 * BULK], &["a"])).is_err());
        assert_eq!(bed.get("own").as_deref(), Some("old"));
        assert_eq!(bed.run(commit(b"new", &["a"])), committed(0));
    });
}
