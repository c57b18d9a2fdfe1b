//! The API for tasks of tokio: the same saves, many of them at once, and what futures that are dropped leave.
#![cfg(all(feature = "testing", feature = "tokio"))]

mod cache;
mod documents;
mod dropped;
mod links;

#[path = "../support/mod.rs"]
mod support;
mod transactions;

use std::future::Future;

/// On a runtime with one thread, and on one with several.
fn on_both_runtimes<F: Future<Output = ()>>(test: impl Fn() -> F) {
    let runtime = |builder: &mut tokio::runtime::Builder| {
        let runtime = builder.enable_all().build().expect("a runtime");
        runtime.block_on(test());
    };
    runtime(&mut tokio::runtime::Builder::new_current_thread());
    runtime(tokio::runtime::Builder::new_multi_thread().worker_threads(2));
}
