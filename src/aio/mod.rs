//! The same API for tokio tasks: [`Cache`], [`Store`], [`Document`], [`Locked`], [`Transaction`].
//!
//! Stores and documents for tasks wrap those for threads: convert one into the other with `From`.
//! Both share boots, breaker, outbox, snapshots and counters, but have separate connections.
//! Requests of many tasks share one connection to a server (except with the caller's own
//! [`client`](crate::CacheBuilder)).
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
//! An operation that could leave something behind runs in its own task, and its caller only waits
//! for it. So a save whose future is dropped, by a time-out or in a `select!`, is made all the
//! same. A caller that stops waiting for a lock leaves its queue, and a lock that is granted at
//! that moment is released. A future does nothing before it is polled for the first time. The
//! tables of [`Cache`] and [`Document`] list the effect for each method.
//!
//! A guard of a task ([`Locked`], [`Transaction`]) may be held across awaits; others who want its
//! lock wait without a thread.
//!
//! # Runtimes
//!
//! Any tokio runtime with time and I/O enabled (`enable_all`, as in `#[tokio::main]`), with one
//! thread or several. Files are read and written by the runtime's blocking threads, of which one is
//! enough. Single requests share a connection.
//! [`CacheBuilder::pool_size`](crate::CacheBuilder::pool_size) bounds the connections that a task
//! has for itself: for requests of more than 64 KiB, waits for replicas, locks in another database,
//! and all writes without scripts. Each runtime has connections of its own: a cache that many
//! short-lived runtimes use connects in each.
//!
//! A runtime that shuts down ends what is under way as a crash would: files are whole, and locks
//! that could not be released expire by their TTL. What a crash-safe save has recorded is replayed
//! at once. To leave nothing behind, await [`Cache::close`] first: it waits for calls whose futures
//! were dropped and for dropped guards.
//!
//! JSON is parsed and written on the runtime's threads, except by [`Document::read`]. A document of
//! 1 MB takes its thread about 5 ms, one of 10 MB about 100 ms: for such documents, give other tasks
//! a thread of their own.
//!
//! The cache's own threads (renewals, replays, messages) are the same for both APIs and need no
//! runtime.

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
