//! The circuit breaker, by tasks: one moment without answers opens nothing, and who may wait for a lock waits for it.

use super::{eventually, on_both_runtimes};
use crate::support::{Climate, RUN, World};
use cachetx::{BreakerState, CacheBuilder, Params, Store, aio};
use std::time::Duration;
use tokio::task::JoinSet;

fn params() -> Params {
    Params::new().with("run_id", RUN)
}

fn within(world: &World, timeout: Duration) -> CacheBuilder {
    let cache = world.cache_builder().connect_timeout(timeout);
    cache.response_timeout(timeout)
}

#[test]
fn a_server_that_stands_still_once_opens_nothing() {
    on_both_runtimes(|| async {
        let world = World::start();
        let never = Duration::from_secs(3_600);
        let cache = within(&world, Duration::from_secs(2)).circuit_breaker(never);
        let cache = cache.open_async().await.expect("a cache");
        world.server.pause().expect("halted");
        let mut calls = JoinSet::new();
        for _ in 0..600 {
            let cache = cache.clone();
            calls.spawn(async move { cache.get("climate", &params()).await.is_err() });
        }
        assert!(calls.join_all().await.into_iter().all(|failed| failed));
        world.server.resume().expect("goes on");
        assert_eq!(cache.stats().breaker, BreakerState::Closed);
    });
}

#[test]
fn who_may_wait_for_a_lock_waits_for_the_breaker_too() {
    on_both_runtimes(|| async {
        let world = World::start();
        let cache = within(&world, Duration::from_millis(200));
        let cache = cache.circuit_breaker(Duration::from_secs(1));
        let cache = cache.open_async().await.expect("a cache");
        let store = Store::builder(cache.clone()).root(world.root.path());
        let store = store.open_async().await.expect("a store");
        let climate: aio::Document<Climate> = store.document(RUN, "climate").expect("a document");
        climate.create(&Climate::of(1)).await.expect("created");
        world.server.pause().expect("halted");
        eventually("it opens", async || {
            cache.get("climate", &params()).await.expect_err("halted");
            cache.stats().breaker == BreakerState::Open
        })
        .await;
        world.server.resume().expect("goes on");
        let patience = Duration::from_secs(600);
        let held = climate.lock_timeout(patience).await.expect("locked");
        aio::Locked::unlock(held).await;
    });
}
