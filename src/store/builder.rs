use super::{
    Inner, KeepAlive, LostLock, Store, Trace,
    keep_alive::OnLost,
    names::{Layout, LayoutOptions},
    save,
    snapshots::Snapshots,
};
use crate::{
    cache::Cache,
    disk::{FileSystem, OUTBOX_FOLDER, Root},
    json::Style as JsonStyle,
    model::{
        Error, Result,
        error::{Kind, io_error},
        limits,
    },
    op::Wait,
    protocol::{Guarantee, WhileAway},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// Where a [`Store`] keeps its documents, and how it locks them. Every option states its default.
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, KeepAlive, Rules, Store};
/// use std::time::Duration;
///
/// # let folder = tempfile::tempdir()?;
/// let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// let store = Store::builder(&cache)
///     .root(folder.path())
///     .run_param("shop_id")
///     .layout_of("product", "{shop_id}/product-{sku}.json")
///     .lock_ttl(Duration::from_secs(30))
///     .lock_wait(Duration::from_secs(5))
///     .open()?;
/// # drop(store);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[must_use = "a builder does nothing until it is opened"]
pub struct StoreBuilder {
    cache: Cache,
    root: Option<PathBuf>,
    layout: LayoutOptions,
    lock_ttl: Duration,
    lock_wait: Duration,
    keep_alive: KeepAlive,
    while_away: WhileAway,
    has_locks: bool,
    on_lost: Option<OnLost>,
    max_document_bytes: u64,
    file_system: FileSystem,
    snapshot_entries: usize,
    snapshot_bytes: u64,
    style: JsonStyle,
    wait: Option<Wait>,
    guarantee: Guarantee,
    trace: Option<Trace>,
}

impl StoreBuilder {
    pub(super) fn new(cache: Cache) -> Self {
        Self {
            cache,
            root: None,
            layout: LayoutOptions {
                run_param: "run_id".to_owned(),
                layout: None,
                layouts: Vec::new(),
                lock_key: None,
            },
            lock_ttl: limits::DEFAULT_LOCK_TTL,
            lock_wait: limits::DEFAULT_LOCK_WAIT,
            keep_alive: KeepAlive::default(),
            while_away: WhileAway::default(),
            has_locks: true,
            on_lost: None,
            max_document_bytes: limits::DEFAULT_MAX_DOCUMENT_BYTES,
            file_system: FileSystem::default(),
            snapshot_entries: limits::DEFAULT_SNAPSHOT_ENTRIES,
            snapshot_bytes: limits::DEFAULT_SNAPSHOT_BYTES,
            style: JsonStyle::default(),
            wait: None,
            guarantee: Guarantee::default(),
            trace: None,
        }
    }

    /// The folder that holds the run folders. A missing folder is created, which is logged at the
    /// level of information. No default.
    ///
    /// Accounts that may write to it may also use the run folders, journals and outboxes created in
    /// it, whatever the umask of the account that creates them. For a group, use `chmod 2775`, for
    /// example.
    pub fn root(mut self, root: impl AsRef<Path>) -> Self {
        self.root = Some(root.as_ref().to_owned());
        self
    }

    /// The placeholder for the run id; `run_id` by default. Layouts must use the same name.
    pub fn run_param(mut self, name: impl Into<String>) -> Self {
        self.layout.run_param = name.into();
        self
    }

    /// The path of documents below the root: a folder and a file name; `{run_id}/{controller}.nodb`
    /// by default, with the name of the [run param](Self::run_param). The folder is the run param
    /// alone. The file name contains `{controller}` and every further placeholder of the keys of
    /// controllers that are documents, so that no two documents share a file. For controllers with
    /// other placeholders, use [`layout_of`](Self::layout_of).
    pub fn layout(mut self, layout: impl Into<String>) -> Self {
        self.layout.layout = Some(layout.into());
        self
    }

    /// The path of one controller's documents, instead of [`layout`](Self::layout): the run param's
    /// folder, and a file name with every further placeholder of its key. Layouts of two
    /// controllers that could produce the same file are refused when the store is opened. No
    /// default; call it once for each such controller.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::{Cache, Document, Params, RawObject, Rules, Store};
    ///
    /// let rules = r#"{ "version": "1.1",
    ///     "cache_keys": { "product": "{{{shop_id}}}:product:{sku}", "order": "{{{shop_id}}}:order:{year}:{number}",
    ///                     "prices": "{{{shop_id}}}:prices" },
    ///     "depends_on": { "prices": ["product"] }, "rules": {} }"#;
    /// let cache = Cache::builder(rules.parse::<Rules>()?).in_memory().open()?;
    /// # let root = tempfile::tempdir()?;
    /// let store = Store::builder(&cache).root(root.path()).run_param("shop_id")
    ///     .layout("{shop_id}/{controller}.json")
    ///     .layout_of("product", "{shop_id}/product-{sku}.json")
    ///     .layout_of("order", "{shop_id}/order-{year}-{number}.json")
    ///     .open()?;
    /// let tea: Document<RawObject> =
    ///     store.document_with("main-street", "product", Params::new().with("sku", "tea"))?;
    /// tea.create(&RawObject::from_json(r#"{"cents":400}"#)?)?;
    /// assert_eq!(store.documents("main-street")?[0].to_string(), "product[sku=tea]");
    /// # Ok::<(), cachetx::BoxError>(())
    /// ```
    pub fn layout_of(mut self, controller: impl Into<String>, layout: impl Into<String>) -> Self {
        self.layout.layouts.push((controller.into(), layout.into()));
        self
    }

    /// The key of a document's lock, for programs that share it, such as
    /// `nodb-lock:{run_id}:{controller}.nodb`. By default it is derived from the value's key.
    pub fn lock_key(mut self, template: impl Into<String>) -> Self {
        self.layout.lock_key = Some(template.into());
        self
    }

    /// How long a lock lives unless it is renewed, as it is [by default](Self::keep_alive); so it
    /// is also how long others wait for the lock of a process that died. 60 s by default.
    /// Milliseconds count; from 1 ms to a day.
    pub fn lock_ttl(mut self, ttl: Duration) -> Self {
        self.lock_ttl = ttl;
        self
    }

    /// How long [`Document::lock`](crate::Document::lock) waits for another holder; 10 s by
    /// default, zero means one try.
    pub fn lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = wait;
        self
    }

    /// Whether a held lock is renewed in the background; [`KeepAlive::On`] by default. Threads of
    /// the cache renew all its locks: one thread, and up to eight while servers do not answer or
    /// there is much to do. So the TTL must be longer than half a round trip for each lock that is
    /// held, and longer than half a minute if a Cluster may lose a node, since the first renewals
    /// then time out. A guard that is kept for long makes others wait for as long.
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// What [`Document::lock`](crate::Document::lock) does while the server is unreachable;
    /// [`WhileAway::Fail`] by default. [`WhileAway::OsLock`] describes what it excludes and what it
    /// does not.
    pub fn while_away(mut self, while_away: WhileAway) -> Self {
        self.while_away = while_away;
        self
    }

    /// Declares that nobody locks these documents: neither
    /// [`Document::lock`](crate::Document::lock) of any process, nor another program that writes
    /// them. Then [`Document::update`](crate::Document::update) does not ask the server for a
    /// lock's holder, and takes one round trip. Locks and transactions of this store are refused
    /// ([`Error::is_config`]). Creating and deleting documents still takes the lock, but a deletion
    /// may be refused as a conflict if an update came in between. By default documents have locks,
    /// which updates respect.
    ///
    /// If the declaration is false, updates still lose no data of those who hold a lock of this
    /// library: they get a conflict when they save.
    pub fn without_locks(mut self) -> Self {
        self.has_locks = false;
        self
    }

    /// Calls `hook` as soon as a lock is found to be lost while its guard holds it: it was cleared,
    /// deleted or taken over, its process was halted for longer than its TTL, or the server was
    /// unreachable for that long. No hook by default.
    ///
    /// It is called once for each lock, in the thread that finds out: usually one of the few that
    /// renew all locks of the cache, so it must be short. A panic in it is logged. With
    /// [`KeepAlive::Off`] only the guard's own calls find out. For one guard, use
    /// [`Locked::on_lost`](crate::Locked::on_lost).
    pub fn on_lock_lost(mut self, hook: impl Fn(&LostLock) + Send + Sync + 'static) -> Self {
        self.on_lost = Some(Arc::new(hook));
        self
    }

    /// The most bytes of a document, read or written; 32 MiB by default.
    pub fn max_document_bytes(mut self, bytes: u64) -> Self {
        self.max_document_bytes = bytes;
        self
    }

    /// The root's file system; by default the operating system is asked.
    pub fn file_system(mut self, file_system: FileSystem) -> Self {
        self.file_system = file_system;
        self
    }

    /// The number of documents of which [`Document::read`](crate::Document::read) keeps a snapshot,
    /// counted once for each type they are read as; 4,096 by default, zero keeps none.
    pub fn snapshot_entries(mut self, entries: usize) -> Self {
        self.snapshot_entries = entries;
        self
    }

    /// The bytes of JSON text that all snapshots may come from; 64 MiB by default, zero keeps none.
    /// A parsed document may take several times as much memory. A document of more than a quarter
    /// of this may not be kept.
    pub fn snapshot_bytes(mut self, bytes: u64) -> Self {
        self.snapshot_bytes = bytes;
        self
    }

    /// How documents are written; compact by default.
    pub fn style(mut self, style: JsonStyle) -> Self {
        self.style = style;
        self
    }

    /// After each commit, waits until this many replicas have it, unless a save sets its own: see
    /// [`Save::wait_replicas`](crate::Save::wait_replicas). No wait by default; `time` is clamped
    /// to 1 ms to 60 s.
    pub fn wait_replicas(mut self, replicas: u32, time: Duration) -> Self {
        self.wait = Some(save::wait(replicas, time));
        self
    }

    /// What saves and deletions guarantee about dependents if their process dies midway, unless a
    /// save sets its own; [`Guarantee::BestEffort`] by default.
    pub fn guarantee(mut self, guarantee: Guarantee) -> Self {
        self.guarantee = guarantee;
        self
    }

    /// Calls `trace` with the name of each step, such as `disk.rename` or `server.Commit`, just
    /// before it is taken: to count steps, or to stop a test there.
    #[cfg(feature = "testing")]
    pub fn trace(mut self, trace: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.trace = Some(Arc::new(trace));
        self
    }

    /// Opens the root.
    ///
    /// # Errors
    ///
    /// An invalid option, or a root that cannot be created or opened.
    pub fn open(self) -> Result<Store> {
        let Some(root) = &self.root else {
            return Err(Error::new(Kind::Config(
                "no root: give StoreBuilder::root the folder that holds the run folders".to_owned(),
            )));
        };
        if self.lock_ttl < limits::MIN_LOCK_TTL || self.lock_ttl > limits::MAX_LOCK_TTL {
            return Err(Error::new(Kind::Config(format!(
                "a lock's TTL is from {:?} to {:?}, not {:?}",
                limits::MIN_LOCK_TTL,
                limits::MAX_LOCK_TTL,
                self.lock_ttl
            ))));
        }
        let layout = Layout::new(self.layout, &self.cache.rules())?;
        let path = root;
        let root = Arc::new(Root::open(path, self.max_document_bytes, self.file_system)?);
        // The path is used again and again: a relative one would follow the process's working
        // folder.
        let path = path
            .canonicalize()
            .map_err(|e| io_error(path, "find the store's root", e))?;
        self.cache.offer_outbox_folder(&path.join(OUTBOX_FOLDER));
        let host = rustix::system::uname();
        let store = Store(Arc::new(Inner {
            cache: self.cache,
            root,
            layout,
            snapshots: Snapshots::new(self.snapshot_entries, self.snapshot_bytes),
            lock_ttl: self.lock_ttl,
            lock_wait: self.lock_wait,
            keep_alive: self.keep_alive,
            while_away: self.while_away,
            has_locks: self.has_locks,
            on_lost: self.on_lost,
            style: self.style,
            wait: self.wait,
            guarantee: self.guarantee,
            host: host.nodename().to_string_lossy().into_owned(),
            trace: self.trace,
        }));
        store.finish_what_died();
        Ok(store)
    }
}
