//! acquire, renew, release, clear.

use super::*;
use crate::{
    model::limits::{self, MAX_FENCE},
    op::{
        ClearLocks, ClearLocksReply, Holders, HoldersReply, Release, ReleaseReply, Renew,
        RenewReply,
    },
};

const FENCE: &str = "{l}:fence";
const FENCE_LIFE_MS: i64 = limits::FENCE_LIFE.as_millis() as i64;

fn fence(reply: AcquireReply) -> u64 {
    match reply {
        AcquireReply::Acquired { fence } => fence,
        held @ AcquireReply::Held { .. } => panic!("{held:?}"),
    }
}

#[test]
fn the_lock_is_taken_once_and_a_lost_reply_is_mended() {
    on_every_server(|bed| {
        assert_eq!(fence(bed.run(acquire("l", "me", 0))), 1);
        assert_eq!(bed.get("l").as_deref(), Some("me"));
        assert!((59_000..=60_000).contains(&bed.pttl("l")));
        assert!((FENCE_LIFE_MS - 1_000..=FENCE_LIFE_MS).contains(&bed.pttl(FENCE)));

        let AcquireReply::Held { value, left_ms } = bed.run(acquire("l", "you", 0)) else {
            panic!("the lock was given twice");
        };
        assert_eq!(value, "me");
        assert!((59_000..=60_000).contains(&left_ms));
        // A fence is skipped, used by nobody, and its key gets its full life again.
        assert_eq!(bed.get(FENCE).as_deref(), Some("2"));
        // So it does for a caller who asks for a shorter lock and is refused.
        let brief = Acquire {
            ttl_ms: 1,
            ..acquire("l", "he", 0)
        };
        assert!(matches!(bed.run(brief), AcquireReply::Held { .. }));
        assert!((FENCE_LIFE_MS - 1_000..=FENCE_LIFE_MS).contains(&bed.pttl(FENCE)));

        // The lock has the caller's own value: its reply was lost. The lock gets its full life
        // again, and the fence grows.
        bed.cmd::<()>(&["PEXPIRE", "l", "5000"]);
        assert!(fence(bed.run(acquire("l", "me", 0))) > 3);
        assert!(bed.pttl("l") > 59_000);

        bed.cmd::<()>(&["SET", "l", "forever"]);
        let AcquireReply::Held { left_ms, .. } = bed.run(acquire("l", "you", 0)) else {
            panic!("a lock without a life was taken over");
        };
        assert_eq!(left_ms, u64::MAX);
    });
}

#[test]
fn the_fence_is_above_the_stored_one_and_the_floor_exactly() {
    on_every_server(|bed| {
        let max = MAX_FENCE;
        for (stored, floor, expected) in [
            (None, 0, 1),
            (None, 41, 42),
            (Some("7"), 3, 8),
            (Some("7"), 9, 10),
            (Some("9"), 10, 11),
            (Some("9007199254740992"), 0, 9_007_199_254_740_993),
            (None, 9_007_199_254_740_993, 9_007_199_254_740_994),
            (
                Some("9007199254740993"),
                9_007_199_254_740_992,
                9_007_199_254_740_994,
            ),
            (None, max, max + 1),
            (Some("9223372036854775806"), 5, max + 1),
        ] {
            bed.cmd::<()>(&["DEL", "l", FENCE]);
            if let Some(stored) = stored {
                bed.cmd::<()>(&["SET", FENCE, stored]);
            }
            assert_eq!(fence(bed.run(acquire("l", "me", floor))), expected);
            assert_eq!(bed.get(FENCE), Some(expected.to_string()));
            assert!(bed.pttl(FENCE) > FENCE_LIFE_MS - 1_000);
        }
    });
}

#[test]
fn the_fence_never_goes_down() {
    on_every_server(|bed| {
        let mut last = 0;
        for (value, floor) in [("a", 0), ("a", 100), ("b", 3), ("b", 0), ("c", 101)] {
            bed.cmd::<()>(&["DEL", "l"]);
            let next = fence(bed.run(acquire("l", value, floor)));
            assert!(next > last && next > floor);
            last = next;
        }
    });
}

#[test]
fn what_cannot_be_a_fence_or_a_life_is_refused_before_any_write() {
    on_every_server(|bed| {
        let dump = |bed: &mut Bed| bed.dump();
        for stored in ["x", "1e3", "01", "", " 1", "99999999999999999999"] {
            bed.cmd::<()>(&["SET", FENCE, stored]);
            bed.cmd::<()>(&["PEXPIRE", FENCE, "9000000"]);
            let before = dump(bed);
            let message = refusal(bed.try_run(acquire("l", "me", 0)));
            assert!(message.contains("the stored fence"), "{message}");
            assert_eq!(dump(bed), before);
        }
        bed.cmd::<()>(&["SET", FENCE, "9223372036854775807"]);
        let message = refusal(bed.try_run(acquire("l", "me", 0)));
        assert!(message.contains("cannot grow"), "{message}");
        let message = refusal(bed.try_run(acquire("l", "me", u64::MAX)));
        assert!(message.contains("cannot grow"), "{message}");
        for ttl_ms in [0, u64::MAX, 10_u64.pow(15)] {
            let ask = Acquire {
                ttl_ms,
                ..acquire("l", "me", 0)
            };
            let message = refusal(bed.try_run(ask));
            assert!(message.contains("time to live"), "{message}");
        }
        assert!(!bed.exists("l"));
    });
}

#[test]
fn renew_and_release_touch_the_callers_own_lock_only() {
    on_every_server(|bed| {
        let mine = bed.hold();
        let theirs = lock("l", "you");
        let renew = |lock: &Lock| Renew {
            lock: lock.clone(),
            fence_key: FENCE.to_owned(),
            ttl_ms: 90_000,
        };
        let release = |lock: &Lock| Release { lock: lock.clone() };

        assert_eq!(bed.run(renew(&theirs)), RenewReply::Lost);
        assert!(bed.pttl("l") <= 60_000);
        assert_eq!(bed.run(renew(&mine)), RenewReply::Done);
        assert!(bed.pttl("l") > 89_000 && bed.pttl(FENCE) > FENCE_LIFE_MS - 1_000);

        assert_eq!(bed.run(release(&theirs)), ReleaseReply::Lost);
        assert!(bed.exists("l"));
        assert_eq!(bed.run(release(&mine)), ReleaseReply::Done);
        assert!(!bed.exists("l"));
        assert_eq!(bed.run(release(&mine)), ReleaseReply::Lost);
        assert_eq!(bed.run(renew(&mine)), RenewReply::Lost);
        assert_eq!(bed.get(FENCE).as_deref(), Some("1"));
    });
}

#[test]
fn clearing_takes_locks_from_anybody_and_leaves_fences() {
    on_every_server(|bed| {
        let none = ClearLocks { locks: vec![] };
        assert_eq!(bed.run(none), ClearLocksReply::Cleared(0));
        bed.hold();
        let locks: Vec<String> = (0..2_500).map(|i| format!("lock{i}")).collect();
        for key in &locks[..1_700] {
            bed.cmd::<()>(&["SET", key, "x"]);
        }
        let all = locks.into_iter().chain(["l".to_owned()]).collect();
        let clear = ClearLocks { locks: all };
        assert_eq!(bed.run(clear), ClearLocksReply::Cleared(1_701));
        assert_eq!(bed.dump().keys().collect::<Vec<_>>(), [FENCE]);
    });
}

/// The replica was the primary and does not have the lock: another server is the primary now.
#[test]
fn a_replica_does_not_say_that_a_lock_is_free() {
    on_every_server(|bed| {
        let asked = || Holders {
            within: None,
            locks: vec!["l".to_owned()],
        };
        assert_eq!(bed.run(asked()), HoldersReply::Found(vec![None]));
        bed.cmd::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
        let Err(Fault::NotDone(e)) = bed.try_run(asked()) else {
            panic!("a replica answered");
        };
        assert!(e.is_unavailable(), "{e}");
        assert_eq!(bed.get("l"), None, "a plain GET would be answered");
        bed.cmd::<()>(&["REPLICAOF", "NO", "ONE"]);
        assert_eq!(bed.run(asked()), HoldersReply::Found(vec![None]));
    });
}
