//! The least ACL: it is enough, and each word of it is needed.

use super::*;
use crate::{
    engine::{Acl, EngineReport},
    model::Error,
    op::{ClearLocks, Holders, Op, Read, Release, Renew, keys::channel},
    rules::LiveRules,
    rules::{Params, Rules},
};

const RUN: &str = "r1";

/// One controller whose keys have a hash tag, and one whose keys have none.
fn rules() -> Rules {
    let text = r#"{ "version": "1.0", "rules": {},
                    "cache_keys": { "a": "app:{{{run}}}:a", "b": "app:{run}:b" } }"#;
    Rules::from_json(text).unwrap()
}

/// The key of a store with its own lock key.
const LOCK: &str = "app-lock:{run}:{controller}";

fn user(engine: Engine) -> Acl {
    Acl::new(engine).rules(&rules()).lock_key(LOCK).unwrap()
}

fn entry_of(controller: &str) -> Entry {
    let params = Params::new().with("run", RUN);
    let value = rules().key(controller, &params).unwrap();
    let leases = leases(&value, Some(RUN)).into();
    Entry {
        value: value.into(),
        leases,
    }
}

/// Every operation on every kind of key, in every situation that needs a permission, recovery
/// included.
fn suite(bed: &mut Bed, url: &str, lock_database: Option<u32>) -> Result<EngineReport, Error> {
    bed.cmd::<()>(&["FLUSHALL"]);
    let config = ServerConfig {
        rules: Some(Arc::new(LiveRules::new(rules()))),
        lock_database,
        ..bed.config_at(url.to_owned())
    };
    let engine = ServerEngine::open(config)?;
    for flushed in [&["SCRIPT", "FLUSH"], &["FUNCTION", "FLUSH"]] {
        if has(bed.server.binary(), Engine::Function) || flushed[0] == "SCRIPT" {
            bed.cmd::<()>(flushed);
        }
    }
    for (turn, own) in ["a", "b"].into_iter().enumerate() {
        let (own, other) = (entry_of(own), entry_of(if turn == 0 { "b" } else { "a" }));
        for lock_key in [sibling(&own.value, "lock"), format!("app-lock:{RUN}:a")] {
            for bytes in [10, BIG] {
                let id = format!("{:032x}", lock_key.len() * 100_000 + bytes);
                for op in operations(&own, &other, &lock_key, bytes, &id) {
                    for entry in [&own, &other] {
                        bed.cmd::<()>(&["HSET", &entry.leases, &entry.value, "l:t:9"]);
                    }
                    engine.perform(&op).map_err(Fault::into_error)?;
                }
            }
        }
    }
    Ok(engine.report().unwrap())
}

fn operations(own: &Entry, other: &Entry, lock_key: &str, bytes: usize, id: &str) -> Vec<Op> {
    let (mine, theirs) = (lock(lock_key, "me"), lock(lock_key, "you"));
    let fence_key = sibling(lock_key, "fence");
    let prepare = Prepare {
        locks: vec![mine.clone()],
        entries: vec![own.clone(), other.clone()],
        ..super::prepare(&[])
    };
    let commit = Commit {
        token: prepare.token.clone(),
        wait: None,
        id: id.to_owned(),
        locks: vec![mine.clone()],
        own: vec![Own {
            entry: own.clone(),
            ..super::own("", &vec![b'x'; bytes])
        }],
        dependents: vec![other.clone()],
        release: true,
    };
    let lost = Commit {
        id: id.replace('0', "f"),
        ..commit.clone()
    };
    let entry = || own.clone();
    let lease = Lease {
        entry: entry(),
        ..super::lease("")
    };
    let extend = Extend {
        entry: entry(),
        ..super::extend("")
    };
    let fill = Fill {
        entry: entry(),
        ..super::fill("", b"x")
    };
    let give_back = GiveBack {
        entry: entry(),
        ..super::give_back("")
    };
    vec![
        acquire(lock_key, "me", 7).into_op(),
        acquire(lock_key, "you", 0).into_op(),
        Renew {
            lock: mine.clone(),
            fence_key,
            ttl_ms: 60_000,
        }
        .into_op(),
        prepare.into_op(),
        commit.clone().into_op(),
        Read {
            entry: own.clone(),
            life: true,
        }
        .into_op(),
        commit.into_op(),
        lost.into_op(),
        acquire(lock_key, "me", 0).into_op(),
        Release { lock: theirs }.into_op(),
        Release { lock: mine.clone() }.into_op(),
        acquire(lock_key, "me", 0).into_op(),
        Invalidate {
            entries: vec![own.clone(), other.clone()],
            raises: vec![raise(&own.value)],
            token: "w".to_owned(),
            release: Some(mine),
        }
        .into_op(),
        Holders {
            within: None,
            locks: vec![lock_key.to_owned()],
        }
        .into_op(),
        ClearLocks {
            locks: vec![lock_key.to_owned()],
        }
        .into_op(),
        lease.clone().into_op(),
        extend.into_op(),
        fill.into_op(),
        lease.into_op(),
        give_back.into_op(),
    ]
}

/// Allows bob exactly these words.
fn set_user<'a>(bed: &mut Bed, words: impl Iterator<Item = &'a String>) {
    // The words end with their own channels, which some servers reject after "all channels".
    let start = [
        "ACL",
        "SETUSER",
        "bob",
        "reset",
        "on",
        ">pw",
        "-@all",
        "resetchannels",
    ];
    let line: Vec<&str> = start.into_iter().chain(words.map(String::as_str)).collect();
    bed.cmd::<()>(&line);
}

#[test]
fn the_least_acl_is_enough_and_each_word_of_it_is_needed() {
    on_every_server(|bed| {
        least_and_no_less(bed, &user(bed.kind), None);
    });
    on_every_server(|bed| {
        let acl = user(bed.kind).with_databases();
        least_and_no_less(bed, &acl, Some(1));
    });
}

fn least_and_no_less(bed: &mut Bed, acl: &Acl, lock_database: Option<u32>) {
    let all = words(acl);
    let words = words(&acl.clone().without_messages());
    assert_eq!(words.len(), acl.commands().count() + acl.keys().count());
    assert_eq!(words, all[..words.len()]);
    let url = bed.server.url_as("bob", "pw");

    // Locks and commits work with and without the permissions for messages.
    for allowed in [&all, &words] {
        set_user(bed, allowed.iter());
        let report = suite(bed, &url, lock_database).unwrap_or_else(|e| panic!("{acl}: {e}"));
        assert!(report.warnings.is_empty(), "{report}");
    }

    for missing in &words {
        set_user(bed, words.iter().filter(|word| *word != missing));
        let done = suite(bed, &url, lock_database);
        let error = done.map(|_| ()).expect_err(missing);
        // Redis has its own words for what a script may not do.
        let text = error.to_string();
        let words = [
            "NOPERM",
            "user executing the script",
            "ACL failure in script",
        ];
        let denied = words.iter().any(|word| text.contains(word));
        assert!(denied, "{missing}: {text}");
    }
}

fn words(acl: &Acl) -> Vec<String> {
    acl.to_string().split(' ').map(str::to_owned).collect()
}

/// Those permissions for messages about the suite's locks that bob, as a plain client, is denied.
fn denied_messages(url: &str) -> Vec<String> {
    let locks = ["a", "b"].map(|own| sibling(&entry_of(own).value, "lock"));
    let mut denied = Vec::new();
    for lock in locks.into_iter().chain([format!("app-lock:{RUN}:a")]) {
        let channel = channel(&lock);
        for words in [
            &["PUBLISH", &channel, ""][..],
            &["SUBSCRIBE", &channel],
            &["UNSUBSCRIBE", &channel],
        ] {
            let mut command = redis::cmd(words[0]);
            match command
                .arg(&words[1..])
                .query::<redis::Value>(&mut plain(url))
            {
                Ok(_) => {}
                Err(e) if e.code() == Some("NOPERM") => denied.push(channel.clone()),
                Err(e) => panic!("{e}"),
            }
        }
    }
    denied
}

#[test]
fn messages_need_each_of_their_words_and_nothing_else_does() {
    on_every_server(|bed| {
        let acl = user(bed.kind);
        let all = words(&acl);
        let needed = words(&acl.clone().without_messages()).len();
        let url = bed.server.url_as("bob", "pw");
        set_user(bed, all.iter());
        assert_eq!(denied_messages(&url), [""; 0]);
        for missing in &all[needed..] {
            set_user(bed, all.iter().filter(|word| *word != missing));
            if missing != "resetchannels" {
                assert!(!denied_messages(&url).is_empty(), "{missing}");
            }
            suite(bed, &url, None).unwrap_or_else(|e| panic!("without {missing}: {e}"));
        }
    });
}

#[test]
fn a_boot_tells_of_the_gaps_that_it_can_find() {
    on_every_server(|bed| {
        let acl = user(bed.kind);
        let words = words(&acl);
        let config = ServerConfig {
            rules: Some(Arc::new(LiveRules::new(rules()))),
            ..bed.config_at(bed.server.url_as("bob", "pw"))
        };
        for (missing, told) in [
            ("+hdel", "`HDEL "),
            ("+unlink", "`UNLINK "),
            ("~app:*:b", "`GET app:cachetx-probe:b`"),
            ("~app:{*}:a:*", "`GET app:{cachetx-probe}:a:stamp`"),
        ] {
            set_user(bed, words.iter().filter(|word| *word != missing));
            let engine = ServerEngine::open(config.clone()).unwrap();
            let report = engine.report().unwrap();
            let warnings = report.warnings.iter();
            assert!(
                warnings.clone().any(|w| w.contains(told)),
                "{missing}: {report}"
            );
            assert!(warnings.clone().all(|w| w.contains("NOPERM")), "{report}");
        }
        // Probing leaves nothing behind; the record of these rules is intended.
        let left: Vec<String> = bed.cmd(&["KEYS", "*"]);
        assert_eq!(left, [crate::engine::notice::RULES_KEY]);
    });
}
