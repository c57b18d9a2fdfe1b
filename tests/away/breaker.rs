//! A server that halts: after three waits in vain the others are spared, and the first answer ends it.

use crate::support::{Climate, World, until};
use cachetx::{BreakerState, CacheOutcome, Document, KeepAlive, Store};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(200);
const DOCUMENTS: usize = 8;

/// Longer than any machine takes for a test.
const NEVER: Duration = Duration::from_secs(3_600);

/// Saves documents that were locked while the server still answered; how many of the commits were spared.
fn save_all_while_halted(pause: Duration) -> usize {
    let world = World::start();
    let cache = world
        .cache_builder()
        .connect_timeout(TIMEOUT)
        .response_timeout(TIMEOUT)
        .circuit_breaker(pause)
        .open()
        .expect("a cache");
    let store = Store::builder(&cache)
        .root(world.root.path())
        // Its requests would count too, on a machine that is slow.
        .keep_alive(KeepAlive::Off)
        .open()
        .expect("a store");
    let documents: Vec<Document<Climate>> = (0..DOCUMENTS)
        .map(|n| {
            let run = format!("run-{n}");
            let document = store.document(&run, "climate").expect("a document");
            document.create(&Climate::of(1)).expect("created");
            document
        })
        .collect();
    let held: Vec<_> = documents
        .iter()
        .map(|document| document.lock().expect("locked"))
        .collect();
    assert_eq!(cache.stats().breaker, BreakerState::Closed);

    world.server.pause().expect("halted");
    let mut spared = 0;
    for mut held in held {
        held.years = 2;
        let outcome = held.dump_and_unlock().expect("saved");
        let CacheOutcome::Deferred { cause } = &outcome.cache else {
            panic!("{outcome:?}");
        };
        spared += usize::from(cause.to_string().contains("circuit breaker"));
    }
    for document in &documents {
        assert_eq!(document.read().expect("from the file").years, 2);
    }
    if spared > 0 {
        let stats = cache.stats();
        assert!(stats.skipped >= spared as u64, "{stats:?}");
        assert_ne!(stats.breaker, BreakerState::Closed);
        let refused = documents[0].try_lock().expect_err("no server");
        assert!(refused.is_unavailable(), "{refused}");
    }

    world.server.resume().expect("goes on");
    if pause == NEVER {
        return spared;
    }
    until("the server is asked again", || {
        cache
            .invalidate(["build_climate"], &run_param())
            .is_ok_and(|outcome| outcome.is_settled())
    });
    assert_eq!(cache.stats().breaker, BreakerState::Closed);
    spared
}

fn run_param() -> cachetx::Params {
    cachetx::Params::new().with("run_id", "run-0")
}

#[test]
fn three_wait_and_the_rest_is_spared() {
    let spared = save_all_while_halted(NEVER);
    // The outbox's thread may be among the three.
    assert!((DOCUMENTS - 3..DOCUMENTS).contains(&spared), "{spared}");
}

/// How many wait for it depends on the machine.
#[test]
fn after_a_pause_one_asks_whether_the_server_is_back() {
    save_all_while_halted(TIMEOUT);
}

#[test]
fn without_it_every_call_waits() {
    assert_eq!(save_all_while_halted(Duration::ZERO), 0);
}
