//! A thousand of them.

use super::eventually;
use crate::support::{self, Climate, World, until};
use cachetx::{Document, Guarantee, NO_TASKS, OutboxFile, Store, aio};
use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

const MANY: usize = 1_000;
/// Threads of the test harness.
const HARNESS: usize = 2;
/// Of a runtime, for what blocks.
const BLOCKING: usize = 4;

fn runtime() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder
        .worker_threads(2)
        .max_blocking_threads(BLOCKING)
        .enable_all();
    builder.build().expect("a runtime")
}

/// In a process of their own, whose threads are counted.
#[test]
fn a_thousand_waiters_hold_no_thread() {
    let mut waiters = support::child("many::waiters", &[]);
    let ended = waiters
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .status();
    assert!(ended.expect("it runs").success());
}

#[test]
#[ignore = "by a_thousand_waiters_hold_no_thread"]
fn waiters() {
    let threads = || match std::fs::read_dir("/proc/self/task") {
        Ok(tasks) => tasks.count(),
        // Only Linux tells.
        Err(_) => 0,
    };
    let world = World::start();
    let runtime = runtime();
    runtime.block_on(async {
        let climate: aio::Document<Climate> = world.climate(&world.store()).into();
        climate.create(&Climate::of(0)).await.expect("made");
        let held = climate.lock().await.expect("locked");
        let waiters: Vec<_> = (0..MANY)
            .map(|_| {
                let climate = climate.clone();
                tokio::spawn(async move {
                    let held = climate.lock_timeout(Duration::from_secs(600)).await?;
                    aio::Locked::unlock(held).await;
                    Ok::<_, cachetx::Error>(())
                })
            })
            .collect();
        // Each has a run that asks for the lock.
        let tasks = || runtime.metrics().num_alive_tasks();
        eventually("all wait", async || tasks() >= 2 * MANY).await;
        let most = threads();
        eprintln!("{most} threads while {MANY} tasks wait");
        assert!(most <= HARNESS + 8 + BLOCKING, "{most} threads");
        drop(held);
        for waiter in waiters {
            waiter.await.expect("no panic").expect("its turn has come");
        }
    });
}

#[test]
fn a_runtime_that_ends_in_the_middle_of_a_thousand_saves_loses_none_that_was_acknowledged() {
    const DOCUMENTS: usize = 50;
    let mut cut = 0;
    for n in 0..3 {
        let world = World::start();
        let store = world.store_builder().guarantee(Guarantee::CrashSafe).open();
        let store = store.expect("a store");
        let documents: Vec<Document<Climate>> = (0..DOCUMENTS)
            .map(|n| document(&store, n))
            .inspect(|document| {
                document.create(&Climate::of(0)).expect("made");
            })
            .collect();
        let acknowledged: Arc<Vec<AtomicU64>> =
            Arc::new((0..DOCUMENTS).map(|_| AtomicU64::new(0)).collect());
        let runtime = runtime();
        for save in 0..MANY {
            let n = save % DOCUMENTS;
            let document: aio::Document<Climate> = documents[n].clone().into();
            let acknowledged = Arc::clone(&acknowledged);
            runtime.spawn(async move {
                let updated = document.update(NO_TASKS, |climate| {
                    climate.years += 1;
                    Ok(climate.years)
                });
                if let Ok((years, _)) = updated.await {
                    acknowledged[n].fetch_max(years, SeqCst);
                }
            });
        }
        std::thread::sleep(Duration::from_millis(20 * n));
        cut += u32::from(runtime.metrics().num_alive_tasks() > 0);
        // What blocks comes to its end.
        runtime.shutdown_timeout(Duration::from_secs(600));
        let outbox = world.root.path().join(".cachetx-outbox");
        let open = || OutboxFile::list(&outbox).expect("listed");
        until("no record is left", || {
            open().iter().all(|file| file.records.is_empty())
        });
        let mut redis = world.redis();
        for (document, acknowledged) in documents.iter().zip(&*acknowledged) {
            let saved = document.read().expect("whole");
            assert!(saved.years >= acknowledged.load(SeqCst), "a save is lost");
            let own = support::get(&mut redis, document.cache_key());
            assert!(own.is_none_or(|own| own == saved.bytes()), "stale");
            // Whatever was under way holds nobody up.
            document.update(NO_TASKS, |_| Ok(())).expect("updated");
        }
    }
    assert!(cut > 0, "no save was cut short");
}

fn document(store: &Store, n: usize) -> Document<Climate> {
    let run = format!("run-{n}");
    store.document(&run, "climate").expect("a document")
}
