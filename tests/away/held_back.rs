//! A request whose connection was closed under it, and that reaches the server later, after all that its sender has done since; and
//! connections that a restarted server has left closed.

use crate::support::{self, Climate, RUN, World, committed, get, key};
use cachetx::{
    Cache, CacheOutcome, Effect, Engine, Guarantee, Params, Save, Store,
    testing::{Proxy, ServerBinary, WireFault},
};
use std::time::Duration;

const ENGINES: [Engine; 3] = [Engine::Script, Engine::Function, Engine::Watch];

/// What only a request that writes has in it.
fn needle(engine: Engine) -> &'static [u8] {
    match engine {
        Engine::Script => b"EVALSHA",
        Engine::Function => b"FCALL",
        _ => b"EXEC",
    }
}

/// A cache behind a proxy, with a connection that was used before.
fn behind_proxy(world: &World, engine: Engine) -> (Proxy, Cache) {
    let proxy = Proxy::start(world.server.port()).expect("a proxy");
    let cache = support::cache_builder()
        .url(proxy.url())
        .engine(engine)
        // A machine under load is no outage.
        .response_timeout(Duration::from_secs(20))
        .open()
        .expect("the cache opens");
    (proxy, cache)
}

fn on_every_server(test: impl Fn(&World, Engine)) {
    for binary in ServerBinary::all() {
        for engine in ENGINES {
            if engine == Engine::Function && binary.version() < (7, 0, 0) {
                support::skipped("functions", &format!("none on {binary}"));
                continue;
            }
            eprintln!("on {binary}, {engine:?}");
            test(&World::on(binary), engine);
        }
    }
}

/// A lease is taken, and given up by what changes the truth; then its first request arrives.
#[test]
fn a_lease_that_arrives_late_lets_no_old_value_in() {
    on_every_server(|world, engine| {
        let (proxy, cache) = behind_proxy(world, engine);
        let writer = world.cache();
        let params = Params::new().with("run_id", RUN);
        proxy.inject_at(WireFault::HoldRequest, needle(engine));
        let loaded = cache.get_or_load("ash", &params, || {
            writer.invalidate(["build_climate"], &params)?;
            proxy.deliver()?;
            Ok("old".as_bytes())
        });
        assert_eq!(&*loaded.expect("loaded"), b"old");
        let left = writer.get("ash", &params).expect("it answers");
        assert_eq!(left, None, "older than the truth");
        assert_eq!(
            cache.stats().fills_refused,
            1,
            "another lease was asked for"
        );
    });
}

/// The lock is there with the first call, and what arrives while it is held changes nothing.
#[test]
fn a_lock_whose_request_is_held_back_is_there_at_once() {
    on_every_server(|world, engine| {
        let (proxy, cache) = behind_proxy(world, engine);
        let store = Store::builder(cache).root(world.root.path());
        let store = store.open().expect("a store");
        let document = world.climate(&store);
        document.create(&Climate::of(1)).expect("made");
        proxy.inject_at(WireFault::HoldRequest, b"INCR");
        let mut held = document.try_lock().expect("locked at the first call");
        assert_eq!((proxy.pending(), proxy.held()), (0, 1));
        proxy.deliver().expect("it arrives");
        held.years = 2;
        committed(&held.dump_and_unlock().expect("saved"));
        let lock = key("climate") + ":lock";
        assert_eq!(get(&mut world.redis(), &lock), None);
    });
}

/// The reply to what writes is lost, and then nothing gets through any more: by the last try alone, nothing would have been done.
#[test]
fn a_commit_that_was_done_is_never_said_to_be_not_done() {
    for binary in ServerBinary::all() {
        let world = World::on(binary);
        let (proxy, cache) = behind_proxy(&world, Engine::Watch);
        let store = Store::builder(cache).root(world.root.path());
        let store = store.open().expect("a store");
        let document = world.climate(&store);
        document.create(&Climate::of(1)).expect("made");
        let mut held = document.lock().expect("locked");
        held.years = 2;
        proxy.inject_at(WireFault::DropReply, b"EXEC");
        let looks = key("climate");
        (0..2).for_each(|_| proxy.inject_at(WireFault::DropRequest, looks.as_bytes()));
        let outcome = held.dump_and_unlock().expect("saved");
        match outcome.cache {
            CacheOutcome::Deferred { cause } => assert_eq!(cause.effect(), Effect::Unknown),
            other => panic!("{other:?}"),
        }
    }
}

/// Longer than a lost answer is asked for again: what a waiter was told before costs it none of that time.
#[test]
fn who_waits_for_a_lock_outlives_closed_connections() {
    const TIMEOUT: Duration = Duration::from_secs(1);
    for engine in [Engine::Script, Engine::Watch] {
        let world = World::start();
        let cache = world
            .cache_builder()
            .engine(engine)
            .response_timeout(TIMEOUT);
        let store = Store::builder(cache.open().expect("a cache")).root(world.root.path());
        let store = store.open().expect("a store");
        let document = world.climate(&store);
        document.create(&Climate::of(1)).expect("made");
        let mut redis = world.redis();
        let lock = key("climate") + ":lock";
        support::set(&mut redis, &lock, b"somebody");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| document.lock_timeout(Duration::from_secs(60)).map(drop));
            std::thread::sleep(2 * TIMEOUT);
            let mut kill = redis::cmd("CLIENT");
            let kill = kill.arg("KILL").arg("TYPE").arg("normal");
            kill.arg("SKIPME")
                .arg("yes")
                .exec(&mut redis)
                .expect("KILL");
            redis::cmd("DEL").arg(&lock).exec(&mut redis).expect("DEL");
            waiter.join().expect("it ends").expect("locked");
        });
    }
}

/// Every connection of the pool is closed, and is found out by who uses it next.
#[test]
fn after_a_restart_the_first_calls_work() {
    for binary in ServerBinary::all() {
        for engine in ENGINES {
            if engine == Engine::Function && binary.version() < (7, 0, 0) {
                continue;
            }
            let mut world = World::on(binary);
            let cache = world.cache_builder().engine(engine);
            let cache = cache.response_timeout(Duration::from_secs(20));
            let cache = cache.open().expect("the cache opens");
            let store = Store::builder(cache).root(world.root.path());
            let store = store.open().expect("a store");
            let document = world.climate(&store);
            document.create(&Climate::of(1)).expect("made");
            let params = Params::new().with("run_id", RUN);
            for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
                use_many_connections(&store);
                world.server.restart().expect("it starts again");
                let mut held = document.try_lock().expect("locked at the first call");
                held.years += 1;
                use_many_connections(&store);
                committed(
                    &held
                        .dump_and_unlock_with(Save::new().guarantee(guarantee))
                        .expect("saved"),
                );
                world.server.restart().expect("it starts again");
                let leases = || {
                    let stats = store.cache().stats();
                    // Refused where the echo deletes it meanwhile, since the server is another one.
                    stats.fills + stats.fills_refused
                };
                let (before, load) = (leases(), || Ok("computed".as_bytes()));
                let loaded = store.cache().get_or_load("wepp", &params, load);
                assert_eq!(&*loaded.expect("loaded"), b"computed");
                assert_eq!(leases(), before + 1, "it had a lease");
            }
        }
    }
}

/// Several at once, so that several connections of the pool are open.
fn use_many_connections(store: &Store) {
    let params = Params::new().with("run_id", RUN);
    let cache = store.cache();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| cache.get("ash", &params).expect("it answers"));
        }
    });
}
