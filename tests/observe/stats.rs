//! What is counted whether or not anybody listens.

use crate::{
    bed::{BOTH, Bed, by},
    support::{self, Climate, World, until},
};
use cachetx::{NO_TASKS, Params, Store};

#[test]
fn latencies_are_measured_where_they_are_asked_for_and_all_of_it_serializes() {
    for way in BOTH {
        let bed = Bed::with(way, |cache| cache.measure_latencies(), |store| store).made();
        bed.save(|| {}).expect("saved");
        bed.load(|| Ok(Vec::new())).expect("loaded");
        let stats = bed.cache().stats();
        let latencies = stats.latencies.expect("they are measured");
        let counts = [latencies.saves, latencies.lock_waits, latencies.loads].map(|it| it.count());
        assert_eq!(counts, [2, 2, 1]);
        assert!(latencies.saves.quantile(0.5) <= latencies.saves.quantile(1.0));
        let json = serde_json::to_value(stats).expect("it serializes");
        assert_eq!(json["locks"], 2);
        assert_eq!(json["breaker"], "closed");
        assert_eq!(json["latencies"]["saves"]["count"], 2);
        assert!(json["latencies"]["saves"]["p99_us"].as_u64() >= Some(10));
        let rest = json["latencies"]["loads"]["buckets"][20].clone();
        assert_eq!(rest, serde_json::json!([null, 0]));
    }
    let cache = support::cache_builder()
        .in_memory()
        .open()
        .expect("a cache");
    assert_eq!(cache.stats().latencies, None);
}

/// Tries that fail are not counted, and connections that are gone are not open.
#[test]
fn connections_are_counted_as_they_are_opened_and_closed() {
    for way in BOTH {
        let mut bed = Bed::new(way).made();
        let ask = |bed: &Bed| {
            by!(
                bed,
                bed.cache().invalidate(NO_TASKS, &Params::new()),
                bed.tasks_cache().invalidate(NO_TASKS, &Params::new())
            )
            .expect("no mistake")
            .is_settled()
        };
        assert!(ask(&bed));
        let open = bed.cache().stats().connections_open;
        assert!(open > 0);
        // The outbox's thread may be asking.
        until("all are idle", || {
            let stats = bed.cache().stats();
            stats.connections_idle == stats.connections_open
        });
        let before = bed.cache().stats().reconnects;
        bed.world.server.kill();
        for _ in 0..5 {
            assert!(!ask(&bed));
        }
        let stats = bed.cache().stats();
        assert_eq!(stats.reconnects, before, "{stats:?}");
        until("none is open", || bed.cache().stats().connections_open == 0);
        bed.world.server.restart().expect("back");
        until("it answers", || ask(&bed));
        let stats = bed.cache().stats();
        // One each for whoever asked, and for the outbox's thread.
        assert!(
            (before + 1..=before + open + 1).contains(&stats.reconnects),
            "{stats:?}"
        );
    }
}

#[test]
fn what_is_left_when_a_cache_is_closed_is_pending_until_somebody_has_replayed_it() {
    for way in BOTH {
        let mut bed = Bed::new(way).made();
        bed.world.server.kill();
        bed.invalidate();
        assert_eq!(bed.cache().stats().outbox_pending, 1);
        let replayed = by!(bed, bed.cache().close(), bed.tasks_cache().close());
        assert_eq!(replayed.expect("no bug").left, 1);
        assert_eq!(bed.cache().stats().outbox_pending, 1);
        bed.world.server.restart().expect("back");
        let other = open_beside(&bed.world);
        until("the other one has replayed it", || {
            other.cache().stats().outbox_replayed == 1
        });
        until("it is gone", || bed.cache().stats().outbox_pending == 0);
    }
}

fn open_beside(world: &World) -> Store {
    let store = world.store();
    let document = world.climate(&store);
    assert_eq!(document.read().expect("read").years, Climate::of(1).years);
    store
}
