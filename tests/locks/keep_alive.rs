//! A held lock is renewed in the background.

use crate::support::{self, Climate, World, child, committed, given, key, on_every_server, until};
use cachetx::{
    CacheOutcome, Engine, Guarantee, KeepAlive, Locked, Save, Store, StoreBuilder, testing::Proxy,
};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// The TTL of the locks here; a third of it is long enough for a busy machine to renew.
pub(super) const TTL: Duration = Duration::from_secs(3);

pub(super) fn lock_key() -> String {
    key("climate") + ":lock"
}

pub(super) fn delete(world: &World) {
    let deleted = redis::cmd("DEL").arg(lock_key()).exec(&mut world.redis());
    deleted.expect("DEL");
}

/// A store that reports lost locks on a channel.
pub(super) fn telling(builder: StoreBuilder) -> (Store, Receiver<String>) {
    let (say, told) = channel();
    let store = builder.on_lock_lost(move |lost| {
        let _ = say.send(lost.to_string());
    });
    (store.open().expect("a store"), told)
}

pub(super) fn is_told(told: &Receiver<String>) -> String {
    told.recv_timeout(Duration::from_secs(30)).expect("told")
}

#[test]
fn a_guard_outlives_its_ttl_several_times_and_saves() {
    on_every_server(|world| {
        let engines = [(Engine::Auto, "climate"), (Engine::Watch, "ash")];
        let mut guards = engines.map(|(engine, controller)| {
            let cache = world.cache_builder().engine(engine).open();
            let builder = Store::builder(cache.expect("a cache")).root(world.root.path());
            let (store, told) = telling(builder.lock_ttl(TTL));
            let document = store.document::<Climate>(crate::support::RUN, controller);
            let document = document.expect("a document");
            document.create(&Climate::of(0)).expect("made");
            let held = document.lock().expect("locked");
            (document, held, told)
        });
        let start = Instant::now();
        until("three times its life is over", || start.elapsed() > 3 * TTL);
        for (document, held, told) in &mut guards {
            assert!(!Locked::is_lost(held));
            assert!(document.try_lock().expect_err("held").is_lock_held());
            held.years += 1;
            committed(&Locked::dump(held, Save::new()).expect("saved"));
            assert!(told.try_recv().is_err(), "nothing was lost");
        }
    });
}

/// The same without the keep-alive.
#[test]
fn negative_control_without_renewals_the_save_is_refused() {
    let world = World::start();
    let builder = world
        .store_builder()
        .lock_ttl(Duration::from_millis(100))
        .keep_alive(KeepAlive::Off);
    let (store, told) = telling(builder);
    let document = world.climate(&store);
    let made = world.climate(&world.store()).create(&Climate::of(0));
    made.expect("made");
    let held = document.lock().expect("locked");
    until("its life is over", || Locked::is_lost(&held));
    let refused = held.dump_and_unlock().map(drop).expect_err("refused");
    assert!(refused.error().is_lock_lost(), "{refused}");
    assert!(told.try_recv().is_err(), "nobody looked");
}

/// A save that is delayed past the end that its lock had when the save began.
fn save_held_up(world: &World, keep_alive: KeepAlive) -> Result<(), cachetx::Error> {
    let ends = Arc::new(Mutex::new(None::<Instant>));
    let end = Arc::clone(&ends);
    let store = world
        .store_builder()
        .lock_ttl(TTL)
        .keep_alive(keep_alive)
        .trace(move |step| {
            let end = end
                .lock()
                .expect("not poisoned")
                .take_if(|_| step == "disk.lock-sidecar");
            if let Some(end) = end {
                until("its first life is over", || Instant::now() > end);
            }
        })
        .open()
        .expect("a store");
    let document = world.climate(&store);
    if !document.exists().expect("looked for") {
        document.create(&Climate::of(0)).expect("made");
    }
    let mut held = document.lock().expect("locked");
    held.years += 1;
    *ends.lock().expect("not poisoned") = Some(Instant::now() + TTL);
    committed(&held.dump_and_unlock()?);
    assert!(
        ends.lock().expect("not poisoned").is_none(),
        "it was held up"
    );
    Ok(())
}

#[test]
fn a_save_that_takes_longer_than_its_lock_had_left_goes_through() {
    let world = World::start();
    save_held_up(&world, KeepAlive::On).expect("its lock was renewed meanwhile");
    assert_eq!(world.on_disk().years, 1);
    let refused = save_held_up(&world, KeepAlive::Off).expect_err("its lock is over");
    assert!(refused.is_lock_lost(), "{refused}");
    assert_eq!(world.on_disk().years, 1);
}

/// The message about its own release makes the keep-alive check before the deletion has ended.
#[test]
fn a_deletion_that_lets_its_lock_go_has_not_lost_it() {
    let world = World::start();
    let asked = {
        let mut redis = world.redis();
        move || support::calls(&mut redis, "evalsha")
    };
    let listens = {
        let mut redis = world.redis();
        move || -> u64 {
            let channel = lock_key() + ":free";
            let count: (String, u64) = redis::cmd("PUBSUB")
                .arg(&["NUMSUB", &channel])
                .query(&mut redis)
                .expect("PUBSUB");
            count.1
        }
    };
    let seen = Mutex::new((asked, listens, 0));
    let after = Arc::new(AtomicBool::new(false));
    let looked = Arc::clone(&after);
    let builder = world
        .store_builder()
        .lock_ttl(Duration::from_secs(3_600))
        .guarantee(Guarantee::CrashSafe)
        .trace(move |step| {
            let (asked, listens, before) = &mut *seen.lock().expect("not poisoned");
            match step {
                "server.Commit" => {
                    until("its keep-alive listens", || listens() == 1);
                    // Its first check is over when no more requests come.
                    until("it has looked", || {
                        *before = asked();
                        thread::sleep(Duration::from_millis(100));
                        *before == asked()
                    });
                }
                "outbox.retire" => {
                    until("its keep-alive has looked", || asked() > *before + 1);
                    // Time to react to the answer.
                    thread::sleep(Duration::from_millis(100));
                    looked.store(true, SeqCst);
                }
                _ => {}
            }
        });
    let (store, told) = telling(builder);
    let document = world.climate(&store);
    let made = world.climate(&world.store()).create(&Climate::of(0));
    made.expect("made");
    document.delete(cachetx::NO_TASKS).expect("deleted");
    assert!(after.load(SeqCst), "it was held up");
    assert!(!document.exists().expect("looked for"));
    assert!(told.try_recv().is_err(), "nothing was lost");
    assert_eq!(store.cache().stats().locks_lost, 0);
}

/// A hook that waits or panics affects one lock only, not the others.
#[test]
fn a_hook_that_waits_or_panics_stops_no_other_renewal() {
    let root = tempfile::TempDir::new().expect("a folder");
    let cache = support::cache_builder()
        .in_memory()
        .open()
        .expect("a cache");
    let builder = Store::builder(&cache).root(root.path()).lock_ttl(TTL);
    let store = builder
        .on_lock_lost(|lost| assert_eq!(lost.document.controller, "climate"))
        .open()
        .expect("a store");
    let [waits, panics, renewed] = ["climate", "ash", "soils"].map(|controller| {
        let document = store.document::<Climate>(crate::support::RUN, controller);
        let document = document.expect("a document");
        document.create(&Climate::of(0)).expect("made");
        document
    });
    let [mut waiting, mut panicking, mut held] =
        [&waits, &panics, &renewed].map(|document| document.lock().expect("locked"));
    let (begin, begun) = channel();
    let (end, ends) = channel::<()>();
    Locked::on_lost(&mut waiting, move |_| {
        begin.send(()).expect("listened to");
        let _ = ends.recv();
    });
    let (say, told) = channel();
    Locked::on_lost(&mut panicking, move |_| say.send(()).expect("listened to"));
    waits.clear_lock().expect("cleared");
    begun.recv_timeout(Duration::from_secs(30)).expect("called");
    panics.clear_lock().expect("cleared");
    told.recv_timeout(Duration::from_secs(30))
        .expect("the store's hook panics, the guard's own is called all the same");
    let start = Instant::now();
    until("twice its life is over", || start.elapsed() > 2 * TTL);
    held.years += 1;
    committed(&held.dump_and_unlock().expect("its lock was renewed"));
    drop(end);
}

/// A renewal whose reply was lost may have been done: then the server keeps the lock longer than
/// its holder knows.
#[test]
fn a_lock_that_ran_out_by_the_clock_only_is_let_go_of() {
    let world = World::start();
    let proxy = Proxy::start(world.server.port()).expect("a proxy");
    let cache = support::cache_builder()
        .url(proxy.url())
        .response_timeout(Duration::from_millis(200))
        .open()
        .expect("a cache");
    let (store, told) = telling(Store::builder(cache).root(world.root.path()).lock_ttl(TTL));
    let document = world.climate(&store);
    document.create(&Climate::of(0)).expect("made");
    let held = document.lock().expect("locked");
    let value = support::get(&mut world.redis(), &lock_key()).expect("it is there");
    proxy.delay_replies(Duration::from_secs(60));
    assert!(is_told(&told).contains("while the server could not be reached"));
    // As if the lock had been renewed for hours.
    support::set(&mut world.redis(), &lock_key(), &value);
    proxy.delay_replies(Duration::ZERO);
    drop(held);
    until("nobody has it", || {
        support::get(&mut world.redis(), &lock_key()).is_none()
    });
}

/// The number of renewals, as the server has counted them.
fn requests(world: &World) -> u64 {
    support::calls(&mut world.redis(), "evalsha")
}

#[test]
fn renewals_end_with_the_guard() {
    let world = World::start();
    let store = world.store_builder().lock_ttl(TTL).open().expect("a store");
    let document = world.climate(&store);
    document.create(&Climate::of(0)).expect("made");
    for end in 0..3 {
        let mut held = document.lock().expect("locked");
        let before = requests(&world);
        until("it is renewed", || requests(&world) > before + 1);
        match end {
            0 => drop(held),
            1 => drop(Locked::unlock(held)),
            _ => {
                held.years += 1;
                committed(&held.dump_and_unlock().expect("saved"));
            }
        }
        // One may be in flight; then none comes for longer than the interval between two.
        until("the last one is through", || {
            let before = requests(&world);
            thread::sleep(TTL / 2);
            requests(&world) == before
        });
    }
    assert_eq!(store.cache().stats().locks_lost, 0);
}

/// A renewal that meets the save's own release is no loss: the saves here start about when a
/// renewal does.
#[test]
fn saves_that_meet_a_renewal_lose_nothing() {
    let world = World::start();
    let (store, told) = telling(world.store_builder().lock_ttl(TTL));
    let document = world.climate(&store);
    document.create(&Climate::of(0)).expect("made");
    let saves = 12;
    for n in 0..saves {
        let mut held = document.lock().expect("locked");
        held.years = n + 1;
        // About a third of the lock's life.
        thread::sleep(Duration::from_millis(494 + n));
        match held.dump_and_unlock() {
            Ok(outcome) => assert!(matches!(outcome.cache, CacheOutcome::Committed { .. })),
            Err(e) => panic!("save {n}: {e}"),
        }
    }
    assert_eq!(world.on_disk().years, saves);
    assert!(told.try_recv().is_err());
}

/// The library's threads in this process, by name.
fn threads(name: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let names = tasks.filter_map(|task| {
        let path = task.ok()?.path().join("comm");
        std::fs::read_to_string(path).ok()
    });
    names.filter(|found| found.trim_end() == name).count()
}

/// In its own process: the other tests have threads too.
#[test]
fn no_thread_is_left_behind() {
    let ended = child(
        "keep_alive::threads_of_a_cache",
        &[("CACHETX_TEST_THREADS", "1".to_owned())],
    )
    .output()
    .expect("a child");
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stdout)
    );
}

#[test]
#[ignore = "a child process of another test"]
fn threads_of_a_cache() {
    if given("CACHETX_TEST_THREADS").is_none() {
        return;
    }
    let world = World::start();
    let proxy = Proxy::start(world.server.port()).expect("a proxy");
    let lost = Arc::new(AtomicU64::new(0));
    for _ in 0..3 {
        let cache = support::cache_builder()
            .url(proxy.url())
            .open()
            .expect("a cache");
        let count = Arc::clone(&lost);
        let store = Store::builder(&cache)
            .root(world.root.path())
            .on_lock_lost(move |_| {
                count.fetch_add(1, SeqCst);
            })
            .open()
            .expect("a store");
        let document = world.climate(&store);
        if !document.exists().expect("looked for") {
            document.create(&Climate::of(0)).expect("made");
        }
        let held = document.lock().expect("locked");
        until("both threads run", || {
            threads("cachetx-timer") == 1 && threads("cachetx-message") == 1
        });
        document.clear_lock().expect("cleared");
        until("the holder knows", || Locked::is_lost(&held));
        drop((held, document, store, cache));
        until("no thread is left", || {
            threads("cachetx-timer") + threads("cachetx-message") == 0
        });
    }
    assert_eq!(lost.load(SeqCst), 3);
}
