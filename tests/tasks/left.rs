//! What futures leave that are dropped, or not polled any more.

use super::{eventually, on_both_runtimes};
use crate::support::{Climate, RUN, World};
use cachetx::{BoxError, NO_TASKS, OnBusy, Params, aio};
use std::{
    future::{Future, pending},
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};
use tokio::{
    runtime::{Builder, Handle},
    task::JoinSet,
    time::timeout,
};

const MANY: usize = 200;

fn alive() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Leases, marks and locks.
fn left(world: &World) -> Vec<String> {
    let mut redis = world.redis();
    let mut keys = Vec::new();
    for pattern in ["*cachetx:leases*", "*:lock"] {
        let found = redis::cmd("KEYS")
            .arg(pattern)
            .query::<Vec<String>>(&mut redis);
        keys.extend(found.expect("KEYS"));
    }
    keys.retain(|key| !key.ends_with("{rules}"));
    keys
}

#[test]
fn a_future_that_is_not_polled_keeps_nobody_waiting() {
    let world = World::start();
    on_both_runtimes(|| async {
        let climate: aio::Document<Climate> = world.climate(&world.store()).into();
        let mut asked: Vec<_> = (0..MANY).map(|_| Box::pin(climate.exists())).collect();
        for asking in &mut asked {
            let _ = asking
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
        }
        assert!(!climate.exists().await.expect("its turn came"));
    });
}

#[test]
fn closing_waits_for_what_is_given_back_and_for_dropped_calls() {
    let world = World::start();
    on_both_runtimes(|| async {
        let cache = world.cache_builder().open_async().await.expect("a cache");
        let store = cachetx::Store::builder(&cache).root(world.root.path());
        let store = store.open_async().await.expect("a store");
        let document = |n: usize| {
            let document = store.document::<Climate>(&format!("run-{n}"), "climate");
            document.expect("a document")
        };
        let mut held = Vec::new();
        for n in 0..MANY {
            document(n).create(&Climate::of(0)).await.expect("made");
            held.push(document(n).lock().await.expect("locked"));
        }
        let mut calls = JoinSet::new();
        for n in 0..MANY {
            let (cache, params) = (
                cache.clone(),
                Params::new().with("run_id", format!("other-{n}")),
            );
            calls.spawn(async move {
                if n % 2 == 0 {
                    let load = || pending::<Result<Vec<u8>, BoxError>>();
                    drop(cache.get_or_load("wepp", &params, load).await);
                } else {
                    let change = || pending::<Result<(), BoxError>>();
                    let around = cache.invalidate_around(["build_climate"], &params, change);
                    drop(around.await);
                }
            });
        }
        eventually("all have begun", async || left(&world).len() >= MANY + MANY).await;
        drop(held);
        calls.shutdown().await;
        let last = document(MANY);
        last.create(&Climate::of(0)).await.expect("made");
        {
            let saving = pin!(last.update(NO_TASKS, |climate| {
                climate.years = 1;
                Ok(())
            }));
            let _ = saving.poll(&mut Context::from_waker(Waker::noop()));
        }
        let replayed = cache.close().await.expect("closed");
        assert_eq!(replayed.left, 0);
        assert_eq!(left(&world), Vec::<String>::new());
        assert_eq!(last.read().await.expect("read").years, 1);
        for n in 0..=MANY {
            document(n).delete(NO_TASKS).await.expect("deleted");
        }
    });
}

#[test]
fn whoever_gives_up_waiting_for_another_reader_is_gone() {
    let world = World::start();
    on_both_runtimes(|| async {
        let wait = OnBusy::Wait(Duration::from_secs(3_600));
        let cache = world.cache_builder().on_busy(wait).open_async().await;
        let cache = cache.expect("a cache");
        let params = Params::new().with("run_id", RUN);
        let never = || pending::<Result<Vec<u8>, BoxError>>();
        let mut loading = pin!(cache.get_or_load("wepp", &params, never));
        assert!(
            timeout(Duration::from_millis(100), &mut loading)
                .await
                .is_err()
        );
        let before = alive();
        for _ in 0..20 {
            let waiting = cache.get_or_load("wepp", &params, never);
            assert!(timeout(Duration::from_millis(5), waiting).await.is_err());
        }
        eventually("nobody waits any more", async || alive() <= before).await;
    });
}

/// The server is halted meanwhile: whatever holds a thread holds it until the end.
#[test]
fn changes_of_other_truths_hold_no_thread() {
    let world = World::start();
    let mut builder = Builder::new_multi_thread();
    let runtime = builder
        .worker_threads(2)
        .max_blocking_threads(4)
        .enable_all();
    runtime.build().expect("a runtime").block_on(async {
        let builder = world
            .cache_builder()
            .outbox(world.root.path().join("outbox"));
        let builder = builder.response_timeout(Duration::from_secs(120));
        let cache = builder.open_async().await.expect("a cache");
        let params = Params::new().with("run_id", RUN);
        drop(cache.get("wepp", &params).await.expect("connected"));
        world.server.pause().expect("halted");
        let mut changes = JoinSet::new();
        for _ in 0..20 {
            let (cache, params) = (cache.clone(), params.clone());
            changes.spawn(async move {
                let change = || async { Ok(()) };
                cache
                    .invalidate_around(["build_climate"], &params, change)
                    .await
            });
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let free = timeout(Duration::from_secs(60), tokio::task::spawn_blocking(|| ()));
        free.await.expect("a thread is free").expect("no panic");
        world.server.resume().expect("resumed");
        for changed in changes.join_all().await {
            changed.expect("changed");
        }
    });
}

/// Each of them is driven only at times: no other one waits for it.
#[test]
fn runtimes_take_turns() {
    let world = World::start();
    let cache = world
        .cache_builder()
        .response_timeout(Duration::from_secs(60));
    let cache = aio::Cache::from(cache.open().expect("a cache"));
    let runtimes = [(); 3].map(|()| {
        let runtime = Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime")
    });
    let params = Params::new().with("run_id", RUN);
    for _ in 0..20 {
        for runtime in &runtimes {
            let got = runtime.block_on(cache.get("wepp", &params));
            assert_eq!(got.expect("answered"), None);
        }
    }
    let open = cache.stats().connections_open;
    assert!(open <= 4, "one for each, and one for threads: {open}");
}

#[test]
fn a_runtime_without_io_is_named() {
    let world = World::start();
    let cache = aio::Cache::from(world.cache_builder().open_lazy().expect("a cache"));
    let runtime = Builder::new_current_thread().enable_time().build();
    let asked = runtime.expect("a runtime").block_on(async {
        let params = Params::new().with("run_id", RUN);
        cache.get("wepp", &params).await
    });
    let refused = asked.expect_err("no connection").to_string();
    assert!(refused.contains("enable_all"), "{refused}");
}
