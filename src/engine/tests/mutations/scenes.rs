//! What histories do not reach: a full server, thousands of keys, marks with a token, messages.

use super::{super::*, Edit, broken};
use crate::{
    engine::{
        Counters,
        call::Call,
        lua,
        source::{Dialect, ScriptName},
    },
    model::limits::{self, UNLINK_CHUNK},
    op::{CommitReply, LeaseReply, Raise, Reply, voucher::voucher},
};

/// What a scene needs of the shared server.
pub(super) struct Stage<'a> {
    pub(super) server: &'a Server,
    pub(super) plain: redis::Connection,
    pub(super) edit: Edit,
}

pub(super) type Scene = fn(&mut Stage<'_>) -> Result<(), String>;

pub(super) const SCENES: [(&str, Scene); 11] = [
    ("messages", messages),
    ("the rarer way to a lock", rarer_way),
    ("full server", full_server),
    ("many keys", many_keys),
    ("marks with a token", own_marks),
    ("many marks", many_marks),
    ("halves of stamps", half_stamps),
    ("raised stamps", raised_stamps),
    ("over another file", over_another),
    ("several documents", several_documents),
    ("those who wait", told),
];

impl Stage<'_> {
    fn engine(&self, url: String, dialect: Option<Dialect>) -> ServerEngine {
        let edit = self.edit;
        let scripts = move |found| {
            Scripts::assemble(dialect.unwrap_or(found), |name, text| {
                broken(edit, name, text)
            })
        };
        ServerEngine::with_scripts(ServerConfig::new(url), scripts).unwrap()
    }

    fn usual(&self) -> ServerEngine {
        self.engine(self.server.unix_url(), None)
    }

    fn cmd<T: redis::FromRedisValue>(&mut self, line: &[&str]) -> T {
        cmd(&mut self.plain, line)
    }
}

fn expect<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{found:?} in place of {expected:?}")),
    }
}

/// A refusal names the cause: the server's own message would mislead.
fn messages(stage: &mut Stage<'_>) -> Result<(), String> {
    let engine = stage.usual();
    for (stored, expected) in [
        ("1e3", "stored fence is not"),
        ("a1", "stored fence is not"),
        ("99999999999999999999", "stored fence is not"),
    ] {
        stage.cmd::<()>(&["SET", "{l}:fence", stored]);
        match run(&engine, acquire("l", "me", 0)) {
            Err(Fault::NotDone(e)) if e.to_string().contains(expected) => {}
            other => return Err(format!("fence {stored}: {other:?}")),
        }
        // The plain commands had acquired the lock; it is released again.
        expect(stage.cmd(&["EXISTS", "l"]), 0)?;
    }
    Ok(())
}

/// The program that acquires a lock, for cases in which plain commands are not enough.
fn rarer_way(stage: &mut Stage<'_>) -> Result<(), String> {
    let (edit, config) = (stage.edit, ServerConfig::new(stage.server.unix_url()));
    let node = Node::new(config, Arc::new(Counters::default())).unwrap();
    let dialect = match stage.server.binary().version().0 {
        6 => Dialect::Plain,
        _ => Dialect::Flagged,
    };
    let scripts = Scripts::assemble(dialect, |name, text| broken(edit, name, text));
    let acquire = |value: &str, floor| {
        let op = super::super::acquire("l", value, floor).into_op();
        let call = Call::new(&op).unwrap();
        let script = scripts.get(ScriptName::Acquire);
        match node.with(|session| now(lua::perform(session, &op, &call, script))) {
            Ok(Reply::Acquire(reply)) => Ok(reply),
            Ok(reply) => Err(format!("{reply:?}")),
            Err(miss) => Err(format!("{:?}", miss.fault)),
        }
    };
    let max = limits::MAX_FENCE;
    for (stored, floor, fence) in [
        (None, 0, 1),
        (None, 41, 42),
        (Some("7"), 3, 8),
        (Some("7"), 9, 10),
        (Some("9"), 10, 11),
        (Some("0"), 0, 1),
        (Some("9007199254740992"), 0, 9_007_199_254_740_993),
        (Some("9223372036854775806"), 5, max + 1),
    ] {
        for holder in [None, Some("me")] {
            stage.cmd::<()>(&["DEL", "l", "{l}:fence"]);
            for (key, text) in [("{l}:fence", stored), ("l", holder)] {
                if let Some(text) = text {
                    stage.cmd::<()>(&["SET", key, text]);
                }
            }
            expect(acquire("me", floor)?, AcquireReply::Acquired { fence })?;
            expect(stage.cmd(&["GET", "{l}:fence"]), Some(fence.to_string()))?;
            let lives: [i64; 2] = ["l", "{l}:fence"].map(|key| stage.cmd(&["PTTL", key]));
            let fence_life = limits::FENCE_LIFE.as_millis() as i64;
            let in_time = |left: i64, life: i64| (life - 30_000..=life).contains(&left);
            expect(
                in_time(lives[0], 60_000) && in_time(lives[1], fence_life),
                true,
            )?;
        }
    }
    match acquire("you", 0)? {
        AcquireReply::Held { value, left_ms } if value == "me" && left_ms > 30_000 => {}
        other => return Err(format!("{other:?}")),
    }
    expect(acquire("me", max + 1).is_err(), true)?;
    stage.cmd::<()>(&["SET", "{l}:fence", "01"]);
    expect(acquire("me", 0).is_err(), true)
}

fn full_server(stage: &mut Stage<'_>) -> Result<(), String> {
    let engine = stage.engine(stage.server.unix_url(), Some(Dialect::Plain));
    stage.cmd::<()>(&["MSET", "l", "me", "own", "old", "a", "old"]);
    stage.cmd::<()>(&["HSET", "cachetx:leases:run", "b", "l:t:9"]);
    stage.cmd::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
    let replies = [
        run(&engine, prepare(&["own", "a"])).map(|reply| format!("{reply:?}")),
        run(&engine, commit(b"new", &["a"])).map(|reply| format!("{reply:?}")),
        run(&engine, fill("b", b"new")).map(|reply| format!("{reply:?}")),
    ];
    stage.cmd::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
    for reply in replies {
        match reply {
            Err(Fault::NotDone(e)) if e.to_string().contains("OOM") => {}
            other => return Err(format!("{other:?}")),
        }
    }
    expect(stage.cmd(&["EXISTS", "own", "a", "cachetx:leases:run"]), 3)
}

fn many_keys(stage: &mut Stage<'_>) -> Result<(), String> {
    let engine = stage.usual();
    let count = 9 * UNLINK_CHUNK + 1;
    let keys: Vec<String> = (0..count).map(|i| format!("d{i}")).collect();
    for keys in keys.chunks(UNLINK_CHUNK) {
        let mut values = vec!["MSET"];
        let mut leases = vec!["HSET", "cachetx:leases:run"];
        for key in keys {
            values.extend([key.as_str(), "old"]);
            leases.extend([key.as_str(), "l:t:9"]);
        }
        stage.cmd::<()>(&values);
        stage.cmd::<()>(&leases);
    }
    let all: Vec<&str> = keys.iter().map(String::as_str).collect();
    let reply = run(&engine, invalidate(&all)).map_err(|fault| format!("{fault:?}"))?;
    expect(
        Reply::Invalidate(reply),
        Reply::Invalidate(removed(count as u64)),
    )?;
    expect(stage.cmd(&["DBSIZE"]), 0)?;

    stage.cmd::<()>(&["SET", "l", "me"]);
    let reply = run(&engine, commit(b"new", &all)).map_err(|fault| format!("{fault:?}"))?;
    expect(reply, committed(0))?;
    stage.cmd::<()>(&["FLUSHDB"]);

    let mark = Prepare {
        locks: Vec::new(),
        ..prepare(&all)
    };
    run(&engine, mark).map_err(|fault| format!("{fault:?}"))?;
    expect(stage.cmd(&["HLEN", "cachetx:leases:run"]), count)
}

fn own_marks(stage: &mut Stage<'_>) -> Result<(), String> {
    let engine = stage.usual();
    let names = ["a", "b", "c", "d", "e", "f", "g"];
    let marks = [
        ("own", "w:tok:9"),
        ("a", "w:tok2:9"),
        ("b", "w:*:9"),
        ("c", "w:to:9"),
        ("d", "w::9"),
        ("e", "w:tok:9 w:x:8"),
        ("f", "w:x:8 w:tok:9"),
        ("g", "w:x:8 w:tok:9 w:y:7"),
    ];
    let left = [
        ("a", "w:tok2:9"),
        ("b", "w:*:9"),
        ("c", "w:to:9"),
        ("d", "w::9"),
        ("e", "w:x:8"),
        ("f", "w:x:8"),
        ("g", "w:x:8 w:y:7"),
    ];
    for by_commit in [true, false] {
        for (field, text) in marks {
            stage.cmd::<()>(&["HSET", "cachetx:leases:run", field, text]);
        }
        for (token, id, left) in [("", "c1", &marks[..]), ("tok", "c2", &left)] {
            stage.cmd::<()>(&["SET", "l", "me"]);
            let token = token.to_owned();
            let done = match by_commit {
                true => run(
                    &engine,
                    Commit {
                        token,
                        id: id.to_owned(),
                        ..commit(b"new", &names)
                    },
                )
                .map(|reply| expect(reply, committed(0))),
                false => run(
                    &engine,
                    Invalidate {
                        token,
                        ..invalidate(&[&["own"], &names[..]].concat())
                    },
                )
                .map(|_| Ok(())),
            };
            done.map_err(|fault| format!("{fault:?}"))??;
            let fields: BTreeMap<String, String> = stage.cmd(&["HGETALL", "cachetx:leases:run"]);
            let left = left
                .iter()
                .map(|(f, text)| (f.to_string(), text.to_string()));
            expect(fields, left.collect())?;
        }
        stage.cmd::<()>(&["FLUSHDB"]);
    }
    Ok(())
}

/// More writers than marks that stand side by side; and a lease that has ended.
fn many_marks(stage: &mut Stage<'_>) -> Result<(), String> {
    let engine = stage.usual();
    for longest in [0, 5, limits::MAX_MARKS] {
        stage.cmd::<()>(&["FLUSHDB"]);
        for n in 0..=limits::MAX_MARKS {
            let ask = Prepare {
                locks: Vec::new(),
                token: n.to_string(),
                ttl_ms: if n == longest { 60_000 } else { 20_000 },
                ..prepare(&["a"])
            };
            run(&engine, ask).map_err(|fault| format!("{fault:?}"))?;
            let text: String = stage.cmd(&["HGET", "cachetx:leases:run", "a"]);
            let marks = text.split(' ').count();
            let expected = if n < limits::MAX_MARKS { n + 1 } else { 1 };
            expect(marks, expected)?;
        }
        let text: String = stage.cmd(&["HGET", "cachetx:leases:run", "a"]);
        expect(text.starts_with("w:*:"), true)?;
        match run(&engine, lease("a")) {
            Ok(LeaseReply::Busy { left_ms: 50_000.. }) => {}
            other => return Err(format!("{other:?}")),
        }
    }
    stage.cmd::<()>(&["HSET", "cachetx:leases:run", "a", "l:other:9"]);
    let reply = run(&engine, lease("a")).map_err(|fault| format!("{fault:?}"))?;
    expect(reply, LeaseReply::Leased)
}

/// Raised stamps, which have no writer; one of them is of the file that the commit saves.
fn raised_stamps(stage: &mut Stage<'_>) -> Result<(), String> {
    let engine = stage.usual();
    let ask = commit(b"new", &[]);
    let stamp = ask.own[0].stamp;
    let raise = |mtime_ns| Raise {
        stamp: Stamp { mtime_ns, ..stamp },
        ..super::super::raise("own")
    };
    for (raised, expected) in [
        (vec![4], Some("new")),
        (vec![5], Some("new")),
        (vec![6, 4], None),
        (vec![10], None),
    ] {
        stage.cmd::<()>(&["FLUSHDB"]);
        stage.cmd::<()>(&["SET", "l", "me"]);
        for mtime_ns in raised {
            let ask = Invalidate {
                raises: vec![raise(mtime_ns)],
                ..invalidate(&["own"])
            };
            run(&engine, ask).map_err(|fault| format!("{fault:?}"))?;
            expect(stage.cmd::<i64>(&["PTTL", "{own}:stamp"]) > 0, true)?;
        }
        run(&engine, ask.clone()).map_err(|fault| format!("{fault:?}"))?;
        let found: Option<String> = stage.cmd(&["GET", "own"]);
        expect(found.as_deref(), expected)?;
    }
    Ok(())
}

/// Commits without a lock: in the usual case, and in the general case with another leases key,
/// which drops a lease there. They go over the entry of the file that was replaced, of another
/// file, of one whose stamp begins alike, without a stamp, and without a value.
fn over_another(stage: &mut Stage<'_>) -> Result<(), String> {
    let engine = stage.usual();
    let over = own("", b"old").stamp;
    let stamp = |inode: u64| voucher(&Stamp { inode, ..over }, "c0", b"old");
    for dependents in [vec!["a"], vec!["a", "{t}c"], vec!["{t}c"]] {
        for (value, stored, is_set) in [
            (Some("old"), Some(stamp(over.inode)), true),
            (Some("old"), Some(stamp(over.inode + 1)), false),
            (Some("old"), Some(stamp(10 * over.inode)), false),
            (Some("old"), None, false),
            (None, Some(stamp(over.inode)), false),
        ] {
            stage.cmd::<()>(&["FLUSHDB"]);
            stage.cmd::<()>(&["MSET", "a", "1", "{t}c", "1", "l", "other"]);
            if dependents.contains(&"{t}c") {
                stage.cmd::<()>(&["HSET", "{t}:cachetx:leases", "{t}c", "l:t:9"]);
            }
            if let Some(value) = value {
                stage.cmd::<()>(&["SET", "own", value]);
            }
            if let Some(stored) = &stored {
                stage.cmd::<()>(&["SET", "{own}:stamp", stored]);
            }
            let mut ask = commit(b"new", &dependents);
            ask.locks.clear();
            ask.own[0].over = Some(over);
            ask.own[0].stamp.mtime_ns += 1;
            let file = ask.own[0].stamp.to_string();
            let reply = run(&engine, ask).map_err(|fault| format!("{fault:?}"))?;
            let removed = dependents.len() as u64;
            let expected = match is_set {
                true => CommitReply::Committed { removed },
                false => CommitReply::Superseded { removed },
            };
            expect(reply, expected)?;
            expect(stage.cmd(&["HLEN", "{t}:cachetx:leases"]), 0)?;
            let found: Option<String> = stage.cmd(&["GET", "own"]);
            expect(found.as_deref(), is_set.then_some("new"))?;
            // If nothing is set, the stamp has no writer.
            let stored: Option<String> = stage.cmd(&["GET", "{own}:stamp"]);
            let stored = stored.and_then(|it| Some(it.strip_prefix(&file)?.ends_with("::")));
            expect(stored, Some(!is_set))?;
            expect(stage.cmd::<i64>(&["PTTL", "{own}:stamp"]) > 0, true)?;
        }
    }
    Ok(())
}

/// Three documents in one step, of a store without locks.
fn several_documents(stage: &mut Stage<'_>) -> Result<(), String> {
    let engine = stage.usual();
    let documents = ["own", "own2", "own3"];
    let mut ask = commit(b"new", &[]);
    ask.locks.clear();
    ask.own = documents.map(|value| own(value, b"new")).into();
    let reply = run(&engine, ask).map_err(|fault| format!("{fault:?}"))?;
    expect(reply, committed(0))?;
    for value in documents {
        expect(stage.cmd::<String>(&["GET", value]), "new".to_owned())?;
    }
    Ok(())
}

/// A truncated stamp belongs to no commit and no file. A flight of an unknown kind is ignored too.
fn half_stamps(stage: &mut Stage<'_>) -> Result<(), String> {
    let engine = stage.usual();
    stage.cmd::<()>(&["MSET", "l", "me", "{own}:stamp", "x:c1"]);
    let reply = run(&engine, commit(b"new", &["a"]));
    expect(reply.map_err(|fault| format!("{fault:?}"))?, committed(0))?;

    stage.cmd::<()>(&["HSET", "cachetx:leases:run", "odd", "x:t:9999999999999999"]);
    let reply = run(&engine, lease("odd"));
    expect(
        reply.map_err(|fault| format!("{fault:?}"))?,
        LeaseReply::Leased,
    )?;

    let wanted = own("", b"old").stamp;
    stage.cmd::<()>(&["MSET", "own", "old", "{own}:stamp", &wanted.to_string()]);
    let reply = run(
        &engine,
        Lease {
            wanted: Some(wanted),
            ..lease("own")
        },
    );
    expect(
        reply.map_err(|fault| format!("{fault:?}"))?,
        LeaseReply::Leased,
    )
}

/// Waiters for a lock are told when it is free, not before; a denied message fails nothing.
fn told(stage: &mut Stage<'_>) -> Result<(), String> {
    free::told(&stage.usual(), stage.server)?;
    free::denied(
        &stage.engine(free::without_messages(stage.server), None),
        stage.server,
    )
}
