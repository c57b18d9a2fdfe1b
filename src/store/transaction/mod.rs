//! Several documents saved as one.

mod tuples;

#[cfg(feature = "tokio")]
pub(crate) use tuples::Target;

use super::{Document, Save, Store, hold::Hold, names::Names, observed::Saving};
#[cfg(feature = "tokio")]
use crate::cache::Cache;
use crate::{
    cache::observe::SaveKind,
    disk::JournalId,
    drive::now,
    engine::{Net, at_once},
    model::{Bytes, Error, Result, error::Kind, token},
    protocol::{
        Outcome,
        group::{self, Plan},
    },
    store::LostLock,
};
use arcstr::Substr;
use std::{
    collections::HashSet,
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

/// Several documents of one store, locked together: their data, and the right to save all or
/// nothing. Dropping it releases all locks without saving.
///
/// It guarantees that no crash, power loss or failure leaves some documents saved and others not.
/// It does not isolate readers: one that reads two of the documents while they are being saved may
/// see one new and one old. A caller that holds their locks does not.
///
/// A transaction whose process died midway is finished by the next visitor: each save,
/// [`Document::lock`] and [`Document::read`] that goes to the file,
/// [`StoreBuilder::open`](crate::StoreBuilder::open), and, every half second in the background,
/// each process that has the store open. Until then a [`Document::read`] that finds its snapshot
/// still current returns that.
///
/// It has no lifetime, so it can be moved anywhere.
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, Document, Rules, Store};
/// # use serde::{Deserialize, Serialize};
/// #[derive(Serialize, Deserialize)]
/// struct Count {
///     n: u64,
/// }
///
/// # let root = std::env::temp_dir().join(format!("cachetx-doc-{}", std::process::id()));
/// # let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).in_memory().open()?;
/// let store = Store::builder(cache).root(&root).open()?;
/// let a: Document<Count> = store.document("copacetic-sled", "climate")?;
/// let b: Document<Count> = store.document("copacetic-sled", "soils")?;
/// a.create(&Count { n: 1 })?;
/// b.create(&Count { n: 2 })?;
///
/// let mut tx = store.transaction((&a, &b))?;
/// {
///     let (a, b) = &mut *tx;
///     a.n += b.n;
///     b.n = 0;
/// }
/// tx.commit(["build_climate"])?;
/// assert_eq!((a.read()?.n, b.read()?.n), (3, 0));
/// # std::fs::remove_dir_all(root).ok();
/// # Ok::<(), cachetx::Error>(())
/// ```
#[must_use = "dropping it releases the locks without saving"]
pub struct Transaction<V> {
    values: V,
    /// In the order of the values.
    holds: Vec<Hold>,
    store: Store,
    /// Whether a thread or a task has it.
    net: Net,
}

/// One to eight documents, as a tuple of references. Sealed.
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// let one = store.transaction((&tea,))?; // a tuple of references
/// assert_eq!(one.0["cents"], 400);
/// # drop(one);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
pub trait Documents: tuples::Parts {}

/// Makes a tuple from what was read under the locks.
pub(crate) type Parse<V> = fn(Vec<(Hold, Bytes)>) -> Result<tuples::Parsed<V>>;

impl Store {
    /// Locks several documents of this store and reads their files. Waits for other holders for as
    /// long as the store allows (10 s by default), for all of them together. Locks are taken in a
    /// fixed order, so callers that name the same documents in different orders do not deadlock.
    ///
    /// # Errors
    ///
    /// As [`Document::lock`], of any of them; an unreachable server, whatever
    /// [`StoreBuilder::while_away`](crate::StoreBuilder::while_away) says; a document that is named
    /// twice or belongs to another store; documents whose keys are in several hash slots of a
    /// Cluster, unless the cache may split. No lock is held then.
    pub fn transaction<D: Documents>(&self, documents: D) -> Result<Transaction<D::Values>> {
        self.transaction_timeout(documents, self.0.lock_wait)
    }

    /// Like [`transaction`](Self::transaction), with its own wait; zero means one try.
    ///
    /// # Errors
    ///
    /// As [`Store::transaction`].
    pub fn transaction_timeout<D: Documents>(
        &self,
        documents: D,
        wait: Duration,
    ) -> Result<Transaction<D::Values>> {
        at_once(self.transaction_by(Net::Threads, documents.targets(), D::parse, wait))
    }

    pub(crate) async fn transaction_by<V>(
        &self,
        net: Net,
        targets: Vec<Document<()>>,
        parse: Parse<V>,
        wait: Duration,
    ) -> Result<Transaction<V>> {
        self.may_meet(&targets)?;
        let mut order: Vec<usize> = (0..targets.len()).collect();
        order.sort_by_key(|n| &targets[*n].names().lock_key);
        // A caller may wait without end, so this must not overflow.
        let until = now().boot.saturating_add(wait);
        let mut taken: Vec<Option<(Hold, Bytes)>> = targets.iter().map(|_| None).collect();
        for n in order {
            let left = until.saturating_sub(now().boot);
            taken[n] = Some(targets[n].take_from_server(net, left).await?);
        }
        let taken: Vec<(Hold, Bytes)> = taken.into_iter().flatten().collect();
        let tuples::Parsed { values, holds } = parse(taken)?;
        Ok(Transaction {
            values,
            holds,
            store: self.clone(),
            net,
        })
    }

    fn may_meet(&self, targets: &[Document<()>]) -> Result<()> {
        let (mut places, mut locks) = (HashSet::new(), HashSet::new());
        for target in targets {
            let names = target.names();
            let why = if !target.is_of(self) {
                "is a document of another store, so it cannot be saved as one with this store's"
            } else if !places.insert(&names.place) {
                "is named twice in one transaction"
            } else if !locks.insert(&names.lock_key) {
                "shares its lock with another document of the transaction: StoreBuilder::lock_key needs every placeholder that tells them apart"
            } else {
                continue;
            };
            let message = format!("{}: {why}", names.document);
            return Err(Error::new(Kind::Config(message)));
        }
        let owns: Vec<_> = targets.iter().map(|target| &target.names().entry).collect();
        self.cache().commits(&owns).map(drop)
    }
}

impl<V> Transaction<V> {
    /// Releases all locks without saving, and returns the data.
    pub fn unlock(this: Self) -> V {
        let Self { values, holds, .. } = this;
        drop(holds);
        values
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn cache(&self) -> &Cache {
        self.store.cache()
    }

    #[cfg(feature = "tokio")]
    pub(crate) async fn unlock_by(self) -> V {
        for hold in self.holds {
            hold.release_in_task().await;
        }
        self.values
    }

    /// Calls `hook` as soon as one of the locks is found to be lost, once for each; see
    /// [`Locked::on_lost`](crate::Locked::on_lost).
    pub fn on_lost(this: &mut Self, hook: impl Fn(&LostLock) + Send + Sync + 'static) {
        let hook = Arc::new(hook);
        for hold in &this.holds {
            let hook = Arc::clone(&hook);
            hold.on_lost(Box::new(move |lost| hook(lost)));
        }
    }

    /// Renews all locks for their whole TTL. This is done in the background, unless the store says
    /// [`KeepAlive::Off`](crate::KeepAlive::Off).
    ///
    /// # Errors
    ///
    /// [`Error::is_lock_lost`] if one expired or was cleared; an unreachable server, which leaves
    /// them as they were.
    pub fn renew(this: &mut Self) -> Result<()> {
        at_once(this.renew_by())
    }

    pub(crate) async fn renew_by(&mut self) -> Result<()> {
        for hold in &mut self.holds {
            hold.renew().await?;
        }
        Ok(())
    }

    /// Whether one of the locks is known to be lost, or has expired by this machine's clock. A
    /// commit then fails.
    #[must_use]
    pub fn is_lost(this: &Self) -> bool {
        Self::remaining(this).is_zero()
    }

    /// The time that all locks live at least, unless they are renewed.
    #[must_use]
    pub fn remaining(this: &Self) -> Duration {
        let lives = this.holds.iter().map(Hold::remaining);
        lives.min().unwrap_or_default()
    }
}

impl<V: Values> Transaction<V> {
    /// Writes all files, sets all entries, deletes the documents' dependents and what the tasks
    /// make out of date, and releases all locks. Either all files are new or none is, whatever
    /// fails and when.
    ///
    /// # Errors
    ///
    /// See [`Transaction::commit_with`].
    pub fn commit(
        self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Outcome, TransactionError<V>> {
        self.commit_with(Save::new().tasks(tasks))
    }

    /// Like [`commit`](Self::commit), with all options of a [`Save`]. Tasks are expanded for each
    /// document, with its own params.
    ///
    /// # Errors
    ///
    /// Only before the first file is replaced, which happens after the commit point, the synced
    /// journal: an unknown task, data that JSON cannot represent (`NaN`), a full disk, keys in
    /// several hash slots of a Cluster, a `READONLY` marker, a file that cannot be replaced (for
    /// example because it is immutable or a mount point: [`Error::is_io`]), or a guard that may no
    /// longer write ([`Error::is_conflict`], [`Error::is_fenced`], [`Error::is_lock_lost`]) for any
    /// of the documents. Nothing was changed, and the error returns the guard. [`Error::effect`] is
    /// [`Effect::Unknown`](crate::Effect::Unknown) only if the disk failed in a way that leaves
    /// even this unknown after a crash. Later failures do not make the commit fail: see
    /// [`Outcome::cache`] and [`Outcome::durability`].
    pub fn commit_with(self, save: Save) -> Result<Outcome, TransactionError<V>> {
        at_once(self.commit_by(save))
    }

    pub(crate) async fn commit_by(mut self, save: Save) -> Result<Outcome, TransactionError<V>> {
        let bytes = self.values.bytes(&self.holds);
        let saved = self.save(bytes, &save).await;
        saved.map_err(|e| TransactionError::new(e, self))
    }
}

impl<V> Transaction<V> {
    /// Saves these texts of the documents and returns the outcome.
    async fn save(&mut self, bytes: Result<Vec<Bytes>>, save: &Save) -> Result<Outcome> {
        let store = self.store.clone();
        let names: Vec<_> = self.holds.iter().map(Hold::names).collect();
        let documents: Vec<&Names> = names.iter().map(|names| &**names).collect();
        let kind = SaveKind::Transaction;
        let mut saving = Saving::begin(store.cache(), kind, &documents, &save.tasks);
        let span = saving.span.clone();
        let saved = span.around(self.save_all(bytes, save, &mut saving)).await;
        saving.end(saved.as_ref());
        saved
    }

    async fn save_all(
        &mut self,
        bytes: Result<Vec<Bytes>>,
        save: &Save,
        saving: &mut Saving<'_>,
    ) -> Result<Outcome> {
        let cache = self.store.cache();
        let mut members = Vec::with_capacity(self.holds.len());
        // Own entries are set, so they must not be deleted; nothing is deleted twice.
        let owns: Vec<_> = self.holds.iter().map(Hold::entry).collect();
        let mut named: HashSet<Substr> = owns.iter().map(|own| own.value.clone()).collect();
        for (hold, bytes) in self.holds.iter().zip(bytes?) {
            members.push(hold.member(save, bytes, &mut named)?);
        }
        members.sort_by(|a, b| a.place.cmp(&b.place));
        let owns: Vec<_> = members.iter().map(|member| &member.own).collect();
        let plan = Plan {
            steps: cache.commits(&owns)?,
            members,
            id: token::hex_128()?,
            journal: JournalId::random()?,
            wait: save.wait_or(self.store.0.wait),
            guarantee: save.guarantee.unwrap_or(self.store.0.guarantee),
            mark_ttl: cache.mark_ttl(),
            patience: cache.response_timeout(),
        };
        self.holds.iter().for_each(Hold::begin_save);
        let mut work = self.store.workspace();
        let done = self
            .store
            .drive_by(self.net, &mut work, group::group(plan))
            .await;
        saving.round_trips = work.round_trips;
        let released = done.is_ok();
        let holds = self.holds.iter_mut();
        holds.for_each(|hold| hold.end_save(released));
        let done = done.map_err(|e| self.holds.iter().fold(e, |e, hold| hold.why_lost(e)))?;
        if done.lock_lost {
            saving.lock_lost();
        }
        Ok(done.outcome)
    }

    fn documents(&self) -> String {
        let names: Vec<&str> = self.holds.iter().map(Hold::document).collect();
        names.join(", ")
    }
}

impl<V> Deref for Transaction<V> {
    type Target = V;

    fn deref(&self) -> &V {
        &self.values
    }
}

impl<V> DerefMut for Transaction<V> {
    fn deref_mut(&mut self) -> &mut V {
        &mut self.values
    }
}

impl<V: fmt::Debug> fmt::Debug for Transaction<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("documents", &self.documents())
            .field("values", &self.values)
            .finish_non_exhaustive()
    }
}

/// A commit that failed before it changed anything: the error and the guard. All locks are still
/// held, so the data is not lost and the commit may be retried. Dropping it, or turning it into an
/// [`Error`] with `?`, releases them.
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// let transaction = store.transaction((&tea,))?;
/// if let Err(failed) = transaction.commit(["reprice"]) {
///     eprintln!("not saved: {failed}");
///     let transaction = failed.into_transaction(); // with its data; to retry
/// #   drop(transaction);
/// }
/// # Ok::<(), cachetx::BoxError>(())
/// ```
pub struct TransactionError<V>(Box<(Error, Transaction<V>)>);

impl<V> TransactionError<V> {
    fn new(error: Error, transaction: Transaction<V>) -> Self {
        Self(Box::new((error, transaction)))
    }

    /// Why nothing was saved.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.0
    }

    /// The error and the guard.
    pub fn into_parts(self) -> (Error, Transaction<V>) {
        *self.0
    }

    /// The guard, to retry.
    pub fn into_transaction(self) -> Transaction<V> {
        self.0.1
    }

    /// The data; the locks are released.
    #[must_use]
    pub fn into_values(self) -> V {
        Transaction::unlock(self.0.1)
    }
}

impl<V> fmt::Debug for TransactionError<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.error(), f)
    }
}

impl<V> fmt::Display for TransactionError<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl<V> std::error::Error for TransactionError<V> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().source()
    }
}

/// Keeps the error and releases the locks.
impl<V> From<TransactionError<V>> for Error {
    fn from(failed: TransactionError<V>) -> Self {
        failed.0.0
    }
}

/// The data of a transaction's documents, as a tuple. Sealed.
pub trait Values: tuples::Write {}
