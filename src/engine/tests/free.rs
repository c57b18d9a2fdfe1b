//! Freeing a lock sends a message on the lock's channel, afterwards; a denied message does no harm.

use super::*;
use crate::{
    engine::{Bells, Ear, MemoryEngine, MemoryServer, Performer},
    op::{ClearLocks, ClearLocksReply, Op, Release, ReleaseReply, Reply, keys::channel},
};
use std::time::Duration;

/// Operations on the locks `l` and `m`, of which "me" holds the first or both; with the locks that
/// each frees.
fn operations() -> [(Op, &'static [&'static str]); 10] {
    let release = |holder: &str| Release {
        lock: lock("l", holder),
    };
    let both = Commit {
        locks: vec![lock("l", "me"), lock("m", "me")],
        ..commit(b"new", &["a"])
    };
    let one_lost = Commit {
        locks: vec![lock("l", "me"), lock("m", "you")],
        ..commit(b"new", &["a"])
    };
    let kept = Commit {
        release: false,
        ..both.clone()
    };
    let and_release = Invalidate {
        release: Some(lock("m", "me")),
        ..invalidate(&["a"])
    };
    let locks = vec!["l".to_owned(), "m".to_owned()];
    [
        (release("me").into_op(), &["l"]),
        (release("you").into_op(), &[]),
        (commit(b"new", &["a"]).into_op(), &["l"]),
        (both.into_op(), &["l", "m"]),
        (one_lost.into_op(), &["l"]),
        (kept.into_op(), &[]),
        (and_release.into_op(), &["m"]),
        (invalidate(&["a"]).into_op(), &[]),
        (acquire("l", "you", 0).into_op(), &[]),
        (ClearLocks { locks }.into_op(), &["l", "m"]),
    ]
}

/// A connection that hears every message on every channel.
fn listener(server: &Server) -> redis::Connection {
    let mut connection = plain(&server.unix_url());
    connection
        .set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    cmd::<redis::Value>(&mut connection, &["PSUBSCRIBE", "*"]);
    connection
}

/// The channels of the messages so far; the test sends one of its own after them.
fn heard(listener: &mut redis::Connection, plain: &mut redis::Connection) -> Vec<String> {
    cmd::<()>(plain, &["PUBLISH", "end", ""]);
    let mut channels = Vec::new();
    loop {
        let message = redis::Msg::from_owned_value(listener.recv_response().unwrap());
        let channel = message.expect("a message").get_channel_name().to_owned();
        if channel == "end" {
            return channels;
        }
        channels.push(channel);
    }
}

fn prepare(plain: &mut redis::Connection) {
    cmd::<()>(plain, &["FLUSHDB"]);
    cmd::<()>(plain, &["MSET", "l", "me", "m", "me", "a", "old"]);
}

/// Describes what is wrong with the messages of the engine's operations.
pub(super) fn told(engine: &dyn Performer, server: &Server) -> Result<(), String> {
    let (mut listener, mut plain) = (listener(server), plain(&server.unix_url()));
    for (op, freed) in operations() {
        prepare(&mut plain);
        engine.perform(&op).map_err(|e| format!("{op:?}: {e:?}"))?;
        let channels: Vec<String> = freed.iter().map(|lock| channel(lock)).collect();
        let messages = heard(&mut listener, &mut plain);
        if messages != channels {
            return Err(format!(
                "{op:?}: messages on {messages:?}, not {channels:?}"
            ));
        }
    }
    // In the order in which clients see a script's effects.
    monitored(engine, server)
}

/// Whether the message is sent after the lock is gone.
fn monitored(engine: &dyn Performer, server: &Server) -> Result<(), String> {
    let mut plain = plain(&server.unix_url());
    let mut monitor = super::plain(&server.unix_url());
    cmd::<()>(&mut monitor, &["MONITOR"]);
    prepare(&mut plain);
    let release = Release {
        lock: lock("l", "me"),
    };
    engine
        .perform(&release.into_op())
        .map_err(|e| format!("{e:?}"))?;
    cmd::<()>(&mut plain, &["PING"]);
    let mut names = Vec::new();
    loop {
        let redis::Value::SimpleString(line) = monitor.recv_response().unwrap() else {
            return Err("MONITOR says something else".to_owned());
        };
        // `1700000000.123456 [0 lua] "UNLINK" "l"`
        let name = line.split('"').nth(1).unwrap_or_default().to_uppercase();
        if name == "PING" {
            break;
        }
        names.push(name);
    }
    let place = |name| names.iter().position(|found| found == name);
    match (place("UNLINK"), place("PUBLISH")) {
        (Some(unlink), Some(publish)) if unlink < publish => Ok(()),
        _ => Err(format!("not told after the release: {names:?}")),
    }
}

/// The server's URL for a user who may do anything but publish.
pub(super) fn without_messages(server: &Server) -> String {
    let mut plain = plain(&server.unix_url());
    let rule = "ACL SETUSER mute on >pw ~* +@all -publish";
    cmd::<()>(&mut plain, &rule.split(' ').collect::<Vec<_>>());
    server.url_as("mute", "pw")
}

/// Describes what is wrong with the operations of an engine that may not publish.
pub(super) fn denied(engine: &dyn Performer, server: &Server) -> Result<(), String> {
    let (mut listener, mut plain) = (listener(server), plain(&server.unix_url()));
    let done = [
        Reply::Release(ReleaseReply::Done),
        Reply::Release(ReleaseReply::Lost),
        Reply::Commit(committed(1)),
        Reply::Commit(committed(1)),
        Reply::Commit(CommitReply::Lost { removed: 1 }),
        Reply::Commit(committed(1)),
        Reply::Invalidate(removed(1)),
        Reply::Invalidate(removed(1)),
        Reply::Acquire(AcquireReply::Held {
            value: "me".to_owned(),
            left_ms: u64::MAX,
        }),
        Reply::ClearLocks(ClearLocksReply::Cleared(2)),
    ];
    for ((op, freed), expected) in operations().into_iter().zip(done) {
        prepare(&mut plain);
        match engine.perform(&op) {
            Ok(reply) if reply == expected => {}
            other => return Err(format!("{op:?} without messages: {other:?}")),
        }
        for name in ["l", "m"] {
            let there: bool = cmd(&mut plain, &["EXISTS", name]);
            if there == freed.contains(&name) {
                return Err(format!("{op:?} without messages: {name} there: {there}"));
            }
        }
    }
    match heard(&mut listener, &mut plain) {
        messages if messages.is_empty() => Ok(()),
        messages => Err(format!("messages without leave: {messages:?}")),
    }
}

#[test]
fn whoever_frees_a_lock_says_so_afterwards() {
    on_every_server(|bed| {
        told(&bed.engine, &bed.server).unwrap();
        let mute = bed.config_at(without_messages(&bed.server));
        denied(&ServerEngine::open(mute).unwrap(), &bed.server).unwrap();
    });
}

#[test]
fn the_message_costs_no_round_trip() {
    on_every_server(|bed| {
        bed.warm();
        bed.cmd::<()>(&["MSET", "l", "me", "m", "me"]);
        for (op, trips) in [
            (
                ClearLocks {
                    locks: vec!["m".to_owned()],
                }
                .into_op(),
                1,
            ),
            (commit(b"new", &["a"]).into_op(), bed.trips()),
        ] {
            let start = bed.engine.counters().round_trips();
            bed.engine.perform(&op).unwrap();
            let took = bed.engine.counters().round_trips() - start;
            assert_eq!(took, trips, "{op:?}");
        }
    });
}

/// Waits for messages until `holds`, for a bounded time.
fn until(ear: &Ear, mut holds: impl FnMut(bool) -> bool) {
    let tries = 3_000;
    let held = (0..tries).any(|_| holds(ear.wait(Duration::from_millis(10))));
    assert!(held, "no message in time");
}

/// Messages come by the same URL, TLS and credentials as replies.
pub(super) fn listens(engine: &ServerEngine) {
    let ear = engine.bells().listen(&channel("l"));
    engine.listens();
    until(&ear, |messages_come| messages_come);
}

#[test]
fn who_listens_hears_it() {
    on_every_server(|bed| {
        let mut plain = plain(&bed.server.unix_url());
        let mut subscriber = || {
            let clients: String = cmd(&mut plain, &["CLIENT", "LIST", "TYPE", "pubsub"]);
            clients.split(' ').next().unwrap_or_default().to_owned()
        };
        let bells = Arc::clone(bed.engine.bells());
        let ear = bells.listen(&channel("l"));
        bed.engine.listens();
        until(&ear, |messages_come| messages_come);
        bed.hold();
        bed.run(Release {
            lock: lock("l", "me"),
        });
        // However long it takes, the wait ends with the message.
        assert!(ear.wait(Duration::from_secs(60)));

        // The connection breaks: waiters get messages on another one.
        let first = subscriber();
        bed.cmd::<()>(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        until(&ear, |messages_come| {
            let now = subscriber();
            messages_come && now.starts_with("id=") && now != first
        });
        bed.engine.close();
        until(&ear, |messages_come| !messages_come);
    });
}

#[test]
fn in_memory_too() {
    let server = MemoryServer::with_manual_clock();
    let engine = MemoryEngine::new(server);
    for (op, freed) in operations() {
        for name in ["l", "m"] {
            let gone = ClearLocks {
                locks: vec![name.to_owned()],
            };
            engine.perform(&gone.into_op()).unwrap();
            engine.perform(&acquire(name, "me", 0).into_op()).unwrap();
        }
        let bells: &Arc<Bells> = engine.bells();
        let ears = ["l", "m"].map(|name| {
            let ear = bells.listen(&channel(name));
            assert!(ear.wait(Duration::ZERO) && !ear.is_rung());
            (name, ear)
        });
        engine.perform(&op).unwrap();
        for (name, ear) in ears {
            assert_eq!(ear.is_rung(), freed.contains(&name), "{op:?}: {name}");
        }
    }
}
