//! commit: what it sets, deletes, releases and replies.

use super::*;
use crate::{
    engine::source::{Dialect, ScriptName},
    model::limits::UNLINK_CHUNK,
    op::{ReadReply, voucher::voucher},
};

const STAMP: &str = "{own}:stamp";
const LEASES: &str = "cachetx:leases:run";

fn fill(bed: &mut Bed, keys: &[String]) {
    for keys in keys.chunks(1_000) {
        let mut line = vec!["MSET"];
        keys.iter()
            .for_each(|key| line.extend([key.as_str(), "old"]));
        bed.cmd::<()>(&line);
    }
}

#[test]
fn a_commit_sets_deletes_and_releases() {
    on_every_server(|bed| {
        bed.hold();
        fill(bed, &["own", "a", "b", "other"].map(str::to_owned));
        let ask = commit(b"new", &["a", "b", "absent"]);
        let vouched = voucher(&ask.own[0].stamp, "c1", b"new");
        assert_eq!(bed.run(ask), committed(2));
        assert_eq!(bed.get("own").as_deref(), Some("new"));
        assert_eq!(bed.get(STAMP).as_ref(), Some(&vouched));
        for key in ["own", STAMP] {
            assert!((99_000..=100_000).contains(&bed.pttl(key)), "{key}");
        }
        let left: Vec<_> = bed.dump().into_keys().collect();
        assert_eq!(left, ["other", "own", "{l}:fence", STAMP]);
        let found = ReadReply::Found {
            voucher: Some(vouched.into_bytes()),
            value: Some(b"new".to_vec()),
            left_ms: None,
        };
        assert_eq!(bed.run(read("own")), found);
        let nothing = ReadReply::Found {
            voucher: None,
            value: None,
            left_ms: None,
        };
        assert_eq!(bed.run(read("a")), nothing);
    });
}

/// A server that halts may run a guard's requests in another order than they were sent in: each
/// came on its own connection, since the first one timed out.
#[test]
fn a_commit_that_was_held_up_does_not_overwrite_a_later_one() {
    on_every_server(|bed| {
        bed.hold();
        let earlier = Commit {
            release: false,
            ..commit(b"earlier", &["a"])
        };
        let mut later = Commit {
            id: "c2".to_owned(),
            ..earlier.clone()
        };
        later.own[0].bytes = Arc::from(&b"later"[..]);
        later.own[0].stamp.mtime_ns += 1;
        assert_eq!(bed.run(later.clone()), committed(0));
        fill(bed, &["a".to_owned()]);
        assert_eq!(
            bed.run(earlier.clone()),
            CommitReply::Superseded { removed: 1 },
            "deleting is always safe"
        );
        let left: Vec<_> = bed.dump().into_keys().collect();
        assert_eq!(
            left,
            ["l", "{l}:fence", STAMP],
            "the stamp says who came first"
        );
        later.id = "c3".to_owned();
        later.release = true;
        assert_eq!(bed.run(later), committed(0));
        assert_eq!(bed.get("own").as_deref(), Some("later"));
    });
}

/// A commit of a file by this holder, which keeps its lock.
fn commit_of(file: i64, holder: &str) -> Commit {
    let mut ask = Commit {
        id: format!("of-{file}"),
        locks: vec![lock("l", holder)],
        release: false,
        ..commit(format!("file {file}").as_bytes(), &["a"])
    };
    ask.own[0].stamp.mtime_ns = file;
    ask
}

#[test]
fn a_repeat_brings_no_entry_back_that_was_deleted_since() {
    on_every_server(|bed| {
        bed.hold();
        assert_eq!(bed.run(commit_of(5, "me")), committed(0));
        assert_eq!(bed.run(invalidate(&["own"])), removed(1));
        assert_eq!(bed.run(commit_of(5, "me")), CommitReply::Replayed);
        assert!(!bed.exists("own"));
    });
}

/// The earlier holder's lock was cleared. Another holder locked, read and saved, and lost the lock
/// too, to the earlier one.
#[test]
fn a_commit_of_an_earlier_file_sets_nothing_after_a_later_one_that_was_lost() {
    on_every_server(|bed| {
        bed.cmd::<()>(&["SET", "l", "earlier"]);
        let lost = bed.run(commit_of(6, "later"));
        assert_eq!(lost, CommitReply::Lost { removed: 0 });
        let late = bed.run(commit_of(5, "earlier"));
        assert_eq!(late, CommitReply::Superseded { removed: 0 });
        assert!(!bed.exists("own"));
    });
}

/// A later save was deferred and replayed from the outbox; or the document was deleted.
#[test]
fn a_late_commit_sets_nothing_after_an_invalidation_that_raised_the_stamp() {
    on_every_server(|bed| {
        bed.hold();
        assert_eq!(bed.run(commit_of(5, "me")), committed(0));
        let gone = Invalidate {
            raises: vec![raise("own")],
            ..invalidate(&["own", "a"])
        };
        assert_eq!(bed.run(gone), removed(1));
        assert!((99_000..=100_000).contains(&bed.pttl(STAMP)));
        let again = Commit {
            id: "another try".to_owned(),
            ..commit_of(5, "me")
        };
        let late = bed.run(again);
        assert_eq!(late, CommitReply::Superseded { removed: 0 });
        assert!(!bed.exists("own"));
        // An invalidation that only deletes keeps the stamp, and a later file is set.
        assert_eq!(bed.run(invalidate(&["own"])), removed(0));
        assert_eq!(bed.run(commit_of(7, "me")), committed(0));
    });
}

#[test]
fn a_commit_keeps_the_lock_where_it_is_not_to_release_it() {
    on_every_server(|bed| {
        bed.hold();
        let ask = Commit {
            release: false,
            ..commit(b"\xff\x00", &[])
        };
        assert_eq!(bed.run(ask.clone()), committed(0));
        assert!(bed.exists("l"));
        let value: Vec<u8> = bed.cmd(&["GET", "own"]);
        assert_eq!(value, b"\xff\x00");
        // A repeat deletes the value, which may have been invalidated since. It keeps the stamp,
        // and releases the lock if asked to.
        let mut before = bed.dump();
        assert_eq!(bed.run(ask.clone()), CommitReply::Replayed);
        before.remove("own");
        assert_eq!(bed.dump(), before);
        let again = Commit {
            release: true,
            ..ask
        };
        assert_eq!(bed.run(again), CommitReply::Replayed);
        assert!(!bed.exists("l"));
    });
}

#[test]
fn a_replay_takes_nobodys_lock_away_and_deletes_nothing() {
    on_every_server(|bed| {
        bed.hold();
        let big = vec![b'x'; BIG];
        assert_eq!(bed.run(commit(&big, &["a"])), committed(0));
        bed.cmd::<()>(&["SET", "l", "you"]);
        bed.cmd::<()>(&["SET", "a", "filled since"]);
        assert_eq!(bed.run(commit(&big, &["a"])), CommitReply::Replayed);
        assert_eq!(bed.get("l").as_deref(), Some("you"));
        assert!(bed.exists("a") && !bed.exists("{own}:c1"));
    });
}

fn a_lost_lock_deletes(bed: &mut Bed) {
    fill(bed, &["own", STAMP, "a", "b"].map(str::to_owned));
    for (holder, bytes) in [(None, 10), (Some("you"), 10), (Some("you"), BIG)] {
        fill(bed, &["own", STAMP, "a"].map(str::to_owned));
        if let Some(holder) = holder {
            bed.cmd::<()>(&["SET", "l", holder]);
        }
        let reply = bed.run(commit(&vec![b'x'; bytes], &["a", "absent"]));
        assert_eq!(reply, CommitReply::Lost { removed: 1 });
        let left: Vec<_> = bed.dump().into_keys().collect();
        match holder {
            None => assert_eq!(left, ["b", STAMP]),
            Some(_) => assert_eq!(left, ["b", "l", STAMP]),
        }
    }
}

#[test]
fn a_lost_lock_deletes_everything_and_sets_nothing() {
    on_every_server(a_lost_lock_deletes);
}

#[test]
fn without_the_lock_check_that_test_fails() {
    let broken = |dialect: Dialect| {
        Scripts::assemble(dialect, |name, text| {
            if name != ScriptName::Commit {
                return text.to_owned();
            }
            let mutated = text.replace("sets = all_held and", "sets =");
            assert_ne!(mutated, text);
            mutated
        })
    };
    on_every_server_in(LUA, |bed| {
        bed.engine = ServerEngine::with_scripts(bed.config(), broken).unwrap();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            a_lost_lock_deletes(bed);
        }));
        assert!(caught.is_err(), "{}", bed.server.binary());
    });
}

#[test]
fn several_documents_are_committed_or_lost_together() {
    on_every_server(|bed| {
        bed.run(acquire("l", "me", 0));
        bed.run(acquire("m", "me", 0));
        let ask = Commit {
            locks: vec![lock("l", "me"), lock("m", "me")],
            own: vec![own("own", b"1"), own("{tag}own", &vec![b'2'; BIG])],
            ..commit(b"", &["a", "{tag}b", "c"])
        };
        fill(bed, &["a", "{tag}b", "c"].map(str::to_owned));
        assert_eq!(bed.run(ask.clone()), committed(3));
        assert_eq!(bed.get("own").as_deref(), Some("1"));
        assert_eq!(bed.get("{tag}own").map(|v| v.len()), Some(BIG));
        assert!(bed.pttl("{tag}own") > 99_000);
        assert!(!bed.exists("l") && !bed.exists("m"));

        // The lock that is still held is released, and nothing is set.
        bed.run(acquire("l", "me", 0));
        let lost = Commit {
            id: "c2".to_owned(),
            ..ask
        };
        assert_eq!(bed.run(lost), CommitReply::Lost { removed: 0 });
        assert!(!bed.exists("l") && !bed.exists("own") && !bed.exists("{tag}own"));
    });
}

#[test]
fn any_number_of_dependents_goes_in_chunks() {
    on_every_server(|bed| {
        for count in [
            0,
            1,
            UNLINK_CHUNK - 1,
            UNLINK_CHUNK,
            UNLINK_CHUNK + 1,
            10_000,
        ] {
            let keys: Vec<String> = (0..count).map(|i| format!("dependent{i}")).collect();
            fill(bed, &keys);
            bed.hold();
            let ask = Commit {
                id: format!("c{count}"),
                dependents: keys.iter().map(|key| entry(key)).collect(),
                ..commit(b"new", &[])
            };
            assert_eq!(bed.run(ask.clone()), committed(count as u64));
            assert_eq!(bed.cmd::<usize>(&["DBSIZE"]), 3);

            // The same with a lease in flight for each.
            for keys in keys.chunks(1_000) {
                let mut line = vec!["HSET", LEASES];
                keys.iter()
                    .for_each(|key| line.extend([key.as_str(), "l:t:1"]));
                bed.cmd::<()>(&line);
            }
            bed.hold();
            let ask = Commit {
                id: format!("d{count}"),
                ..ask
            };
            assert_eq!(bed.run(ask), committed(0));
            assert!(!bed.exists(LEASES));
        }
    });
}

#[test]
fn leases_are_dropped_and_marks_of_others_stay() {
    on_every_server(|bed| {
        bed.hold();
        bed.cmd::<()>(&["HSET", LEASES, "own", "l:t:9", "a", "l:u:9", "b", "w:t:9"]);
        bed.cmd::<()>(&["HSET", LEASES, "c", "w:*:9", "other", "l:t:9"]);
        bed.cmd::<()>(&["HSET", "{tag}:cachetx:leases", "{tag}d", "l:t:9"]);
        let ask = commit(b"new", &["a", "b", "{tag}d", "c"]);
        assert_eq!(bed.run(ask), committed(0));
        let left: BTreeMap<String, String> = bed.cmd(&["HGETALL", LEASES]);
        assert_eq!(left.keys().collect::<Vec<_>>(), ["b", "c", "other"]);
        assert!(!bed.exists("{tag}:cachetx:leases"));

        // A lost lock drops leases too.
        bed.cmd::<()>(&["HSET", LEASES, "own", "l:t:9"]);
        let lost = Commit {
            id: "c2".to_owned(),
            ..commit(b"new", &[])
        };
        assert_eq!(bed.run(lost), CommitReply::Lost { removed: 0 });
        assert!(!bed.cmd::<bool>(&["HEXISTS", LEASES, "own"]));
    });
}

#[test]
fn marks_with_the_own_token_are_dropped() {
    on_every_server(|bed| {
        bed.hold();
        let marks = [
            "own", "w:tok:9", "a", "w:tok2:9", "b", "w:*:9", "c", "w:to:9",
        ];
        bed.cmd::<()>(&[&["HSET", LEASES], &marks[..]].concat());
        let ask = Commit {
            token: "tok".to_owned(),
            ..commit(b"new", &["a", "b", "c"])
        };
        assert_eq!(bed.run(ask), committed(0));
        let left: BTreeMap<String, String> = bed.cmd(&["HGETALL", LEASES]);
        assert_eq!(left.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    });
}

#[test]
fn values_of_any_size_go_in_one_round_trip_and_nothing_stays_behind() {
    on_every_server(|bed| {
        bed.warm();
        for bytes in [0, 1, BIG - 1, BIG, BIG + 1, 4 << 20] {
            bed.hold();
            let value: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
            let ask = Commit {
                id: format!("c{bytes}"),
                ..commit(&value, &["a"])
            };
            let before = bed.engine.counters().round_trips();
            assert_eq!(bed.run(ask), committed(0));
            assert_eq!(bed.engine.counters().round_trips(), before + bed.trips());
            assert_eq!(bed.cmd::<Vec<u8>>(&["GET", "own"]), value);
            assert!((99_000..=100_000).contains(&bed.pttl("own")));
            assert_eq!(bed.cmd::<usize>(&["DBSIZE"]), 3);
        }
    });
}
