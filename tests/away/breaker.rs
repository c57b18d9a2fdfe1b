//! A server that halts: after three waits in vain the others are spared, and the first answer ends it.

use crate::support::{Climate, RUN, World, until, warnings};
use cachetx::{BreakerState, Cache, CacheOutcome, Document, KeepAlive, Params, Reach, Store};
use std::{thread, time::Duration};

const TIMEOUT: Duration = Duration::from_millis(200);
const DOCUMENTS: usize = 8;

/// Longer than any machine takes for a test.
const NEVER: Duration = Duration::from_secs(3_600);

/// A cache whose breaker opens soon.
fn cache(world: &World, pause: Duration) -> Cache {
    world
        .cache_builder()
        .connect_timeout(TIMEOUT)
        .response_timeout(TIMEOUT)
        .circuit_breaker(pause)
        .open()
        .expect("a cache")
}

/// Saves documents that were locked while the server still answered; how many of the commits were spared.
fn save_all_while_halted(pause: Duration) -> usize {
    let world = World::start();
    let cache = cache(&world, pause);
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
        assert_eq!(outcome.reach, Reach::Pending);
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

fn params() -> Params {
    Params::new().with("run_id", RUN)
}

/// The same, and a store on it.
fn store(world: &World, pause: Duration) -> (Cache, Store) {
    let cache = cache(world, pause);
    let store = Store::builder(&cache).root(world.root.path());
    (cache, store.open().expect("a store"))
}

fn open_the_breaker(cache: &Cache) {
    until("it opens", || {
        cache.get("climate", &params()).expect_err("halted");
        cache.stats().breaker == BreakerState::Open
    });
}

/// After an outage: a lock, an update and a transaction wait for the probe as they would for another holder.
#[test]
fn who_may_wait_for_a_lock_waits_for_the_breaker_too() {
    const PAUSE: Duration = Duration::from_secs(1);
    const PATIENCE: Duration = Duration::from_secs(600);
    let world = World::start();
    let (cache, store) = store(&world, PAUSE);
    let climate = world.climate(&store);
    climate.create(&Climate::of(1)).expect("created");
    let lock = || {
        drop(climate.lock_timeout(PATIENCE).expect("locked"));
    };
    let update = || {
        let more = |climate: &mut Climate| {
            climate.years += 1;
            Ok(())
        };
        climate.update(["build_climate"], more).expect("updated");
    };
    let transaction = || {
        drop(
            store
                .transaction_timeout((&climate,), PATIENCE)
                .expect("locked"),
        );
    };
    for wait in [&lock as &dyn Fn(), &update, &transaction] {
        world.server.pause().expect("halted");
        open_the_breaker(&cache);
        world.server.resume().expect("goes on");
        wait();
    }
}

#[test]
fn who_may_not_wait_so_long_is_told_so() {
    let world = World::start();
    let (cache, store) = store(&world, NEVER);
    let climate = world.climate(&store);
    climate.create(&Climate::of(1)).expect("created");
    world.server.pause().expect("halted");
    open_the_breaker(&cache);
    for patience in [Duration::ZERO, Duration::from_millis(20)] {
        let error = climate.lock_timeout(patience).expect_err("no server");
        assert!(error.is_unavailable(), "{error}");
        assert!(error.to_string().contains("circuit breaker"), "{error}");
    }
    world.server.resume().expect("goes on");
}

/// Three waits in vain are three moments, not three callers.
#[test]
fn a_server_that_stands_still_once_opens_nothing() {
    const CALLERS: usize = 64;
    const LONG: Duration = Duration::from_secs(2);
    let world = World::start();
    let cache = world
        .cache_builder()
        .connect_timeout(LONG)
        .response_timeout(LONG)
        .circuit_breaker(NEVER)
        .open()
        .expect("a cache");
    world.server.pause().expect("halted");
    thread::scope(|scope| {
        for _ in 0..CALLERS {
            scope.spawn(|| cache.get("climate", &params()).expect_err("halted"));
        }
    });
    world.server.resume().expect("goes on");
    assert_eq!(cache.stats().breaker, BreakerState::Closed);
}

/// Refused at once, it costs nobody anything, and is said once all the same.
#[test]
fn a_server_that_is_gone_is_logged_once_for_each_outage() {
    let mut world = World::start();
    let (cache, _store) = store(&world, NEVER);
    let port = world.server.port().to_string();
    for outage in 1..=2 {
        world.server.kill();
        for _ in 0..10 {
            cache.get("climate", &params()).expect_err("gone");
        }
        assert_eq!(warnings::with_both("the server is away", &port), outage);
        world.server.restart().expect("back");
        until("it answers", || cache.get("climate", &params()).is_ok());
        assert_eq!(cache.stats().breaker, BreakerState::Closed);
    }
    assert!(warnings::information_with("the server answers again") >= 2);
}
