//! Time: locks, fences, leases and marks end while somebody is at work; and a Cluster, where a dependent is in another slot.

use super::{Mishap, Part, Setting, every_order, nothing_goes_wrong, random_orders};
use crate::{protocol::Guarantee, sim::server::ServerWeakness};
use std::time::Duration;

/// Longer than a lease, and than a mark.
const A_MARK: Duration = Duration::from_secs(31);
/// Longer than a lock.
const A_LOCK: Duration = Duration::from_secs(61);
const A_MOMENT: Duration = Duration::from_millis(500);
const SHORT: Part = Part::Hold(Duration::from_secs(60));
const LONG: Part = Part::Hold(Duration::from_secs(180));

/// A holder of a long lock, who asks for a short one and is refused, and the next holder.
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
fn where_a_fence_lives_as_its_lock_does_it_is_given_twice() {
    let weakness = Some(ServerWeakness::FencesLiveAsLocks);
    let why = every_order(Setting { weakness, ..LOCKS }).expect_err("fences rise");
    assert!(why.contains("fences: "), "{why}");
}

/// Requests for a lock, and those that let it go, are late or not sent; a moment passes before the next try. A server that would
/// give a lock that is asked for again the rest of its first life changes nothing: each try has its own name.
#[test]
fn holders_believe_in_no_more_of_a_lock_than_there_is() {
    for weakness in [None, Some(ServerWeakness::KeepsFirstLife)] {
        let setting = Setting {
            late: 2,
            late_locks: true,
            stillness: &[A_MOMENT],
            weakness,
            ..Setting::of(&[Part::Save])
        };
        nothing_goes_wrong(setting, 50);
    }
}

#[test]
fn while_time_passes_nothing_is_stale() {
    use Part::{Delete, Derive, Save, Update, UpdateAlone};
    for parts in [
        &[Save, Save],
        &[Save, Delete],
        &[Save, Derive],
        &[Update, Save],
        &[Update, Derive],
        &[UpdateAlone, UpdateAlone],
        &[UpdateAlone, Delete],
    ] {
        for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
            let setting = Setting {
                guarantee,
                stillness: &[A_MARK, A_LOCK],
                ..Setting::of(parts)
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
fn in_a_cluster_without_leases_some_order_leaves_it_stale() {
    let setting = Setting {
        weakness: Some(ServerWeakness::FillsWithoutLease),
        late: 0,
        mishaps: &[],
        ..CLUSTER[0]
    };
    let why = every_order(setting).expect_err("nothing stale");
    assert!(why.contains("stale: of "), "{why}");
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
