//! Scripts that are lost or denied, connections that break, servers that halt.

use super::*;
use crate::{
    model::Effect,
    op::{ClearLocks, Holders, Op, ReadReply},
    testing::{Proxy, WireFault},
};
use std::time::{Duration, Instant};

/// Far above each time-out here, and far below the tests' patience.
const NOT_A_HANG: Duration = Duration::from_secs(20);

fn unknown<T: std::fmt::Debug>(result: Result<T, Fault>) -> crate::model::Error {
    match result {
        Err(Fault::Unknown(e)) => {
            assert_eq!(e.effect(), Effect::Unknown);
            e
        }
        other => panic!("an unknown outcome was expected: {other:?}"),
    }
}

fn not_done<T: std::fmt::Debug>(result: Result<T, Fault>) -> crate::model::Error {
    match result {
        Err(Fault::NotDone(e)) => {
            assert_eq!(e.effect(), Effect::None);
            e
        }
        other => panic!("nothing was to be done: {other:?}"),
    }
}

#[test]
fn lost_programs_are_loaded_again() {
    on_every_server_in(LUA, |bed| {
        for (id, bytes) in [("c1", 10), ("c2", BIG)] {
            bed.hold();
            bed.cmd::<()>(match bed.kind {
                Engine::Function => &["FUNCTION", "FLUSH"],
                _ => &["SCRIPT", "FLUSH"],
            });
            let (reloads, trips) = counts(bed);
            let ask = Commit {
                id: id.to_owned(),
                ..commit(&vec![b'x'; bytes], &[])
            };
            assert_eq!(bed.run(ask), committed(0));
            // First the call; then the load and the call again.
            assert_eq!(counts(bed), (reloads + 1, trips + 2));
            assert_eq!(bed.get("own").map(|v| v.len()), Some(bytes));
            // Each script is loaded by itself, a library as a whole.
            assert_eq!(bed.run(invalidate(&["own"])), removed(1));
            let each = u64::from(bed.kind == Engine::Script);
            assert_eq!(bed.engine.counters().reloads(), reloads + 1 + each);
        }
    });
}

/// The program is lost, and the client dies before it has loaded it again: the value that it set
/// soon expires.
#[test]
fn a_value_whose_program_is_lost_ends_by_itself() {
    on_every_server_in(LUA, |bed| {
        let proxy = Proxy::start(bed.server.port()).unwrap();
        bed.engine = ServerEngine::open(bed.config_at(proxy.url())).unwrap();
        bed.hold();
        bed.cmd::<()>(&["MSET", "own", "old", "a", "old"]);
        bed.cmd::<()>(match bed.kind {
            Engine::Function => &["FUNCTION", "FLUSH"],
            _ => &["SCRIPT", "FLUSH"],
        });
        // If a connection is closed, the request is sent again on another one, once.
        proxy.inject_at(WireFault::DropRequest, b"LOAD");
        proxy.inject_at(WireFault::DropRequest, b"LOAD");
        let done = bed.try_run(commit(b"new", &["a"]));
        assert!(done.is_err(), "{done:?}");
        let until = Instant::now() + NOT_A_HANG;
        while bed.exists("own") {
            assert!(Instant::now() < until, "the value stays");
        }
        assert_eq!(bed.get("a").as_deref(), Some("old"));
    });
}

fn counts(bed: &Bed) -> (u64, u64) {
    let counters = bed.engine.counters();
    (counters.reloads(), counters.round_trips())
}

#[test]
fn where_script_is_denied_scripts_are_sent_whole() {
    let users = |_: &ServerBinary| {
        let rule = "bob on >pw ~* +@all -script -info";
        Some(
            ServerOptions::new()
                .user("default on nopass ~* +@all")
                .user(rule),
        )
    };
    on_every_server_with(&[Engine::Script], users, |bed| {
        let usual = bed.engine.report().unwrap();
        bed.cmd::<()>(&["SCRIPT", "FLUSH"]);
        let url = bed.server.url_as("bob", "pw");
        bed.engine = ServerEngine::open(bed.config_at(url)).unwrap();
        let report = bed.engine.report().unwrap();
        assert!(!report.loaded && report.warnings.len() == 1, "{report}");
        assert_eq!(report.flagged, usual.flagged);
        assert_eq!((&*report.flavour, &*report.version), ("unknown", "unknown"));
        for (id, bytes) in [("c1", 10), ("c2", BIG)] {
            bed.hold();
            let ask = Commit {
                id: id.to_owned(),
                ..commit(&vec![b'x'; bytes], &[])
            };
            assert_eq!(bed.run(ask), committed(0));
        }
        // EVAL stores the script on the server.
        bed.hold();
        let before = counts(bed);
        let again = Commit {
            id: "c2".to_owned(),
            ..commit(&vec![b'x'; BIG], &[])
        };
        assert_eq!(bed.run(again), CommitReply::Replayed);
        assert_eq!(counts(bed), (before.0, before.1 + 1));
    });
}

#[test]
fn where_eval_is_denied_too_the_error_says_so() {
    let users = |_: &ServerBinary| {
        let rule = "bob on >pw ~* +@all -script -eval";
        Some(
            ServerOptions::new()
                .user("default on nopass ~* +@all")
                .user(rule),
        )
    };
    on_every_server_with(&[Engine::Script], users, |bed| {
        bed.cmd::<()>(&["SCRIPT", "FLUSH"]);
        let url = bed.server.url_as("bob", "pw");
        let engine = ServerEngine::open(bed.config_at(url)).unwrap();
        let error = not_done(run(&engine, invalidate(&["a"])));
        assert!(
            error.is_server() && error.to_string().contains("NOPERM"),
            "{error}"
        );
    });
}

/// A commit's values are set before its script. If the script is missing or fails, they expire.
#[test]
fn a_value_whose_script_fails_is_gone_and_nothing_else_is_done() {
    use crate::engine::source::ScriptName;
    let failing = |dialect| {
        Scripts::assemble(dialect, |name, text| match name {
            ScriptName::Commit => {
                let start = "--@include limits\n";
                text.replace(start, &format!("{start}redis.call('NO.SUCH.COMMAND')\n"))
            }
            _ => text.to_owned(),
        })
    };
    on_every_server_in(&[Engine::Script], |bed| {
        bed.engine = ServerEngine::with_scripts(bed.config(), failing).unwrap();
        bed.hold();
        bed.cmd::<()>(&["MSET", "own", "old", "a", "old", "{own}:stamp", "old"]);
        unknown(bed.try_run(commit(b"new", &["a"])));
        let until = Instant::now() + NOT_A_HANG;
        while bed.exists("own") {
            assert!(Instant::now() < until, "the value has a life");
        }
        for (key, value) in [("a", "old"), ("{own}:stamp", "old"), ("l", "me")] {
            assert_eq!(bed.get(key).as_deref(), Some(value));
        }
    });
}

#[test]
fn a_value_that_may_not_be_set_is_refused_before_any_write() {
    let users = |_: &ServerBinary| {
        let rule = "bob on >pw ~* +@all -set";
        Some(
            ServerOptions::new()
                .user("default on nopass ~* +@all")
                .user(rule),
        )
    };
    on_every_server_with(LUA, users, |bed| {
        bed.hold();
        bed.cmd::<()>(&["MSET", "own", "old", "a", "old"]);
        let before = bed.dump();
        let url = bed.server.url_as("bob", "pw");
        let engine = ServerEngine::open(bed.config_at(url)).unwrap();
        let error = not_done(run(&engine, commit(b"new", &["a"])));
        assert!(error.to_string().contains("NOPERM"), "{error}");
        assert_eq!(bed.dump(), before);
    });
}

#[test]
fn a_restarted_server_is_found_again() {
    on_every_server(|bed| {
        bed.hold();
        bed.server.restart().unwrap();
        assert_eq!(bed.run(invalidate(&["own"])), removed(0));
        let counters = bed.engine.counters();
        let reloads = u64::from(bed.kind != Engine::Watch);
        assert_eq!((counters.reconnects(), counters.reloads()), (1, reloads));
    });
}

/// Open connections still work. New ones fail, with the reason, until the password is corrected.
#[test]
fn a_password_that_changes_is_told_clearly_and_once_right_again_all_works() {
    on_every_server(|bed| {
        bed.hold();
        let reconnects = bed.engine.counters().reconnects();
        bed.cmd::<()>(&["CONFIG", "SET", "requirepass", "secret"]);
        assert!(bed.try_run(acquire("l", "me", 0)).is_ok());
        bed.cmd::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
        // The connection is gone. If its request only read, it is known not to have been done.
        let mut errors = vec![];
        for _ in 0..2 {
            errors.push(bed.try_run(invalidate(&["own"])).unwrap_err().into_error());
        }
        for error in &errors {
            assert!(
                error.is_server() && error.to_string().contains("NOAUTH"),
                "{error}"
            );
        }
        assert_eq!(errors[1].effect(), Effect::None);
        bed.cmd::<()>(&["CONFIG", "SET", "requirepass", ""]);
        assert!(bed.try_run(acquire("l", "me", 0)).is_ok());
        assert!(bed.engine.counters().reconnects() > reconnects);
    });
}

#[test]
fn a_killed_connection_is_opened_again() {
    on_every_server(|bed| {
        for id in ["c1", "c2"] {
            bed.hold();
            bed.cmd::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            let ask = Commit {
                id: id.to_owned(),
                ..commit(&vec![b'x'; BIG], &[])
            };
            assert_eq!(bed.run(ask), committed(0));
        }
        assert_eq!(bed.engine.counters().reconnects(), 2);
    });
}

#[test]
fn a_server_that_is_away_is_told_at_once_and_can_come_later() {
    on_every_server(|bed| {
        let config = bed.config();
        bed.server.kill();
        let started = Instant::now();
        let opened = ServerEngine::open(config.clone()).map(|_| ());
        assert!(opened.is_err_and(|e| e.is_unavailable() && e.effect() == Effect::None));
        let engine = ServerEngine::lazy(config).unwrap();
        for _ in 0..3 {
            assert!(not_done(run(&engine, acquire("l", "me", 0))).is_unavailable());
            assert!(not_done(run(&engine, read("own"))).is_unavailable());
        }
        assert!(started.elapsed() < NOT_A_HANG);
        bed.server.restart().unwrap();
        assert!(run(&engine, acquire("l", "me", 0)).is_ok());
        assert!(engine.report().unwrap().loaded);
    });
}

#[test]
fn a_halted_server_costs_the_time_out_and_the_connection() {
    on_every_server(|bed| {
        bed.cmd::<()>(&["MSET", "first", "1", "second", "2"]);
        let mut config = bed.config();
        config.response_timeout = Duration::from_millis(150);
        let engine = ServerEngine::open(config).unwrap();
        bed.server.pause().unwrap();
        for big in [false, true] {
            let started = Instant::now();
            let bytes = if big { 8 << 20 } else { 10 };
            let error = match big {
                false => unknown(run(&engine, read("first"))),
                // Watch has only read until then.
                true if bed.kind == Engine::Watch => {
                    not_done(run(&engine, fill("own", &vec![b'x'; bytes])))
                }
                true => unknown(run(&engine, fill("own", &vec![b'x'; bytes]))),
            };
            assert!(
                error.is_unavailable() && error.to_string().contains("in time"),
                "{error}"
            );
            assert!(started.elapsed() < NOT_A_HANG);
        }
        // On a new connection the server is asked for its identity first, so the commit was not
        // sent.
        not_done(run(&engine, commit(b"x", &[])));
        bed.server.resume().unwrap();
        // Its answer to the first request must not be taken for the second one's.
        let until = Instant::now() + NOT_A_HANG;
        let reply = loop {
            match run(&engine, read("second")) {
                Ok(reply) => break reply,
                // On a busy machine.
                Err(Fault::Unknown(e)) if Instant::now() < until => {
                    assert!(e.to_string().contains("in time"), "{e}");
                }
                Err(fault) => panic!("{fault:?}"),
            }
        };
        let ReadReply::Found { value, .. } = reply;
        assert_eq!(value.as_deref(), Some(&b"2"[..]));
        assert!(engine.counters().reconnects() >= 1);
    });
}

#[test]
fn a_lost_reply_on_a_new_connection_is_unknown_and_never_sent_twice() {
    on_every_server(|bed| {
        let proxy = Proxy::start(bed.server.port()).unwrap();
        let engine = ServerEngine::lazy(bed.config_at(proxy.url())).unwrap();
        proxy.inject(WireFault::DropReply);
        let error = unknown(run(&engine, read("own")));
        assert!(error.is_unavailable());
        assert_eq!(proxy.traffic().connections, 1);
        // The boot's reply is lost: the operation was never sent.
        proxy.inject(WireFault::DropReply);
        assert!(not_done(run(&engine, acquire("l", "me", 0))).is_unavailable());
        assert!(!bed.exists("l"));
    });
}

#[test]
fn a_lost_reply_on_a_used_connection_is_mended_by_one_repeat() {
    on_every_server_in(LUA, |bed| {
        let proxy = Proxy::start(bed.server.port()).unwrap();
        bed.engine = ServerEngine::open(bed.config_at(proxy.url())).unwrap();
        bed.hold();
        bed.cmd::<()>(&["SET", "a", "old"]);
        proxy.inject(WireFault::DropReply);
        assert_eq!(bed.run(commit(b"new", &["a"])), CommitReply::Replayed);
        assert!(!bed.exists("own") && !bed.exists("a") && !bed.exists("l"));
    });
}

/// The engine does not repeat requests that would do harm if a copy came late: the sender must ask
/// under another name. Watch has only read until then.
#[test]
fn a_lock_and_a_lease_are_not_sent_again_on_another_connection() {
    on_every_server(|bed| {
        let proxy = Proxy::start(bed.server.port()).unwrap();
        bed.engine = ServerEngine::open(bed.config_at(proxy.url())).unwrap();
        let asked = [
            acquire("l", "me", 0).into_op(),
            lease("own").into_op(),
            ClearLocks {
                locks: vec!["l".to_owned()],
            }
            .into_op(),
        ];
        for op in asked {
            assert_eq!(bed.run(invalidate(&["own"])), removed(0));
            proxy.reset();
            let needle: &[u8] = match (&op, bed.kind) {
                (Op::Acquire(_), _) => b"EXEC",
                (Op::ClearLocks(_), _) => b"UNLINK",
                (_, Engine::Script) => b"EVALSHA",
                (_, Engine::Function) => b"FCALL",
                _ => b"EXEC",
            };
            proxy.inject_at(WireFault::DropRequest, needle);
            assert!(unknown(bed.engine.perform(&op)).is_unavailable());
            assert_eq!((proxy.pending(), proxy.traffic().connections), (0, 0));
        }
    });
}

#[test]
fn a_repeat_that_cannot_connect_leaves_the_outcome_unknown() {
    on_every_server(|bed| {
        bed.hold();
        bed.server.kill();
        let first = bed.try_run(invalidate(&["own"]));
        // Watch has only read until then.
        let error = match bed.kind {
            Engine::Watch => not_done(first),
            // A task may hear of the connection's end before it sends anything.
            _ if by_tasks() && matches!(first, Err(Fault::NotDone(_))) => not_done(first),
            _ => unknown(first),
        };
        assert!(error.is_unavailable());
        assert!(not_done(bed.try_run(invalidate(&["own"]))).is_unavailable());
    });
}

#[test]
fn a_loading_or_following_server_is_unavailable() {
    on_every_server(|bed| {
        bed.hold();
        bed.cmd::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
        for result in [
            bed.try_run(acquire("m", "me", 0)).map(|_| ()),
            bed.try_run(commit(b"new", &["a"])).map(|_| ()),
            bed.try_run(invalidate(&["l"])).map(|_| ()),
        ] {
            let error = not_done(result);
            assert!(error.is_unavailable(), "{error}");
            let text = error.to_string();
            assert!(
                text.contains("READONLY") || text.contains("MASTERDOWN"),
                "{text}"
            );
        }
    });
}

#[test]
fn a_pool_that_is_in_use_is_an_error_in_bounded_time() {
    let Some(binary) = ServerBinary::any() else {
        return;
    };
    let server = Server::start(binary).unwrap();
    let mut config = ServerConfig::new(server.url());
    config.pool_size = 1;
    config.connect_timeout = Duration::from_millis(50);
    config.response_timeout = Duration::from_millis(400);
    let engine = ServerEngine::open(config).unwrap();
    server.pause().unwrap();
    std::thread::scope(|scope| {
        // They find the server halted, or the only connection in use. A value of this size takes a
        // whole connection, for tasks too.
        let calls: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| run(&engine, fill("own", &vec![b'x'; 1 << 20]))))
            .collect();
        let results: Vec<_> = calls.into_iter().map(|call| call.join().unwrap()).collect();
        let busy = |r: &Result<_, Fault>| matches!(r, Err(Fault::NotDone(e)) if e.to_string().contains("in use"));
        assert!(results.iter().all(Result::is_err));
        assert!(results.iter().any(busy), "{results:?}");
    });
    server.resume().unwrap();
}

/// It asks after a caller with a very long time-out; for tasks, on the same connection.
#[test]
fn who_has_little_time_does_not_wait_for_who_has_more() {
    let server = Server::start(ServerBinary::any().unwrap()).unwrap();
    let mut config = ServerConfig::new(server.url());
    config.response_timeout = Duration::from_secs(600);
    let engine = ServerEngine::open(config).unwrap();
    run(&engine, read("a")).unwrap();
    server.pause().unwrap();
    std::thread::scope(|scope| {
        let before = engine.counters().round_trips();
        let patient = scope.spawn(|| run(&engine, read("a")));
        while engine.counters().round_trips() == before {
            std::thread::yield_now();
        }
        let hurried = Holders {
            within: Some(Duration::from_millis(100)),
            locks: vec!["l".to_owned()],
        };
        let missed = run(&engine, hurried).unwrap_err();
        assert!(matches!(missed, Fault::Unknown(_)), "{missed:?}");
        assert!(!patient.is_finished());
        server.resume().unwrap();
        patient.join().unwrap().unwrap();
    });
}
