//! Documents: files below a root, each with a lock, an entry on the server, and dependents given by
//! the rules.

mod backend;
mod builder;
mod delete;
mod document;
mod held_lock;
mod hold;
mod keep_alive;
mod listed;
mod listing;
mod locked;
mod names;
mod observed;
mod plan;
mod recovery;
mod save;
mod snapshots;
mod transaction;
mod update;

pub use builder::StoreBuilder;
pub use document::Document;
pub use held_lock::HeldLock;
pub use keep_alive::{KeepAlive, LostLock};
pub use listed::ListedDocument;
pub use locked::Locked;
pub use save::{Save, SaveError};
pub use transaction::{Documents, Transaction, TransactionError, Values};
#[cfg(feature = "tokio")]
pub(crate) use transaction::{Parse, Target};

use crate::{
    cache::Cache,
    disk::Root,
    json::Style as JsonStyle,
    model::Result,
    op::Wait,
    protocol::{Guarantee, WhileAway},
    rules::Params,
};
use keep_alive::OnLost;
use names::{Layout, Names};
use snapshots::Snapshots;
use std::{sync::Arc, time::Duration};

/// The document files below one root folder, and the cache that is kept up to date with them. Cheap
/// to clone.
///
/// # Examples
///
/// ```no_run
/// use cachetx::{Cache, Document, Rules, Store};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Climate { years: u32 }
///
/// let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).url("redis://127.0.0.1/").open()?;
/// let store = Store::builder(&cache).root("data/runs").open()?;
/// let document: Document<Climate> = store.document("copacetic-sled", "climate")?;
/// let mut climate = document.lock()?;
/// climate.years = 30;
/// climate.dump_and_unlock_with_transaction(["build_climate"])?;
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone)]
pub struct Store(Arc<Inner>);

/// Called with the name of each step just before it is taken.
type Trace = Arc<dyn Fn(&str) + Send + Sync>;

struct Inner {
    cache: Cache,
    root: Arc<Root>,
    layout: Layout,
    snapshots: Snapshots,
    lock_ttl: Duration,
    lock_wait: Duration,
    keep_alive: KeepAlive,
    while_away: WhileAway,
    has_locks: bool,
    on_lost: Option<OnLost>,
    style: JsonStyle,
    /// The wait of saves that do not set their own.
    wait: Option<Wait>,
    /// The guarantee of saves that do not set their own.
    guarantee: Guarantee,
    /// For locks: `host:pid`, so that an operator finds the holder. The pid is read at each lock,
    /// since the process may fork.
    host: String,
    trace: Option<Trace>,
}

impl Store {
    /// How long locks are waited for.
    #[cfg(feature = "tokio")]
    pub(crate) fn lock_wait(&self) -> Duration {
        self.0.lock_wait
    }

    /// Starts a builder with a cache (by value or by reference). Set a root and call
    /// [`StoreBuilder::open`].
    pub fn builder(cache: impl Into<Cache>) -> StoreBuilder {
        StoreBuilder::new(cache.into())
    }

    /// The cache of this store.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.0.cache
    }

    /// A handle on a run's document. Nothing is read, and nothing needs to exist yet.
    ///
    /// # Errors
    ///
    /// A run id that is not allowed as a folder's name or in a key, a run id or a file name of more
    /// than 233 bytes, an unknown controller, or one whose key has more placeholders than the run
    /// (use [`Store::document_with`]).
    pub fn document<T>(&self, run: &str, controller: &str) -> Result<Document<T>> {
        self.document_with(run, controller, Params::new())
    }

    /// Like [`document`](Self::document), for a controller whose key, or whose tasks' keys, have
    /// more placeholders than the run.
    ///
    /// `run` is the value of the [run param](StoreBuilder::run_param); a param of that name among
    /// `params` is ignored.
    ///
    /// # Errors
    ///
    /// As [`Store::document`].
    pub fn document_with<T>(
        &self,
        run: &str,
        controller: &str,
        params: Params,
    ) -> Result<Document<T>> {
        let names = self.names(run, controller, params)?;
        Ok(Document::new(self.clone(), Arc::new(names)))
    }

    fn names(&self, run: &str, controller: &str, params: Params) -> Result<Names> {
        let space = self.cache().space();
        let rules = self.cache().rules();
        Names::new(&rules, &self.0.layout, space, run, controller, params)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("root", &self.0.root)
            .finish_non_exhaustive()
    }
}
