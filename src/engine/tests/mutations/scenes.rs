//! What histories do not come to: a full server, a denied command, thousands of keys, marks with a token, messages.

use super::{super::*, Edit, broken};
use crate::{
    engine::source::Dialect,
    limits::{STAGING_BYTES, UNLINK_CHUNK},
    op::{LeaseReply, Reply},
};

/// What a scene needs of a server that scenes share.
pub(super) struct Stage<'a> {
    pub(super) server: &'a Server,
    pub(super) plain: redis::Connection,
    pub(super) edit: Edit,
}

pub(super) type Scene = fn(&mut Stage<'_>) -> Result<(), String>;

pub(super) const SCENES: [(&str, Scene); 8] = [
    ("messages", messages),
    ("a staged value is lost", staged_value_is_lost),
    ("a denied command", denied_command),
    ("full server", full_server),
    ("many keys", many_keys),
    ("marks with a token", own_marks),
    ("halves of stamps", half_stamps),
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

/// A refusal says what is wrong: the server's own words for it would mislead.
fn messages(stage: &mut Stage<'_>) -> Result<(), String> {
    let engine = stage.usual();
    for (stored, floor, expected) in [
        ("1e3", 0, "stored fence is not"),
        ("a1", 0, "stored fence is not"),
        ("99999999999999999999", 0, "stored fence is not"),
        ("1", u64::MAX, "floor of the fence is not"),
    ] {
        stage.cmd::<()>(&["SET", "{l}:fence", stored]);
        match run(&engine, acquire("l", "me", floor)) {
            Err(Fault::NotDone(e)) if e.to_string().contains(expected) => {}
            other => return Err(format!("fence {stored}, floor {floor}: {other:?}")),
        }
    }
    Ok(())
}

fn staged_value_is_lost(stage: &mut Stage<'_>) -> Result<(), String> {
    stage.cmd::<()>(&["ACL", "SETUSER", "bob", "on", ">pw", "~*", "+@all", "-set"]);
    stage.cmd::<()>(&["MSET", "l", "me", "own", "old", "a", "old"]);
    let engine = stage.engine(stage.server.url_as("bob", "pw"), None);
    match run(&engine, commit(&vec![b'x'; STAGING_BYTES], &["a"])) {
        Err(Fault::NotDone(_)) => {}
        other => return Err(format!("{other:?}")),
    }
    expect(stage.cmd(&["EXISTS", "own", "a"]), 2)
}

/// The server's own words, not those of Lua.
fn denied_command(stage: &mut Stage<'_>) -> Result<(), String> {
    let rule = "ACL SETUSER eve on >pw ~* +@all -unlink";
    stage.cmd::<()>(&rule.split(' ').collect::<Vec<_>>());
    stage.cmd::<()>(&["MSET", "l", "me", "own", "old"]);
    let engine = stage.engine(stage.server.url_as("eve", "pw"), None);
    match run(&engine, commit(b"new", &["a"])) {
        // "The user executing the script can't run …", and since Redis 8 "User eve has no permissions …".
        Err(Fault::NotDone(e)) if e.to_string().to_lowercase().contains("user e") => {}
        other => return Err(format!("{other:?}")),
    }
    expect(stage.cmd(&["GET", "own"]), "old".to_owned())
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

    let mark = Prepare {
        locks: Vec::new(),
        ..prepare(&all)
    };
    run(&engine, mark).map_err(|fault| format!("{fault:?}"))?;
    expect(stage.cmd(&["HLEN", "cachetx:leases:run"]), count)
}

fn own_marks(stage: &mut Stage<'_>) -> Result<(), String> {
    let engine = stage.usual();
    let marks = "HSET cachetx:leases:run own w:tok:9 a w:tok2:9 b w:*:9 c w:to:9 d w::9";
    stage.cmd::<()>(&marks.split(' ').collect::<Vec<_>>());
    for (token, id, left) in [("", "c1", "a b c d own"), ("tok", "c2", "a b c d")] {
        stage.cmd::<()>(&["SET", "l", "me"]);
        let ask = Commit {
            token: token.to_owned(),
            id: id.to_owned(),
            ..commit(b"new", &["a", "b", "c", "d"])
        };
        let reply = run(&engine, ask).map_err(|fault| format!("{fault:?}"))?;
        expect(reply, committed(0))?;
        let mut fields: Vec<String> = stage.cmd(&["HKEYS", "cachetx:leases:run"]);
        fields.sort();
        expect(fields.join(" "), left.to_owned())?;
    }
    Ok(())
}

/// A stamp that breaks off is nobody's: neither of this commit nor of this file. Nor is a flight of another kind.
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

/// Whoever waits for a lock is told when it is free, not before, and a message that is denied fails nothing.
fn told(stage: &mut Stage<'_>) -> Result<(), String> {
    free::told(&stage.usual(), stage.server)?;
    free::denied(
        &stage.engine(free::without_messages(stage.server), None),
        stage.server,
    )
}
