//! A closure for credentials that panics, by tasks: an error at once for all that wait, and nobody hangs.

use super::on_both_runtimes;
use crate::support::{Climate, RUN, World, rotation::Rotation};
use cachetx::{Effect, Params, Store, aio};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::task::JoinSet;

/// Longer than any machine takes to see that nobody answers.
const NEVER: Duration = Duration::from_secs(120);

#[test]
fn a_panic_is_an_error_at_once_and_the_next_connection_asks_again() {
    on_both_runtimes(|| async {
        let world = World::start();
        let rotation = Rotation::on([&world.server]);
        let (gone, right) = (Arc::new(AtomicBool::new(true)), rotation.credentials());
        let panics = Arc::clone(&gone);
        // Time-outs that would be over after the test's patience.
        let cache = world
            .cache_builder()
            .url(format!("redis://127.0.0.1:{}/", world.server.port()))
            .connect_timeout(2 * NEVER)
            .response_timeout(2 * NEVER)
            .credentials(move || {
                assert!(!panics.load(SeqCst), "the vault is gone");
                right()
            });
        let opened = tokio::time::timeout(NEVER, cache.clone().open_async()).await;
        let error = opened.expect("no hang").map(drop).expect_err("refused");
        assert!(error.is_unavailable(), "{error:?}");

        let lazy = aio::Cache::from(cache.open_lazy().expect("a cache"));
        let store = Store::builder(lazy.clone()).root(world.root.path());
        let store = store.open_async().await.expect("a store");
        let climate: aio::Document<Climate> = store.document(RUN, "climate").expect("a document");
        let mut calls = JoinSet::new();
        for n in 0..32 {
            let (cache, climate) = (lazy.clone(), climate.clone());
            calls.spawn(async move {
                let params = Params::new().with("run_id", RUN);
                // One connection for all, and ones of their own.
                match n % 2 {
                    0 => cache.get("climate", &params).await.map(drop),
                    _ => climate.create(&Climate::of(1)).await.map(drop),
                }
            });
        }
        let failed = tokio::time::timeout(NEVER, calls.join_all()).await;
        for done in failed.expect("no hang") {
            let error = done.expect_err("no credentials");
            assert!(
                error.is_unavailable() && error.to_string().contains("it panicked"),
                "{error}"
            );
            assert_eq!(error.effect(), Effect::None);
        }

        gone.store(false, SeqCst);
        let created = tokio::time::timeout(NEVER, climate.create(&Climate::of(1))).await;
        created.expect("no hang").expect("created");
    });
}
