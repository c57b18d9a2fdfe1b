//! The API for tasks of tokio: the same saves, many of them at once, and what futures that are dropped leave.
#![cfg(all(feature = "testing", feature = "tokio"))]

mod breaker;
mod cache;
#[cfg(feature = "redis-1")]
mod client;
mod credentials;
mod documents;
mod dropped;
mod left;
mod links;
mod many;
#[cfg(feature = "cli")]
mod other_languages;

#[path = "../support/mod.rs"]
mod support;
mod transactions;

use std::{future::Future, time::Duration};

/// Waits until it holds, a bounded time.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let holds = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let held = tokio::time::timeout(Duration::from_secs(120), holds).await;
    assert!(held.is_ok(), "not in time: {what}");
}

/// On a runtime with one thread, and on one with several.
fn on_both_runtimes<F: Future<Output = ()>>(test: impl Fn() -> F) {
    let runtime = |builder: &mut tokio::runtime::Builder| {
        let runtime = builder.enable_all().build().expect("a runtime");
        runtime.block_on(test());
    };
    runtime(&mut tokio::runtime::Builder::new_current_thread());
    runtime(tokio::runtime::Builder::new_multi_thread().worker_threads(2));
}
