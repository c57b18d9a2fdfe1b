//! Updates, saves under the lock and deletions of one document in parallel, in every order.
//! Requests may be delayed, the server may lose something once, and time may pass.

mod lives;
mod stage;

use crate::{
    protocol::Guarantee,
    sim::{
        choices::{every, some},
        server::ServerWeakness,
    },
};
use stage::{Mishap, Part, Setting, Stage};

/// The maximum number of orders in one test.
const MOST: u64 = 10_000_000;
/// The number of random orders, for tests with too many orders to enumerate.
const ORDERS: u64 = 5_000;

fn every_order(setting: Setting) -> Result<u64, String> {
    let stage = Stage::new(setting);
    every(MOST, |choices| stage.play(choices))
}

/// Tries every order; there must be more than `least`.
fn nothing_goes_wrong(setting: Setting, least: u64) {
    let orders = every_order(setting).unwrap_or_else(|why| panic!("{why}"));
    println!("{setting:?}: {orders} orders");
    assert!(orders > least, "{orders}");
}

fn random_orders(setting: Setting) {
    let stage = Stage::new(setting);
    let runs = some(ORDERS, |choices| stage.play(choices));
    println!("{setting:?}: {runs:?}");
    runs.unwrap_or_else(|why| panic!("{setting:?}: {why}"));
}

const MISHAPS: &[Mishap] = &[Mishap::Eviction, Mishap::Deletion, Mishap::Restart];

/// Nothing acknowledged is lost, no entry is stale, and a holder of the lock can save.
#[test]
fn updates_and_holders_of_the_lock_leave_each_other_alone() {
    use Part::{Delete, Save, Update};
    for parts in [&[Update, Save], &[Update, Update], &[Update, Delete]] {
        for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
            let setting = Setting {
                guarantee,
                ..Setting::of(parts)
            };
            nothing_goes_wrong(setting, 100);
        }
    }
}

/// Three at a time, with readers of a dependent, and another program that holds the lock.
#[test]
fn three_at_once_leave_nothing_stale() {
    use Part::{ByHand, Delete, Derive, DumpTwice, Save, Transact, Update};
    for parts in [
        &[Update, Update, Save][..],
        &[Update, Save, Delete],
        &[Update, Update, Derive],
        &[Update, Save, Derive],
        &[Update, Delete, Derive],
        &[Update, DumpTwice],
        &[DumpTwice, Derive],
        &[Update, ByHand],
        &[Update, Transact],
        &[Update, Transact, Derive],
    ] {
        random_orders(Setting::of(parts));
    }
}

/// Of two holders, the second to save may be refused here, since the server may forget the first
/// one's lock.
#[test]
fn saves_and_deletions_under_the_lock_leave_nothing_stale() {
    use Part::{Delete, Save};
    for (parts, late, mishaps) in [
        (&[Save, Save], 1, &[Mishap::Clearing, Mishap::Restart][..]),
        (&[Save, Delete], 2, &[][..]),
    ] {
        let setting = Setting {
            late,
            mishaps,
            ..Setting::of(parts)
        };
        nothing_goes_wrong(setting, 1_000);
    }
}

#[test]
fn an_update_that_does_not_look_robs_a_holder_of_the_lock() {
    let setting = Setting::of(&[Part::UpdateAlone, Part::Save]);
    let why = every_order(setting).expect_err("the holder saves");
    assert!(why.contains("robbed: "), "{why}");
}

/// The server may lose anything meanwhile.
#[test]
fn updates_of_a_store_without_locks_leave_nothing_stale() {
    use Part::{Delete, UpdateAlone};
    for parts in [&[UpdateAlone, UpdateAlone], &[UpdateAlone, Delete]] {
        let setting = Setting {
            mishaps: MISHAPS,
            ..Setting::of(parts)
        };
        nothing_goes_wrong(setting, 1_000);
    }
}

#[test]
fn an_update_that_sets_its_entry_over_anything_leaves_it_stale() {
    let setting = Setting {
        mishaps: MISHAPS,
        weakness: Some(ServerWeakness::SetsOverAnything),
        ..Setting::of(&[Part::UpdateAlone, Part::UpdateAlone])
    };
    let why = every_order(setting).expect_err("nothing stale");
    assert!(why.contains("stale: "), "{why}");
}

/// Late copies of a commit. They come after a save that was deferred and replayed, one by a program
/// that does not know stamps, or one that the server has forgotten.
const LATE_COMMITS: [Setting; 3] = [
    Setting {
        late: 3,
        ..Setting::of(&[Part::DumpTwice])
    },
    Setting {
        late: 2,
        ..Setting::of(&[Part::Save, Part::ByHand])
    },
    Setting {
        mishaps: &[Mishap::Restart],
        ..Setting::of(&[Part::Save, Part::Save])
    },
];

#[test]
fn commits_that_arrive_late_leave_nothing_stale() {
    for setting in LATE_COMMITS {
        nothing_goes_wrong(setting, 1_000);
    }
}

/// Stamps forget what makes late commits fail.
#[test]
fn where_stamps_are_forgotten_a_late_commit_leaves_it_stale() {
    let [dumps, by_hand, restart] = LATE_COMMITS;
    for (weakness, setting) in [
        (ServerWeakness::NeverRaises, dumps),
        (ServerWeakness::NeverRaises, restart),
        (ServerWeakness::ForgetsStamps, dumps),
        (ServerWeakness::ForgetsStamps, restart),
        (ServerWeakness::SetsAgain, by_hand),
    ] {
        let weakness = Some(weakness);
        let why = every_order(Setting {
            weakness,
            ..setting
        });
        let why = why.expect_err("nothing stale");
        assert!(why.contains("stale: "), "{weakness:?}: {why}");
    }
}

/// A request for the lock arrives late, then a commit under it, after a deletion whose stamp was
/// evicted.
const LATE_LOCK: Setting = Setting {
    late: 2,
    late_locks: true,
    at_the_end: true,
    mishaps: &[Mishap::Eviction],
    ..Setting::of(&[Part::Save, Part::Delete])
};

#[test]
fn a_request_for_the_lock_that_arrives_late_lets_no_late_commit_in() {
    nothing_goes_wrong(LATE_LOCK, 100);
}

#[test]
fn a_request_for_the_lock_that_is_sent_twice_lets_a_late_commit_in() {
    let setting = Setting {
        weakness: Some(ServerWeakness::AllSentAgain),
        ..LATE_LOCK
    };
    let why = every_order(setting).expect_err("nothing stale");
    assert!(why.contains("stale: "), "{why}");
}
