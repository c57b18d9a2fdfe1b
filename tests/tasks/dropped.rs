//! Futures that are dropped at any moment.

use super::on_both_runtimes;
use crate::support::{Climate, World, until};
use cachetx::{NO_TASKS, aio};
use std::{
    pin::pin,
    task::{Context, Waker},
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

#[test]
fn a_lock_that_nobody_waits_for_any_more_is_free_again() {
    let world = World::start();
    on_both_runtimes(|| async {
        let climate: aio::Document<Climate> = world.climate(&world.store()).into();
        climate.create(Climate::of(0)).await.expect("made");
        for polls in 0..20 {
            dropped_after(polls, climate.lock()).await;
        }
        let held = climate.lock_timeout(Duration::from_secs(60)).await;
        drop(held.expect("free again"));
        climate.delete(NO_TASKS).await.expect("deleted");
    });
}

#[test]
fn a_save_whose_future_is_dropped_is_made_all_the_same() {
    let world = World::start();
    on_both_runtimes(|| async {
        let climate: aio::Document<Climate> = world.climate(&world.store()).into();
        climate.create(Climate::of(0)).await.expect("made");
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
    for n in 0..20 {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let climate: aio::Document<Climate> = blocking.clone().into();
        runtime.spawn(async move {
            let mut held = climate.lock_timeout(Duration::from_secs(60)).await?;
            held.years += 1;
            held.dump_and_unlock().await?;
            Ok::<_, cachetx::Error>(())
        });
        std::thread::sleep(Duration::from_micros(500 * n));
        runtime.shutdown_background();
    }
    until("the lock is free", || blocking.try_lock().is_ok());
    assert!(blocking.read().expect("whole").years <= 20);
}
