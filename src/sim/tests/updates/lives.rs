//! Time passes: locks, fences, leases and marks end while scripts are at work. Also a Cluster with
//! a dependent in another slot.

use super::{Mishap, Part, Setting, every_order, nothing_goes_wrong, random_orders};
use crate::{
    protocol::Guarantee,
    sim::{cast::APART, server::ServerWeakness},
};
use std::time::Duration;

/// Longer than a lease's life, and than a mark's.
const A_MARK: Duration = Duration::from_secs(31);
/// Longer than a lock's life.
const A_LOCK: Duration = Duration::from_secs(61);
const A_MOMENT: Duration = Duration::from_millis(500);
const SHORT: Part = Part::Hold(Duration::from_secs(60));
const LONG: Part = Part::Hold(Duration::from_secs(180));

/// A holder of a long lock, a caller that requests a short one meanwhile, and the next holder.
const LOCKS: Setting = Setting {
    late: 0,
    stillness: &[A_LOCK, A_LOCK, A_LOCK],
    ..Setting::of(&[LONG, SHORT, LONG])
};

#[test]
fn fences_rise_while_locks_end() {
    nothing_goes_wrong(LOCKS, 500);
    for parts in [
        &[SHORT, Part::Save, LONG],
        &[SHORT, Part::Update, Part::Save],
    ] {
        random_orders(Setting { parts, ..LOCKS });
    }
}

#[test]
fn where_refusals_cut_its_life_a_fence_is_given_twice() {
    let weakness = Some(ServerWeakness::RefusalsCutFences);
    let why = every_order(Setting { weakness, ..LOCKS }).expect_err("fences rise");
    assert!(why.contains("fences: "), "{why}");
}

/// Requests and releases of a lock are late or not sent; some time passes before the next try.
const ASKED_AGAIN: Setting = Setting {
    late: 2,
    late_locks: true,
    stillness: &[A_MOMENT],
    ..Setting::of(&[Part::Save])
};

#[test]
fn holders_believe_in_no_more_of_a_lock_than_there_is() {
    nothing_goes_wrong(ASKED_AGAIN, 50);
}

/// The server would give a lock that is requested again only the rest of its first life, but each
/// try uses another value.
#[test]
fn no_lock_is_asked_for_by_the_same_name_again() {
    let setting = Setting {
        late: 1,
        weakness: Some(ServerWeakness::KeepsFirstLife),
        ..ASKED_AGAIN
    };
    nothing_goes_wrong(setting, 50);
}

const IN_TIME: Setting = Setting {
    stillness: &[A_MARK, A_LOCK],
    ..Setting::of(&[Part::Save, Part::Derive])
};

#[test]
fn while_time_passes_nothing_is_stale() {
    use Part::{Delete, Derive, Save, Update, UpdateAlone};
    for parts in [
        IN_TIME.parts,
        &[Save, Save],
        &[Save, Delete],
        &[Update, Save],
        &[Update, Derive],
        &[UpdateAlone, UpdateAlone],
        &[UpdateAlone, Delete],
    ] {
        for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
            let setting = Setting {
                guarantee,
                parts,
                ..IN_TIME
            };
            random_orders(setting);
        }
    }
}

#[test]
fn in_a_cluster_nothing_is_stale() {
    for setting in CLUSTER {
        for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
            random_orders(Setting {
                guarantee,
                ..setting
            });
        }
    }
}

#[test]
fn without_leases_or_the_step_in_another_slot_some_order_leaves_it_stale() {
    let weak = |weakness, setting| Setting {
        weakness: Some(weakness),
        late: 0,
        mishaps: &[],
        ..setting
    };
    for setting in [
        weak(ServerWeakness::FillsWithoutLease, CLUSTER[0]),
        weak(ServerWeakness::FillsWithoutLease, IN_TIME),
        weak(ServerWeakness::KeepsSlot(APART), CLUSTER[0]),
    ] {
        let why = every_order(setting).expect_err("nothing stale");
        assert!(why.contains("stale: of "), "{setting:?}: {why}");
    }
}

/// One of the nodes may come back empty, and time may pass.
const CLUSTER: [Setting; 6] = {
    use Part::{Delete, Derive, DumpTwice, Save, Transact, Update, UpdateAlone};
    const fn cluster(parts: &'static [Part]) -> Setting {
        Setting {
            cluster: true,
            late: 2,
            mishaps: &[Mishap::Restart, Mishap::RestartApart],
            stillness: &[A_MARK],
            ..Setting::of(parts)
        }
    }
    [
        cluster(&[Save, Derive]),
        cluster(&[Update, Save, Derive]),
        cluster(&[UpdateAlone, UpdateAlone, Derive]),
        cluster(&[UpdateAlone, Delete, Derive]),
        cluster(&[Transact, Update, Derive]),
        cluster(&[DumpTwice, Derive, Derive]),
    ]
};
