//! What only the Watch engine can get wrong: a watch that is lost or left behind, and contention.

use super::*;
use crate::{
    engine::{
        Counters,
        redirect::Cause,
        redirect::Redirect,
        watch::{Attempt, Stop, Style},
        wire::Packed,
    },
    model::limits,
    op::{Op, Release, ReleaseReply, Renew, RenewReply},
    testing::{Proxy, WireFault},
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

const WATCH: &[Engine] = &[Engine::Watch];

/// Looks at "k", runs `between`, then sets "k" to "mine". Returns what the look saw, and the
/// outcome.
fn set_after(
    session: &mut Session<'_>,
    between: impl FnOnce(),
) -> Result<(Option<String>, &'static str), Failure> {
    let mut sent = false;
    let mut attempt = Attempt::new(session, Style::default(), &mut sent);
    let read = |packed: &mut Packed| packed.request(&[b"GET", b"k"]);
    let looked = now(attempt.look(&[], |_| {}, &["k"], read));
    let seen = looked.and_then(|mut seen| seen.text());
    between();
    let done = seen.and_then(|seen| {
        now(attempt.write(|packed| packed.request(&[b"SET", b"k", b"mine"])))?;
        Ok(seen.map(|text| String::from_utf8_lossy(&text).into_owned()))
    });
    now(attempt.leave(&done))?;
    match done {
        Ok(seen) => Ok((seen, "done")),
        Err(Stop::Contended) => Ok((None, "contended")),
        Err(Stop::Failed(failure)) => Err(failure),
        Err(Stop::Full(_) | Stop::InFlight) => panic!("neither can be here"),
    }
}

fn node(config: ServerConfig) -> Node {
    Node::new(config, Arc::new(Counters::default())).unwrap()
}

/// Ensures that the next use of the node's connection is not its first.
fn warm(node: &Node) {
    let pinged = node.with(|session| now(session.ask(|packed| packed.request(&[b"PING"]))));
    pinged.unwrap();
}

#[test]
fn what_happens_between_the_look_and_exec_undoes_the_attempt() {
    on_every_server_in(WATCH, |bed| {
        let node = node(bed.config());
        let lines: [&[&str]; 3] = [
            &["SET", "k", "theirs"],
            &["DEL", "k"],
            &["PEXPIRE", "k", "1"],
        ];
        for line in lines {
            bed.cmd::<()>(&["SET", "k", "old"]);
            let done = node.with(|session| {
                set_after(session, || {
                    bed.cmd::<()>(line);
                    while line[0] == "PEXPIRE" && bed.exists("k") {}
                })
            });
            assert_eq!(done.unwrap(), (None, "contended"), "{line:?}");
            assert_ne!(bed.get("k").as_deref(), Some("mine"));
        }
        let done = node.with(|session| set_after(session, || {}));
        assert_eq!(done.unwrap(), (None, "done"));
        assert_eq!(bed.get("k").as_deref(), Some("mine"));
    });
}

#[test]
fn a_connection_killed_between_the_look_and_exec_never_commits_unwatched() {
    on_every_server_in(WATCH, |bed| {
        let node = node(bed.config());
        warm(&node);
        bed.cmd::<()>(&["SET", "k", "old"]);
        let mut looks = 0;
        let done = node.with(|session| {
            looks += 1;
            let first = looks == 1;
            set_after(session, || {
                if first {
                    bed.cmd::<()>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
                    bed.cmd::<()>(&["SET", "k", "theirs"]);
                }
            })
        });
        // The repeat started with its own look.
        assert_eq!(done.unwrap(), (Some("theirs".to_owned()), "done"));
        assert_eq!(looks, 2);
    });
}

#[test]
fn a_lost_reply_to_exec_is_looked_up_or_unknown() {
    on_every_server_in(WATCH, |bed| {
        let proxy = Proxy::start(bed.server.port()).unwrap();
        let mut config = bed.config_at(proxy.url());
        config.response_timeout = Duration::from_secs(2);
        let node = node(config);
        warm(&node);
        let mut first = true;
        let done = node.with(|session| {
            let cut = std::mem::replace(&mut first, false);
            set_after(session, || {
                if cut {
                    proxy.inject(WireFault::DropReply);
                }
            })
        });
        assert_eq!(done.unwrap(), (Some("mine".to_owned()), "done"));
        // A time-out is not repeated.
        let done =
            node.with(|session| set_after(session, || proxy.inject(WireFault::SwallowReply)));
        assert!(
            matches!(&done, Err(miss) if miss.fault.is_unknown()),
            "{done:?}"
        );
    });
}

#[test]
fn no_way_out_leaves_a_watch_behind() {
    on_every_server_in(WATCH, |bed| {
        let mine = bed.hold();
        let theirs = lock("l", "you");
        let dead = Renew {
            lock: mine.clone(),
            fence_key: "f".to_owned(),
            ttl_ms: 0,
        };
        let lost = Renew {
            lock: theirs.clone(),
            ..dead.clone()
        };
        let ways: [Op; 5] = [
            acquire("l", "you", 0).into_op(),
            lost.into_op(),
            dead.into_op(),
            Release { lock: theirs }.into_op(),
            invalidate(&[]).into_op(),
        ];
        for op in ways {
            let _ = bed.engine.perform(&op);
            bed.cmd::<()>(&["PEXPIRE", "l", "60000"]);
            let before = bed.engine.counters().round_trips();
            let renew = Renew {
                lock: mine.clone(),
                fence_key: "f".to_owned(),
                ttl_ms: 60_000,
            };
            assert_eq!(bed.run(renew), RenewReply::Done);
            // One attempt: with a watch left on the connection, its EXEC would have done nothing.
            let trips = bed.engine.counters().round_trips() - before;
            assert_eq!(trips, 2, "{}", op.name());
        }
        assert_eq!(bed.engine.counters().reconnects(), 0);
    });
}

#[test]
fn leaving_does_not_forget_that_the_server_cannot_work_now() {
    on_every_server_in(WATCH, |bed| {
        let node = node(bed.config());
        bed.cmd::<()>(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
        bed.cmd::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
        let done = node.with(|session| set_after(session, || {}));
        let miss = done.unwrap_err();
        let error = miss.fault.into_error();
        assert!(error.to_string().contains("MASTERDOWN"), "{error}");
        let cause = miss.cause;
        assert!(
            matches!(cause, Cause::Elsewhere(Redirect::Unsettled)),
            "{cause:?}"
        );
    });
}

#[test]
fn endless_contention_is_an_error_of_its_own_and_does_nothing() {
    let server = Server::start(ServerBinary::any().expect("a server")).unwrap();
    let proxy = Proxy::start(server.port()).unwrap();
    let engine = ServerEngine::open(config(proxy.url(), Engine::Watch)).unwrap();
    let mut other = plain(&server.unix_url());
    cmd::<()>(&mut other, &["SET", "a", "old"]);
    // Another client is always faster.
    let change = ["HINCRBY", "cachetx:leases:run", "x", "1"];
    let change = redis::cmd(change[0]).arg(&change[1..]).get_packed_command();
    proxy.do_first(b"EXEC", change);
    let fault = run(&engine, invalidate(&["a"])).unwrap_err();
    let Fault::NotDone(error) = fault else {
        panic!("{fault:?}");
    };
    assert!(error.is_contended() && error.is_retryable(), "{error:?}");
    let attempts = format!("{} attempts", limits::WATCH_ATTEMPTS);
    assert!(error.to_string().contains(&attempts), "{error}");
    assert!(cmd::<bool>(&mut other, &["EXISTS", "a"]));
    let free = ServerEngine::open(config(server.url(), Engine::Watch)).unwrap();
    assert_eq!(run(&free, invalidate(&["a"])).unwrap(), removed(1));
}

#[test]
fn threads_never_hold_one_lock_together() {
    on_every_server_in(WATCH, |bed| {
        let (engine, holders, last) = (&bed.engine, AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (holders, last) = (&holders, &last);
                scope.spawn(move || {
                    let me = format!("holder{thread}");
                    let mut turns = 0;
                    while turns < 25 {
                        let reply = run(engine, acquire("l", &me, 0));
                        let Ok(AcquireReply::Acquired { fence }) = reply else {
                            continue;
                        };
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                        assert!(last.swap(fence, Ordering::SeqCst) < fence);
                        holders.fetch_sub(1, Ordering::SeqCst);
                        let release = Release {
                            lock: lock("l", &me),
                        };
                        assert_eq!(run(engine, release).unwrap(), ReleaseReply::Done);
                        turns += 1;
                    }
                });
            }
        });
    });
}

#[test]
fn where_transactions_are_denied_later_on_nothing_is_written() {
    let users = |_: &ServerBinary| {
        let options = ServerOptions::new().user("default on nopass ~* +@all");
        Some(options.user("bob on >pw ~* +@all"))
    };
    on_every_server_with(WATCH, users, |bed| {
        let bob = bed.config_at(bed.server.url_as("bob", "pw"));
        let engine = ServerEngine::open(bob.clone()).unwrap();
        bed.hold();
        bed.cmd::<()>(&["MSET", "own", "old", "a", "old"]);
        let before = bed.dump();
        for denied in ["watch", "multi", "exec"] {
            let rule = format!("-{denied}");
            bed.cmd::<()>(&["ACL", "SETUSER", "bob", "+@all", &rule]);
            for _ in 0..2 {
                let message = refusal(run(&engine, commit(b"new", &["a"])));
                assert!(message.contains("NOPERM"), "{denied}: {message}");
                assert_eq!(bed.dump(), before, "{denied}");
            }
        }
        bed.cmd::<()>(&["ACL", "SETUSER", "bob", "+@all"]);
        assert_eq!(run(&engine, commit(b"new", &["a"])).unwrap(), committed(1));
    });
}
