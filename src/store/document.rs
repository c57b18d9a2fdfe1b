use super::{
    HeldLock, Save, Store,
    hold::Hold,
    locked::Locked,
    names::Names,
    observed::{Saving, lock_ended},
    snapshots::{Kept, Loaded},
};
#[cfg(feature = "tokio")]
use crate::cache::Cache;
use crate::{
    disk::digest,
    drive::nested::{self, Begun, Load},
    engine::{Net, at_once},
    json,
    model::{BoxError, Bytes, Error, Result, Span, error::Kind, token},
    op::keys,
    protocol::{self, Claim, Outcome, WhileAway, lock::Expect, read::Reader},
    rules::Params,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{any::TypeId, fmt, marker::PhantomData, sync::Arc, time::Duration};

/// A handle on one document. Cheap to clone; `T` may be any serde type, for example
/// [`RawObject`](crate::RawObject).
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
/// assert_eq!(tea.read()?["cents"], 400);
/// let mut held = tea.lock()?;
/// held["cents"] = 500.into();
/// held.dump_and_unlock_with_transaction(["reprice"])?;
/// assert_eq!(tea.read()?["cents"], 500);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
pub struct Document<T> {
    store: Store,
    names: Arc<Names>,
    /// `fn() -> T` keeps the handle `Send + Sync + Clone` whatever `T` is.
    content: PhantomData<fn() -> T>,
}

impl<T> Document<T> {
    pub(super) fn new(store: Store, names: Arc<Names>) -> Self {
        Self {
            store,
            names,
            content: PhantomData,
        }
    }

    /// The key of the document's bytes on the server, for any client to `GET`.
    #[must_use]
    pub fn cache_key(&self) -> &str {
        &self.names.entry.value
    }

    /// The controller's name.
    #[must_use]
    pub fn controller(&self) -> &str {
        &self.names.listed.controller
    }

    /// The same document with more params, which the tasks of every save then use.
    ///
    /// # Errors
    ///
    /// A param that is not allowed in a key, if the document's own names use it.
    pub fn with_params(self, more: Params) -> Result<Self> {
        let mut params = more;
        for (name, value) in self.names.params.iter() {
            params = params.with(name, value.clone());
        }
        let run = &*self.names.place.folder;
        let names = self
            .store
            .names(run, &self.names.listed.controller, params)?;
        Ok(Self::new(self.store, Arc::new(names)))
    }

    /// Whether the document's file exists.
    ///
    /// # Errors
    ///
    /// Something other than a plain file in its place, or a folder that cannot be searched.
    pub fn exists(&self) -> Result<bool> {
        let looking = protocol::read::exists(self.names.place.clone());
        self.store.drive(looking)
    }

    /// For operators: clears the document's lock, whoever holds it, and returns whether there was
    /// one. See [`Store::clear_locks`].
    ///
    /// # Errors
    ///
    /// An unreachable server.
    pub fn clear_lock(&self) -> Result<bool> {
        let cleared = self.store.clear(vec![self.names.lock_key.clone()])?;
        Ok(cleared > 0)
    }

    /// The present holder of the document's lock; `None` if it is free.
    ///
    /// # Errors
    ///
    /// A server that is unreachable, or that takes no writes: only one that does knows.
    pub fn holder(&self) -> Result<Option<HeldLock>> {
        let lock = (self.names.listed.clone(), self.names.lock_key.clone());
        Ok(self.store.holders(vec![lock])?.pop())
    }

    pub(crate) async fn create_by(&self, net: Net, bytes: Bytes) -> Result<Outcome> {
        let wait = self.store.0.lock_wait;
        let mut hold = self.take(net, wait, Expect::Nothing).await?.0;
        hold.save(Ok(bytes), &Save::new(), true).await
    }

    /// How long `lock` waits.
    #[cfg(feature = "tokio")]
    pub(crate) fn lock_wait(&self) -> Duration {
        self.store.0.lock_wait
    }

    /// The same document without its type.
    pub(crate) fn untyped(&self) -> Document<()> {
        Document::new(self.store.clone(), self.names.clone())
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn cache(&self) -> &Cache {
        self.store.cache()
    }

    pub(super) fn is_of(&self, store: &Store) -> bool {
        Arc::ptr_eq(&self.store.0, &store.0)
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    /// Takes the lock of a document that exists, and returns its bytes. Several locks at a time
    /// must come from the server: OS locks would be taken in another order than those of a
    /// transaction's files.
    pub(super) async fn take_from_server(&self, net: Net, wait: Duration) -> Result<(Hold, Bytes)> {
        self.may_be_locked()?;
        let taken = self.take_or(net, WhileAway::Fail, wait, Expect::Document);
        let (hold, bytes) = taken.await?;
        Ok((hold, bytes.unwrap_or_default()))
    }

    /// Refuses if a caller may not lock the document now.
    fn may_be_locked(&self) -> Result<()> {
        match self.store.0.has_locks {
            true => self.is_not_updating(),
            false => Err(Error::new(Kind::Config(format!(
                "{}: the store was opened with StoreBuilder::without_locks, so updates would not respect this lock: change the document by Document::update",
                self.names.document
            )))),
        }
    }

    /// Takes the lock and returns the file's bytes.
    pub(super) async fn take(
        &self,
        net: Net,
        wait: Duration,
        expect: Expect,
    ) -> Result<(Hold, Option<Bytes>)> {
        let while_away = self.store.0.while_away;
        self.take_or(net, while_away, wait, expect).await
    }

    async fn take_or(
        &self,
        net: Net,
        while_away: WhileAway,
        wait: Duration,
        expect: Expect,
    ) -> Result<(Hold, Option<Bytes>)> {
        let (inner, cache) = (&self.store.0, self.store.cache());
        let token = token::hex_128()?;
        let seed = u64::from_str_radix(&token[..16], 16).unwrap_or_default();
        let mut work = self.store.workspace();
        let taking = protocol::lock::take(Claim {
            document: self.names.document.clone(),
            place: self.names.place.clone(),
            lock_key: self.names.lock_key.clone(),
            fence_key: self.names.fence_key.clone(),
            ttl: inner.lock_ttl,
            token,
            owner: self.store.owner(),
            seed,
            behind: cache.is_awaited(&keys::channel(&self.names.lock_key)),
            wait,
            expect,
            while_away,
            patience: cache.response_timeout(),
        });
        let (began, span) = (cache.observers().begin(), Span::lock(&self.names.document));
        let taking = self.store.drive_by(net, &mut work, taking);
        let taken = span.around(taking).await;
        lock_ended(cache, &self.names, began, &span, &taken);
        let held = taken?;
        let work = held.os_lock.then_some(work);
        let (store, names) = (self.store.clone(), self.names.clone());
        Ok(Hold::new(net, store, names, held, work))
    }
}

impl<T: Serialize> Document<T> {
    /// Writes a document that does not exist yet, under its lock. A missing run folder is created.
    ///
    /// # Errors
    ///
    /// A document that exists already, and everything that can stop a save before its file is in
    /// place: nothing was changed.
    pub fn create(&self, value: &T) -> Result<Outcome> {
        at_once(self.create_by(Net::Threads, self.bytes(value)?))
    }

    pub(crate) fn bytes(&self, value: &T) -> Result<Bytes> {
        let bytes = json::to_bytes(&self.names.document, value, self.store.0.style, None)?;
        Ok(bytes.into())
    }
}

impl<T: DeserializeOwned> Document<T> {
    /// Takes the lock and reads the file. Waits for another holder for as long as the store allows
    /// (10 s by default), and as long for the [circuit
    /// breaker](crate::CacheBuilder::circuit_breaker) to let it ask.
    ///
    /// # Errors
    ///
    /// [`Error::is_lock_held`] names the holder and the time left. Also: no such document; a file
    /// that is not JSON, or not a `T`; a `READONLY` marker; an unreachable server; a store [without
    /// locks](crate::StoreBuilder::without_locks).
    pub fn lock(&self) -> Result<Locked<T>> {
        self.lock_timeout(self.store.0.lock_wait)
    }

    /// Like [`lock`](Self::lock), with one try.
    ///
    /// # Errors
    ///
    /// As [`Document::lock`].
    pub fn try_lock(&self) -> Result<Locked<T>> {
        self.lock_timeout(Duration::ZERO)
    }

    /// Like [`lock`](Self::lock), with its own wait.
    ///
    /// # Errors
    ///
    /// As [`Document::lock`].
    pub fn lock_timeout(&self, wait: Duration) -> Result<Locked<T>> {
        at_once(self.lock_by(Net::Threads, wait))
    }

    pub(crate) async fn lock_by(&self, net: Net, wait: Duration) -> Result<Locked<T>> {
        self.may_be_locked()?;
        // From here on dropping the hold releases the lock.
        let (hold, bytes) = self.take(net, wait, Expect::Document).await?;
        let bytes = bytes.unwrap_or_default();
        let value = hold.parse(&bytes)?;
        Ok(Locked::new(value, hold.outer_of(&bytes)))
    }
}

impl<T: Serialize + DeserializeOwned> Document<T> {
    /// Locks the document, lets the closure change it, and saves it. After an error or a panic the
    /// lock is released and nothing is saved.
    ///
    /// # Errors
    ///
    /// The closure's own error, returned through [`Error::caller`]; and as [`Document::lock`] and
    /// [`Locked::dump_and_unlock`].
    pub fn locked<R>(&self, change: impl FnOnce(&mut T) -> Result<R, BoxError>) -> Result<R> {
        self.locked_with(Save::new(), change)
            .map(|(result, _)| result)
    }

    /// Like [`locked`](Self::locked), with the options of a save; also returns the outcome.
    ///
    /// # Errors
    ///
    /// As [`Document::locked`].
    pub fn locked_with<R>(
        &self,
        save: Save,
        change: impl FnOnce(&mut T) -> Result<R, BoxError>,
    ) -> Result<(R, Outcome)> {
        at_once(self.locked_by(Net::Threads, save, change))
    }

    pub(crate) async fn locked_by<R>(
        &self,
        net: Net,
        save: Save,
        change: impl FnOnce(&mut T) -> Result<R, BoxError>,
    ) -> Result<(R, Outcome)> {
        self.may_be_locked()?;
        self.change_under_lock(net, &save, || None, change, None)
            .await
    }

    /// `begin` records what this thread does while the caller's code runs; `part_of` is the
    /// operation that this is a part of.
    pub(super) async fn change_under_lock<R>(
        &self,
        net: Net,
        save: &Save,
        begin: impl FnOnce() -> Option<Begun>,
        change: impl FnOnce(&mut T) -> Result<R, BoxError>,
        part_of: Option<&mut Saving<'_>>,
    ) -> Result<(R, Outcome)> {
        let wait = self.store.0.lock_wait;
        let (mut hold, bytes) = self.take(net, wait, Expect::Document).await?;
        let bytes = bytes.unwrap_or_default();
        let (result, bytes) = {
            let _begun = begin();
            let mut value = hold.parse(&bytes)?;
            hold = hold.outer_of(&bytes);
            let result = change(&mut value).map_err(|e| Error::new(Kind::Caller(e)))?;
            (result, hold.to_bytes(&value))
        };
        let saved = match part_of {
            Some(saving) => hold.save_as_part(bytes, save, true, saving).await,
            None => hold.save(bytes, save, true).await,
        };
        Ok((result, saved?))
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Document<T> {
    /// Returns the document as it is in its file, whatever the server holds. If the file is
    /// unchanged since the last read (same change time, modification time, size and inode), the
    /// same `Arc` is returned again: one system call, no server, no parsing. Otherwise the file is
    /// read; the same bytes are not parsed again, and give the same `Arc`. Every call reads the
    /// file for the first 0.1 s after a save, and for 2 s after another program's change, since a
    /// second change could leave the same times; for 2.1 s after either on file systems that keep
    /// whole seconds, and on network file systems. Threads that read the same document share one
    /// load.
    ///
    /// If the server does not have the entry, a read sets it for others, under a lease that every
    /// save drops. It does not if the file is younger than two seconds, or if somebody else has the
    /// lease.
    ///
    /// A [`Transaction`](crate::Transaction) whose process died midway is finished before anything
    /// is read from the server or the file. Until somebody has finished it, an older snapshot may
    /// still be returned.
    ///
    /// A file that is missing or cut short is retried for some ms, since other programs replace
    /// files that way.
    ///
    /// # Errors
    ///
    /// No such document, or a file that cannot be read, is not JSON, or not a `T`. An unreachable
    /// server is not an error. [`Error::is_nested`] if `T`'s own `Deserialize` reads the same
    /// document, and so would wait for itself.
    pub fn read(&self) -> Result<Arc<T>> {
        let (store, place) = (&self.store.0, &self.names.place);
        let (owner, kind) = (Arc::as_ptr(store) as usize, TypeId::of::<T>());
        if Load::is_under_way(owner, kind, &self.names.document) {
            return Err(nested::refused(&self.names.document));
        }
        let now = || {
            if let Some(trace) = &store.trace {
                trace("disk.stat");
            }
            store.root.glance(place)
        };
        let got = store.snapshots.read(place, now, |kept| self.load(kept))?;
        if got.kept {
            store.cache.counters().reads_from_snapshot.add();
        }
        Ok(got.value)
    }

    /// The snapshot, if it is still the file's. `None` on a network file system, which may make a
    /// task wait.
    #[cfg(feature = "tokio")]
    pub(crate) fn read_hot(&self) -> Option<Arc<T>> {
        let (store, place) = (&self.store.0, &self.names.place);
        if store.root.is_on_network() {
            return None;
        }
        let now = || {
            if let Some(trace) = &store.trace {
                trace("disk.stat");
            }
            store.root.glance(place)
        };
        let value = store.snapshots.current(place, now)?;
        store.cache.counters().reads_from_snapshot.add();
        Some(value)
    }

    fn load(&self, kept: Option<Kept<T>>) -> Result<Loaded<T>> {
        let names = &self.names;
        let cache = self.store.cache();
        let found = self.store.drive(protocol::read::read(Reader {
            document: names.document.clone(),
            place: names.place.clone(),
            entry: names.entry.clone(),
            ttl: cache.entry_life(self.store.ttl(names)?),
            token: token::hex_128()?,
            lease_ttl: cache.lease_ttl(),
            patience: cache.response_timeout(),
        }))?;
        cache.counters().reads_from_file.add();
        let digest = digest(&found.bytes);
        let value = match kept.filter(|kept| kept.digest == digest) {
            Some(kept) => kept.value,
            None => {
                let load = Load {
                    owner: Arc::as_ptr(&self.store.0) as usize,
                    kind: TypeId::of::<T>(),
                    name: names.document.clone(),
                };
                let _begun = load.begin();
                Arc::new(json::parse(&names.document, &found.bytes)?)
            }
        };
        Ok(Loaded {
            value,
            bytes: found.bytes.len() as u64,
            version: found.version,
            digest,
        })
    }
}

impl<T> Clone for Document<T> {
    fn clone(&self) -> Self {
        Self::new(self.store.clone(), self.names.clone())
    }
}

impl<T> fmt::Debug for Document<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Document")
            .field(&self.names.document)
            .finish()
    }
}
