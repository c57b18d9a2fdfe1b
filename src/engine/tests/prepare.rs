//! prepare, and what happens to its marks.

use super::*;
use crate::op::{ExtendReply, FillReply, GiveBackReply, LeaseReply, PrepareReply};

const LEASES: &str = "cachetx:leases:run";

/// A writer without a lock: a program that changes another source of truth.
fn by(token: &str, ttl_ms: u64) -> Prepare {
    Prepare {
        locks: Vec::new(),
        token: token.to_owned(),
        ttl_ms,
        ..prepare(&["own", "a"])
    }
}

/// The commit that follows [`prepare`].
fn commit_marked(id: &str, token: &str) -> Commit {
    Commit {
        id: id.to_owned(),
        token: token.to_owned(),
        ..commit(b"new", &["a"])
    }
}

/// The owner of the mark or lease on an entry, and how much longer it lives, in ms.
fn flight(bed: &mut Bed, value: &str) -> Option<(String, i64)> {
    let text: Option<String> = bed.cmd(&["HGET", LEASES, value]);
    let (seconds, micros): (i64, i64) = bed.cmd(&["TIME"]);
    let text = text?;
    let (owner, ends) = text.rsplit_once(':')?;
    let ends: i64 = ends.parse().ok()?;
    Some((owner.to_owned(), ends - seconds * 1_000 - micros / 1_000))
}

fn owner(bed: &mut Bed, value: &str) -> Option<String> {
    flight(bed, value).map(|(owner, _)| owner)
}

#[test]
fn entries_go_and_nobody_fills_them_until_the_commit() {
    on_every_server(|bed| {
        bed.hold();
        bed.cmd::<()>(&["MSET", "own", "old", "a", "old", "other", "old"]);
        bed.cmd::<()>(&["DEL", "a"]);
        assert_eq!(bed.run(lease("a")), LeaseReply::Leased);
        let before = bed.engine.counters().round_trips();
        assert_eq!(bed.run(prepare(&["own", "a"])), PrepareReply::Done);
        assert_eq!(bed.engine.counters().round_trips(), before + bed.trips());
        assert!(!bed.exists("own") && bed.exists("other") && bed.exists("l"));
        for value in ["own", "a"] {
            let (owner, left) = flight(bed, value).unwrap();
            assert_eq!(owner, "w:w");
            assert!((29_000..=30_000).contains(&left), "{left}");
        }
        assert!((29_000..=30_000).contains(&bed.pttl(LEASES)));

        // Readers that were loading are too late, and new ones wait.
        assert_eq!(bed.run(fill("a", b"stale")), FillReply::Refused);
        assert_eq!(bed.run(extend("a")), ExtendReply::Lost);
        assert_eq!(bed.run(give_back("a")), GiveBackReply::Lost);
        let LeaseReply::Busy { left_ms } = bed.run(lease("a")) else {
            panic!("a lease was given on a marked entry");
        };
        assert!((29_000..=30_000).contains(&left_ms), "{left_ms}");
        assert_eq!(bed.run(invalidate(&["own", "a"])), removed(0));
        assert_eq!(owner(bed, "a").as_deref(), Some("w:w"), "marks stay");

        assert_eq!(bed.run(commit_marked("c1", "w")), committed(0));
        assert!(!bed.exists(LEASES));
        assert_eq!(bed.run(lease("a")), LeaseReply::Leased);
    });
}

#[test]
fn without_its_lock_it_does_nothing() {
    on_every_server(|bed| {
        bed.hold();
        bed.cmd::<()>(&["MSET", "own", "old", "a", "old", "m", "me"]);
        bed.cmd::<()>(&["HSET", LEASES, "a", "l:t:9"]);
        let before = bed.dump();
        for locks in [
            vec![lock("l", "you")],
            vec![lock("m", "me"), lock("n", "me")],
        ] {
            let ask = Prepare {
                locks,
                ..prepare(&["own", "a"])
            };
            assert_eq!(bed.run(ask), PrepareReply::Lost);
            assert_eq!(bed.dump(), before);
        }
        let both = Prepare {
            locks: vec![lock("m", "me"), lock("l", "me")],
            ..prepare(&["own", "a"])
        };
        assert_eq!(bed.run(both), PrepareReply::Done);
        for ttl_ms in [0, u64::MAX, 10_u64.pow(15)] {
            let message = refusal(bed.try_run(by("w", ttl_ms)));
            assert!(message.contains("time to live"), "{message}");
        }
    });
}

#[test]
fn a_repeat_gives_the_own_mark_its_whole_life_again() {
    on_every_server(|bed| {
        bed.run(by("w", 20_000));
        bed.cmd::<()>(&["SET", "a", "filled meanwhile"]);
        bed.run(by("w", 50_000));
        let (owner, left) = flight(bed, "a").unwrap();
        assert!(owner == "w:w" && left > 49_000, "{owner} {left}");
        assert!(bed.pttl(LEASES) > 49_000 && !bed.exists("a"));
        // A shorter life too, but the hash lives as long as its longest field may.
        bed.run(by("w", 10_000));
        assert!(flight(bed, "a").unwrap().1 <= 10_000);
        assert!(bed.pttl(LEASES) > 49_000);
    });
}

#[test]
fn marks_of_several_writers_stand_side_by_side_and_each_drops_its_own() {
    on_every_server(|bed| {
        for (first_ms, second_ms) in [(60_000, 20_000), (20_000, 60_000)] {
            bed.cmd::<()>(&["FLUSHDB"]);
            bed.run(by("x", first_ms));
            bed.run(by("y", second_ms));
            let LeaseReply::Busy { left_ms } = bed.run(lease("a")) else {
                panic!("a lease was given on a marked entry");
            };
            assert!(left_ms > 59_000, "the later end: {left_ms}");
            // A repeat by either writer renews its own.
            bed.run(by("x", 50_000));
            for (id, token, left) in [("c1", "", 2), ("c2", "x", 1)] {
                let ask = Commit {
                    locks: Vec::new(),
                    ..commit_marked(id, token)
                };
                assert_eq!(bed.run(ask), committed(0));
                let text: String = bed.cmd(&["HGET", LEASES, "a"]);
                assert_eq!(text.split(' ').count(), left, "{text}");
                let busy = bed.run(lease("a"));
                assert!(matches!(busy, LeaseReply::Busy { .. }), "{token}: {busy:?}");
            }
            assert_eq!(owner(bed, "a").as_deref(), Some("w:y"));
            let last = Invalidate {
                token: "y".to_owned(),
                ..invalidate(&["own", "a"])
            };
            bed.run(last);
            assert!(!bed.exists(LEASES));
            assert_eq!(bed.run(lease("a")), LeaseReply::Leased);
        }
    });
}

#[test]
fn a_mark_whose_time_is_over_is_nobody_s() {
    on_every_server(|bed| {
        for text in [
            "w:x:9",
            "w:*:9",
            "w:x:",
            "w:x:09",
            "w:x:1e9",
            "w:x:99999999999999999999",
            "l:x:9999999999999",
        ] {
            bed.cmd::<()>(&["HSET", LEASES, "a", text]);
            bed.run(by("w", 20_000));
            assert_eq!(owner(bed, "a").as_deref(), Some("w:w"), "{text}");
        }
    });
}

#[test]
fn any_number_of_entries_is_marked_in_one_step() {
    on_every_server(|bed| {
        for count in [999, 1_000, 1_001, 10_000] {
            bed.cmd::<()>(&["FLUSHDB"]);
            let keys: Vec<String> = (0..count).map(|i| format!("entry{i}")).collect();
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            for keys in keys.chunks(1_000) {
                let values = keys.iter().flat_map(|key| [*key, "old"]);
                bed.cmd::<()>(&["MSET"].into_iter().chain(values).collect::<Vec<_>>());
            }
            let before = bed.engine.counters().round_trips();
            let ask = Prepare {
                locks: Vec::new(),
                ..prepare(&keys)
            };
            assert_eq!(bed.run(ask), PrepareReply::Done);
            assert_eq!(bed.engine.counters().round_trips(), before + bed.trips());
            assert_eq!(bed.cmd::<usize>(&["HLEN", LEASES]), count);
            assert_eq!(bed.cmd::<usize>(&["DBSIZE"]), 1);
        }
    });
}

/// Marks are set first: if the rest is denied, entries are unchanged and nobody fills them.
#[test]
fn what_breaks_off_says_so_and_leaves_marks() {
    let users = |_: &ServerBinary| Some(bob("~* +@all -unlink"));
    on_every_server_with(LUA, users, |bed| {
        bed.cmd::<()>(&["MSET", "own", "old", "a", "old"]);
        let url = bed.server.url_as("bob", "pw");
        let engine = ServerEngine::open(bed.config_at(url)).unwrap();
        let denied = run(&engine, by("w", 20_000));
        assert!(matches!(denied, Err(Fault::Unknown(_))), "{denied:?}");
        assert!(bed.exists("own") && bed.exists("a"));
        assert_eq!(owner(bed, "a").as_deref(), Some("w:w"));
    });
}
