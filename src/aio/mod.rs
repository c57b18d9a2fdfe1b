//! The same API for tasks of tokio: [`Cache`], [`Store`], [`Document`], [`Locked`], [`Transaction`].
//!
//! A store and its documents are the ones that threads have: turn one into the other by `From`. Both have the same boots, breaker, outbox, snapshots
//! and counters, and connections of their own. Requests of many tasks go by one connection of a server (but for a [`client`](crate::CacheBuilder) of the caller's own).
//!
//! # Examples
//!
//! ```
//! use cachetx::{BoxError, Params, Rules, aio::{Cache, Document, Store}};
//!
//! # #[derive(serde::Serialize, serde::Deserialize)] struct Product { cents: u32, stock: u32 }
//! #[tokio::main]
//! async fn main() -> Result<(), BoxError> {
//!     let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open_async().await?;
//!     let folder = tempfile::tempdir()?;
//!     let store = Store::builder(cache).root(folder.path()).run_param("shop_id")
//!         .layout_of("product", "{shop_id}/product-{sku}.json").open_async().await?;
//!     let product = |sku| store.document_with("main-street", "product", Params::new().with("sku", sku));
//!     let (tea, gin): (Document<Product>, Document<Product>) = (product("tea")?, product("gin")?);
//!     for document in [&tea, &gin] {
//!         document.create(&Product { cents: 400, stock: 10 }).await?;
//!     }
//!     tea.update(["reprice"], |tea| { tea.cents = 500; Ok(()) }).await?;
//!
//!     let mut both = store.transaction((&tea, &gin)).await?; // all or none of them
//!     let (t, g) = &mut *both;
//!     t.stock -= 1;
//!     g.stock -= 1;
//!     both.commit(["sell"]).await?;
//!     store.cache().close().await?;
//!     Ok(())
//! }
//! ```
//!
//! # When a future is dropped
//!
//! Whatever may leave something behind goes on in a task of its own, and its caller only waits for it. So a save whose future is dropped,
//! by a time-out or in a `select!`, is made all the same; whoever gives up waiting for a lock leaves its queue, and a lock that comes in that
//! moment is released. A future
//! does nothing before it is polled for the first time. The tables of [`Cache`] and [`Document`] say what each leaves.
//!
//! A guard of a task ([`Locked`], [`Transaction`]) may be held over awaits; others who want its lock wait without a thread.
//!
//! # Runtimes
//!
//! Any runtime of tokio with its time and its I/O enabled (`enable_all`, as `#[tokio::main]` has it), of one thread or several. Files are read and
//! written by the runtime's blocking threads, of which one is enough. Requests that stand alone share a connection;
//! [`CacheBuilder::pool_size`](crate::CacheBuilder::pool_size) bounds those that tasks have for themselves: for requests of more than 64 KiB, waits for replicas, locks in another
//! database, and all that writes where there are no scripts. A connection belongs to the runtime that opened it: a cache that many short-lived
//! runtimes use connects again in each.
//!
//! A runtime that shuts down ends what is under way as a crash would: files are whole, and locks that could not be let go of end by their TTL. What a crash-safe
//! save has recorded is replayed at once. Await [`Cache::close`] before, so that nothing is left.
//!
//! The cache's own threads (renewals, replays, messages) are the same for both: they need no runtime.

mod cache;
mod document;
mod locked;
mod store;
mod transaction;
mod unsaved;

pub use cache::Cache;
pub use document::Document;
pub use locked::Locked;
pub use store::Store;
pub use transaction::Transaction;
pub use unsaved::Unsaved;

use crate::{
    engine::Net,
    model::{Result, limits},
};
use tokio::sync::Semaphore;

/// Runs it in a task of its own, to its end, whether or not somebody waits for it.
async fn to_its_end<R: Send + 'static>(
    run: impl Future<Output = Result<R>> + Send + 'static,
) -> Result<R> {
    Net::Tasks.to_its_end(run).await
}

/// The same for what waits for a lock, which it does no longer than its caller.
async fn while_wanted<R: Send + 'static>(
    run: impl Future<Output = Result<R>> + Send + 'static,
) -> Result<R> {
    Net::Tasks.while_wanted(run).await
}

/// Has what blocks done by a thread of the runtime's, to its end, whether or not somebody waits for it. By some at a time: saves need
/// such threads too.
async fn aside<R: Send + 'static>(job: impl FnOnce() -> Result<R> + Send + 'static) -> Result<R> {
    static ROOM: Semaphore = Semaphore::const_new(limits::ASIDE);
    let room = ROOM.acquire().await;
    Net::Tasks
        .aside(move || {
            let _room = room;
            job()
        })
        .await
}
