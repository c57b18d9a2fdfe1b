//! Locks in a database of their own.

use super::*;
use crate::op::{
    ClearLocks, ClearLocksReply, PrepareReply, ReadReply, Release, ReleaseReply, Renew, RenewReply,
};

const LEASES: &str = "cachetx:leases:run";

/// The bed's engine with its cache in database 13 and its locks in 0, where the plain connection looks.
fn apart(bed: &Bed, url: &str) -> ServerConfig {
    ServerConfig {
        lock_database: Some(0),
        ..bed.config_at(format!("{url}13"))
    }
}

/// Keys of the same names in the other database, which must not be touched.
fn decoys(bed: &mut Bed) {
    bed.cmd::<()>(&["MSET", "own", "decoy", "a", "decoy", "{own}:stamp", "decoy"]);
    bed.cmd::<()>(&["HSET", LEASES, "a", "l:decoy:9"]);
    let keys = ["l", "decoy", "{l}:fence", "decoy"];
    in_cache(bed, |bed| bed.cmd::<()>(&[&["MSET"], &keys[..]].concat()));
}

fn in_cache<T>(bed: &mut Bed, look: impl FnOnce(&mut Bed) -> T) -> T {
    bed.cmd::<()>(&["SELECT", "13"]);
    let seen = look(bed);
    bed.cmd::<()>(&["SELECT", "0"]);
    seen
}

fn texts(bed: &mut Bed, keys: &[&str]) -> Vec<Option<String>> {
    keys.iter().map(|key| bed.get(key)).collect()
}

fn decoys_are_untouched(bed: &mut Bed) {
    let decoy = || Some("decoy".to_owned());
    assert_eq!(texts(bed, &["own", "a", "{own}:stamp"]), vec![decoy(); 3]);
    assert!(bed.exists(LEASES));
    let locks = in_cache(bed, |bed| texts(bed, &["l", "{l}:fence"]));
    assert_eq!(locks, vec![decoy(); 2]);
}

#[test]
fn every_operation_finds_locks_there_and_entries_here() {
    on_every_server(|bed| {
        decoys(bed);
        bed.engine = ServerEngine::open(apart(bed, &bed.server.url())).unwrap();
        let (mine, theirs) = (lock("l", "me"), lock("l", "you"));

        bed.hold();
        assert_eq!(
            texts(bed, &["l", "{l}:fence"]),
            [Some("me".to_owned()), Some("1".to_owned())]
        );
        let held = bed.run(acquire("l", "you", 0));
        assert!(matches!(held, AcquireReply::Held { .. }), "{held:?}");
        let renew = Renew {
            lock: mine.clone(),
            fence_key: "{l}:fence".to_owned(),
            ttl_ms: 90_000,
        };
        assert_eq!(bed.run(renew), RenewReply::Done);
        assert!(bed.pttl("l") > 89_000 && bed.pttl("{l}:fence") > 179_000);

        for (id, bytes) in [("c1", 10), ("c2", BIG)] {
            bed.hold();
            in_cache(bed, |bed| {
                bed.cmd::<()>(&["SET", "a", "old"]);
                bed.cmd::<()>(&["HSET", LEASES, "a", "l:t:9"]);
            });
            let mark = prepare(&["own", "a"]);
            let foreign = Prepare {
                locks: vec![theirs.clone()],
                ..mark.clone()
            };
            assert_eq!(bed.run(foreign), PrepareReply::Lost);
            assert_eq!(bed.run(mark.clone()), PrepareReply::Done);
            in_cache(bed, |bed| bed.cmd::<()>(&["SET", "a", "old"]));
            let ask = Commit {
                id: id.to_owned(),
                token: mark.token,
                ..commit(&vec![b'x'; bytes], &["a"])
            };
            assert_eq!(bed.run(ask.clone()), committed(1));
            assert!(!bed.exists("l"));
            let left = in_cache(bed, |bed| {
                assert_eq!(bed.get("own").map(|v| v.len()), Some(bytes));
                bed.cmd::<i32>(&["DBSIZE"])
            });
            assert_eq!(left, 4, "own, its stamp and the decoys");
            bed.hold();
            assert_eq!(bed.run(ask.clone()), CommitReply::Replayed);
            assert!(!bed.exists("l"));
            let lost = Commit {
                id: format!("{id}-lost"),
                ..ask
            };
            assert_eq!(bed.run(lost), CommitReply::Lost { removed: 0 });
        }

        bed.hold();
        in_cache(bed, |bed| bed.cmd::<()>(&["SET", "a", "old"]));
        let ask = Invalidate {
            release: Some(mine.clone()),
            ..invalidate(&["a"])
        };
        assert_eq!(bed.run(ask), removed(1));
        assert!(!bed.exists("l"));
        bed.hold();
        assert_eq!(bed.run(Release { lock: theirs }), ReleaseReply::Lost);
        assert_eq!(bed.run(Release { lock: mine }), ReleaseReply::Done);
        bed.hold();
        let clear = ClearLocks {
            locks: vec!["l".to_owned(), "own".to_owned()],
        };
        bed.cmd::<()>(&["RENAME", "own", "kept"]);
        assert_eq!(bed.run(clear), ClearLocksReply::Cleared(1));
        bed.cmd::<()>(&["RENAME", "kept", "own"]);
        decoys_are_untouched(bed);
        assert_eq!(bed.engine.counters().reconnects(), 0);
    });
}

#[test]
fn a_refusal_brings_the_connection_back_to_the_cache() {
    on_every_server(|bed| {
        bed.engine = ServerEngine::open(apart(bed, &bed.server.url())).unwrap();
        in_cache(bed, |bed| bed.cmd::<()>(&["SET", "own", "here"]));
        bed.cmd::<()>(&["RPUSH", "l", "x"]);
        for op in [
            acquire("l", "me", 0).into_op(),
            Release {
                lock: lock("l", "me"),
            }
            .into_op(),
        ] {
            let message = refusal(bed.engine.perform(&op));
            assert!(message.contains("WRONGTYPE"), "{message}");
            let ReadReply::Found { value, .. } = bed.run(read("own"));
            assert_eq!(value.as_deref(), Some(&b"here"[..]), "{}", op.name());
        }
    });
}

#[test]
fn a_full_server_invalidates_and_releases_there_too() {
    on_every_server(|bed| {
        decoys(bed);
        bed.engine = ServerEngine::open(apart(bed, &bed.server.url())).unwrap();
        let mine = bed.hold();
        in_cache(bed, |bed| bed.cmd::<()>(&["SET", "a", "old"]));
        bed.cmd::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        let message = refusal(bed.try_run(commit(b"new", &["a"])));
        assert!(message.contains("OOM"), "{message}");
        let ask = Invalidate {
            release: Some(mine),
            ..invalidate(&["a"])
        };
        assert_eq!(bed.run(ask), removed(1));
        assert!(!bed.exists("l"));
        decoys_are_untouched(bed);
    });
}

#[test]
fn a_database_that_cannot_be_selected_is_refused_at_boot() {
    let users = |_: &ServerBinary| Some(bob("~* +@all -select"));
    on_every_server_with(ENGINES, users, |bed| {
        let none = ServerConfig {
            lock_database: Some(99),
            ..bed.config()
        };
        let denied = ServerConfig {
            lock_database: Some(1),
            ..bed.config_at(bed.server.url_as("bob", "pw"))
        };
        for (config, why) in [(none, "out of range"), (denied, "NOPERM")] {
            let opened = ServerEngine::open(config).map(|_| ());
            let message = opened.unwrap_err().to_string();
            assert!(message.contains(why), "{message}");
        }
        // Naming the cache's own database as the lock database needs no permission to select it.
        let same = ServerConfig {
            lock_database: Some(0),
            ..bed.config_at(bed.server.url_as("bob", "pw"))
        };
        assert!(run(&ServerEngine::open(same).unwrap(), acquire("l", "me", 0)).is_ok());
    });
}
