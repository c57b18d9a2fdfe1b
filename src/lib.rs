//! Saves a JSON document and invalidates everything derived from it: one durable file write, then
//! one atomic step on Redis or Valkey that sets the document's cache entry, deletes every dependent
//! and releases the lock.
//!
//! - [`Rules`] say which entries a task makes out of date. They compile into key lists
//!   ([`KeyList`]) for [`Params`] and explain them ([`Explanation`], [`RulesDiff`], [`SaveNeeds`],
//!   [`RulesGraph`]).
//! - [`Cache`] is rules plus a server, given by a URL ([`TlsOptions`], [`Credentials`]). At boot it
//!   detects how operations can run ([`Engine`], [`EngineReport`], [`Acl`], [`FunctionLibrary`]).
//!   It counts what it does ([`Stats`]).
//! - [`Store`] is a folder of documents plus a cache. [`Document`] is a handle on one, [`Locked`]
//!   the right to save it, [`Save`] the options of one save, [`Outcome`] its result.
//!   [`Transaction`] saves several as one. What the server did not take is kept in an outbox and
//!   replayed ([`Replayed`]).
//! - [`EngineReport`] and [`FileSystemReport`] describe a server and a root's file system
//!   ([`ServerFacts`], [`Trial`]).
//! - [`RawObject`] keeps a foreign document byte for byte, except for the members that are set.
//! - [`Error`] is the only error type. [`limits`] has the bounds of rules files and params; each
//!   option states its own.
//! - [`observe`]: events, latencies, metrics and spans for monitoring.
//! - `aio` (feature `tokio`): caches, stores and documents for tokio tasks.
//! - `testing` (feature `testing`): a private throw-away server, and a proxy that counts and cuts
//!   connections; with `strategies`, strategies for property tests.
//!
//! # Examples
//!
//! A document, an entry derived from it, and a save that deletes the entry. `in_memory()` stands
//! for a server; with a real one it is `.url("redis://127.0.0.1/")`.
//!
//! ```
//! use cachetx::{Cache, Document, Params, Rules, Store};
//! use std::collections::BTreeMap;
//!
//! let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
//! let folder = tempfile::tempdir()?;
//! let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
//!     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
//! let sku = Params::new().with("sku", "tea");
//! let tea: Document<BTreeMap<String, u32>> = store.document_with("main-street", "product", sku)?;
//! tea.create(&[("cents".to_owned(), 400)].into())?;
//! let shop = Params::new().with("shop_id", "main-street");
//! let price_list = || cache.get_or_load_json("price_list", &shop, || Ok(tea.read()?["cents"]));
//! assert_eq!(price_list()?, 400); // loaded, and cached
//!
//! let mut held = tea.lock()?;
//! held.insert("cents".to_owned(), 500);
//! held.dump_and_unlock_with_transaction(["reprice"])?;
//! assert!(cache.get("price_list", &shop)?.is_none()); // the save has deleted it
//! assert_eq!(price_list()?, 500);
//! # Ok::<(), cachetx::BoxError>(())
//! ```
//!
//! What a save deletes, without a cache:
//!
//! ```
//! use cachetx::{Params, Rules};
//!
//! let rules = Rules::from_path("rules/nodb.json")?;
//! let params = Params::new().with("run_id", "copacetic-sled");
//! let keys = rules.expand_for("climate", ["build_climate"], &params)?;
//! assert!(keys.iter().any(|key| key == "nodb_cache:{copacetic-sled}:wepp"));
//! # Ok::<(), cachetx::Error>(())
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(all(feature = "testing", feature = "tokio")),
    allow(rustdoc::broken_intra_doc_links)
)]

#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub mod aio;
mod cache;
mod disk;
mod drive;
mod engine;
mod json;
mod model;
pub mod observe;
mod op;
mod protocol;
mod raw;
mod rules;
#[cfg(all(test, feature = "testing"))]
mod sim;
mod store;
#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

#[cfg(feature = "watch")]
#[cfg_attr(docsrs, doc(cfg(feature = "watch")))]
pub use cache::RulesWatch;
pub use cache::{
    Cache, CacheBuilder, CrossSlot, OnBusy, OutboxFile, OutboxRecord, PutOutcome, Stats,
};
pub use disk::{FileSystem, FileSystemReport, Trial};
pub use engine::{
    Acl, BreakerState, Credentials, Engine, EngineReport, FunctionLibrary, ServerFacts, TlsOptions,
};
pub use json::Style as JsonStyle;
pub use model::{BoxError, Effect, Error, LockHolder, Problem, Result, limits};
pub use protocol::{CacheOutcome, Durability, Guarantee, Outcome, Reach, Replayed, WhileAway};
pub use raw::RawObject;
pub use rules::{
    ControllerNode, Deleters, DeletionChange, DeletionReason, ExplainedEntry, ExplainedKey,
    Explanation, FurtherParam, Key, KeyIter, KeyList, NO_TASKS, ParamValue, Params, Rules,
    RulesBuilder, RulesDiff, RulesGraph, SaveNeeds, SlotCheck, SlotFinding, Slots, TaskNode,
    TemplateChange, TtlChange, UnknownTasks,
};

pub use store::{
    Document, Documents, HeldLock, KeepAlive, ListedDocument, Locked, LostLock, Save, SaveError,
    Store, StoreBuilder, Transaction, TransactionError, Values,
};

/// Runs the README's program as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
