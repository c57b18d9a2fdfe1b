//! Futures that are dropped at any moment.

use super::{eventually, on_both_runtimes};
use crate::support::{self, Climate, RUN, World, until};
use cachetx::{Guarantee, NO_TASKS, OutboxFile, Params, aio};
use std::{
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher, RandomState},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

/// Polls it so often, a moment apart, and drops it.
async fn dropped_after<F: Future>(polls: usize, run: F) {
    let mut run = pin!(run);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if run.as_mut().poll(&mut context).is_ready() {
            return;
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
}

/// Drops it at that await, unless it ends before.
async fn ends_within<F: Future>(awaits: usize, run: F) -> bool {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut run = pin!(run);
    for at in 0..=awaits {
        if run
            .as_mut()
            .poll(&mut Context::from_waker(&waker))
            .is_ready()
        {
            return true;
        }
        if at < awaits {
            woken.0.notified().await;
        }
    }
    false
}

#[derive(Default)]
struct Woken(tokio::sync::Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

#[test]
fn a_lock_that_nobody_waits_for_any_more_is_free_again() {
    let world = World::start();
    on_both_runtimes(|| async {
        let climate: aio::Document<Climate> = world.climate(&world.store()).into();
        climate.create(&Climate::of(0)).await.expect("made");
        for polls in 0..20 {
            dropped_after(polls, climate.lock()).await;
        }
        let held = climate.lock_timeout(Duration::from_secs(60)).await;
        drop(held.expect("free again"));
        climate.delete(NO_TASKS).await.expect("deleted");
    });
}

/// However long they would have waited.
#[test]
fn whoever_gives_up_waiting_for_a_lock_leaves_its_queue() {
    let world = World::start();
    on_both_runtimes(|| async {
        let climate: aio::Document<Climate> = world.climate(&world.store()).into();
        climate.create(&Climate::of(0)).await.expect("made");
        let held = climate.lock().await.expect("free");
        let tasks = || {
            tokio::runtime::Handle::current()
                .metrics()
                .num_alive_tasks()
        };
        let before = tasks();
        for _ in 0..20 {
            let waiting = climate.lock_timeout(Duration::from_secs(3600));
            let waited = tokio::time::timeout(Duration::from_millis(5), waiting);
            assert!(waited.await.is_err());
        }
        eventually("nobody waits any more", async || tasks() <= before).await;
        aio::Locked::unlock(held).await;
        aio::Locked::unlock(climate.try_lock().await.expect("free at once")).await;
        climate.delete(NO_TASKS).await.expect("deleted");
    });
}

#[test]
fn a_save_whose_future_is_dropped_is_made_all_the_same() {
    let world = World::start();
    on_both_runtimes(|| async {
        let climate: aio::Document<Climate> = world.climate(&world.store()).into();
        climate.create(&Climate::of(0)).await.expect("made");
        for polls in 1..20 {
            let held = climate.lock_timeout(Duration::from_secs(60)).await;
            let mut held = held.expect("free again");
            held.years += 1;
            dropped_after(polls, held.dump_and_unlock()).await;
        }
        let held = climate.lock_timeout(Duration::from_secs(60)).await;
        assert_eq!(held.expect("free again").years, 19);
        climate.delete(NO_TASKS).await.expect("deleted");
    });
}

/// The runtime is shut down in the middle: the file is whole, and the lock free in the end.
#[test]
fn a_runtime_that_shuts_down_leaves_whole_files_and_no_lock() {
    let world = World::start();
    let store = world
        .store_builder()
        .lock_ttl(Duration::from_secs(1))
        .open();
    let blocking = world.climate(&store.expect("a store"));
    blocking.create(&Climate::of(0)).expect("made");
    let saved = Arc::new(AtomicU64::new(0));
    for n in 0..20 {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let climate: aio::Document<Climate> = blocking.clone().into();
        let acknowledged = Arc::clone(&saved);
        runtime.spawn(async move {
            let mut held = climate.lock_timeout(Duration::from_secs(60)).await?;
            held.years += 1;
            held.dump_and_unlock().await?;
            acknowledged.fetch_add(1, SeqCst);
            Ok::<_, cachetx::Error>(())
        });
        std::thread::sleep(Duration::from_micros(500 * n));
        runtime.shutdown_background();
    }
    until("the lock is free", || blocking.try_lock().is_ok());
    let years = blocking.read().expect("whole").years;
    assert!((saved.load(SeqCst)..=20).contains(&years), "{years}");
}

/// What a crash-safe save has recorded is done once its runtime is gone, by this very process.
#[test]
fn what_a_runtime_leaves_undone_is_done_by_the_process() {
    let world = World::start();
    let store = world.store_builder().guarantee(Guarantee::CrashSafe).open();
    let store = store.expect("a store");
    let outbox = world.root.path().join(".cachetx-outbox");
    let blocking = world.climate(&store);
    blocking.create(&Climate::of(0)).expect("made");
    let mut redis = world.redis();
    let mut cut = 0;
    for n in 0..60 {
        world.warm();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        let runtime = runtime.expect("a runtime");
        let climate: aio::Document<Climate> = blocking.clone().into();
        let saving = runtime.spawn(async move { climate.update(["build_climate"], add).await });
        std::thread::sleep(Duration::from_micros(100 * n));
        cut += u32::from(!saving.is_finished());
        runtime.shutdown_background();
        let open = || OutboxFile::list(&outbox).expect("listed");
        until("no record is left", || {
            open().iter().all(|file| file.records.is_empty())
        });
        // Whether or not the file was replaced, what is cached is what it has.
        let own = support::get(&mut redis, &support::key("climate"));
        assert!(
            own.is_none_or(|own| own == world.on_disk().bytes()),
            "stale after {n}"
        );
    }
    assert!(cut > 0, "no save was cut short");
}

fn add(climate: &mut Climate) -> Result<(), cachetx::BoxError> {
    climate.years += 1;
    Ok(())
}

/// Any call, dropped at any time, many at once: nothing stale, nothing held, and nothing left running.
#[test]
fn whatever_is_dropped_at_any_time_leaves_nothing() {
    let drops = support::given("CACHETX_DROPS").map_or(2_000, |n| n.parse().expect("a number"));
    let seed = support::given("CACHETX_SEED").map_or_else(
        || RandomState::new().hash_one(0),
        |n| n.parse().expect("a number"),
    );
    let world = Arc::new(World::start());
    on_both_runtimes(|| async {
        eprintln!("CACHETX_SEED={seed}");
        // Lives that are longer than the test: what is left by mistake stays.
        const LONG: Duration = Duration::from_secs(3600);
        let cache = world.cache_builder().lease_ttl(LONG).mark_ttl(LONG);
        let cache = cache.open_async().await.expect("a cache");
        let store = cachetx::Store::builder(cache.clone()).root(world.root.path());
        let store = store.lock_ttl(LONG).open_async().await.expect("a store");
        let [climate, ash] = ["climate", "ash"].map(|controller| {
            store
                .document::<Climate>(RUN, controller)
                .expect("a document")
        });
        for document in [&climate, &ash] {
            document.create(&Climate::of(0)).await.expect("made");
        }
        let callers: Vec<_> = (0..8_u64)
            .map(|caller| {
                let (world, store) = (Arc::clone(&world), store.clone());
                tokio::spawn(async move {
                    let random = Numbers(seed ^ caller);
                    for n in 0..drops / 8 {
                        let late = Duration::from_micros(random.number(n) % 3_000);
                        let call = any(random.number(n + drops) % CALLS, &world, &store);
                        let _ = tokio::time::timeout(late, call).await;
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.expect("no panic");
        }
        leaves_nothing(&world, &store).await;
        // And each at each of its awaits.
        let mut all = 0;
        for call in 0..CALLS {
            let mut awaits = 0;
            while !ends_within(awaits, any(call, &world, &store)).await {
                leaves_nothing(&world, &store).await;
                awaits += 1;
            }
            all += awaits;
        }
        assert!(all >= CALLS as usize, "{all} awaits");
        leaves_nothing(&world, &store).await;
        for document in [&climate, &ash] {
            document.delete(NO_TASKS).await.expect("deleted");
        }
    });
}

async fn leaves_nothing(world: &World, store: &aio::Store) {
    let mut redis = world.redis();
    eventually("no lock is held", async || {
        store.locks(RUN).await.expect("asked").is_empty()
    })
    .await;
    // Of leases and marks.
    let mut keys = || {
        let left: Vec<String> = redis::cmd("KEYS")
            .arg("*cachetx:leases*")
            .query(&mut redis)
            .expect("KEYS");
        left.into_iter()
            .filter(|key| !key.ends_with("{rules}"))
            .collect::<Vec<_>>()
    };
    eventually("no lease and no mark is left", async || keys().is_empty()).await;
    eventually("nothing is recorded", async || {
        store.cache().stats().outbox_pending == 0
    })
    .await;
    // A connection that is shared, and ten at most that a task has for itself, each with a task.
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    eventually("no task is left", async || tasks() <= 11).await;
    // The last saves may be under way still: what is stale for good stays so.
    eventually("what is cached is what the files have", async || {
        let mut right = ["climate", "ash"].iter().all(|controller| {
            let file = world.run_folder().join(format!("{controller}.nodb"));
            let file = std::fs::read(file).expect("it is there");
            let own = support::get(&mut redis, &support::key(controller));
            own.is_none_or(|own| own == file)
        });
        let derived = support::get(&mut redis, &support::key("wepp"));
        let years = world.on_disk().years.to_string().into_bytes();
        right &= derived.is_none_or(|derived| derived == years);
        right
    })
    .await;
    let none = async || world.temporary_files().is_empty();
    eventually("no temporary file is left", none).await;
}

/// Numbers that a seed repeats.
struct Numbers(u64);

impl Numbers {
    fn number(&self, n: u64) -> u64 {
        BuildHasherDefault::<DefaultHasher>::default().hash_one((self.0, n))
    }
}

const CALLS: u64 = 9;

/// One call of the API, whatever becomes of it.
async fn any(which: u64, world: &World, store: &aio::Store) {
    let (cache, params) = (store.cache(), Params::new().with("run_id", RUN));
    let [climate, ash] = ["climate", "ash"].map(|controller| {
        store
            .document::<Climate>(RUN, controller)
            .expect("a document")
    });
    let derive = || async {
        let years = world.on_disk().years;
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(years)
    };
    let change = || async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(())
    };
    match which {
        0 => drop(climate.update(NO_TASKS, add).await),
        1 => {
            if let Ok(mut held) = climate.lock().await {
                held.years += 1;
                drop(held.dump_and_unlock().await);
            }
        }
        2 => drop(climate.locked(add).await),
        3 => drop(climate.read().await),
        4 => drop(cache.get_or_load_json("wepp", &params, derive).await),
        5 => drop(cache.invalidate(["build_climate"], &params).await),
        6 => drop(
            cache
                .invalidate_around(["build_climate"], &params, change)
                .await,
        ),
        7 => {
            if let Ok(mut both) = store.transaction((&climate, &ash)).await {
                both.0.years += 1;
                both.1.years += 1;
                drop(both.commit(NO_TASKS).await);
            }
        }
        _ => drop(cache.put_json("soils", &params, &which).await),
    }
}
