use super::{OnBusy, life::Lives, observe::Observers, slots::CrossSlot};
use crate::{
    engine::{
        Credentials, CredentialsSource, Engine, MemoryServer, ServerConfig, TlsOptions,
        TopologyConfig,
    },
    model::{BoxError, limits},
    rules::Rules,
};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// Options of a [`Cache`](crate::Cache) and of its connection to the server. Every option states its default.
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, Engine, Rules};
/// use std::time::Duration;
///
/// let cache = Cache::builder(Rules::from_path("rules/shop.json")?)
///     .url("redis://127.0.0.1/0")
///     .engine(Engine::Auto)
///     .response_timeout(Duration::from_millis(500))
///     .open_lazy()?;
/// # drop(cache);
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is opened"]
pub struct CacheBuilder {
    pub(super) rules: Rules,
    /// Used instead of a server.
    pub(super) memory: Option<MemoryServer>,
    pub(super) server: ServerConfig,
    pub(super) cross_slot: CrossSlot,
    pub(super) breaker_pause: Duration,
    pub(super) lease_ttl: Duration,
    pub(super) mark_ttl: Duration,
    pub(super) on_busy: OnBusy,
    pub(super) lives: Lives,
    pub(super) outbox: Option<PathBuf>,
    pub(super) takes_any_outbox: bool,
    pub(super) observers: Observers,
    /// Whether latencies are measured.
    pub(super) measures: bool,
}

impl CacheBuilder {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            memory: None,
            server: ServerConfig::new(""),
            cross_slot: CrossSlot::default(),
            breaker_pause: limits::DEFAULT_BREAKER_PAUSE,
            lease_ttl: limits::DEFAULT_LEASE_TTL,
            mark_ttl: limits::DEFAULT_MARK_TTL,
            on_busy: OnBusy::Wait(limits::DEFAULT_LOAD_WAIT),
            lives: Lives::default(),
            outbox: None,
            takes_any_outbox: false,
            observers: Observers::default(),
            measures: false,
        }
    }

    /// The server: `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, or
    /// `redis+unix:///path/to.sock?db=0&user=…&pass=…`. No default.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.server.url = url.into();
        #[cfg(feature = "redis-1")]
        {
            self.server.client = None;
        }
        self.memory = None;
        self
    }

    /// Connects through an existing client of the redis crate instead of a [`url`](Self::url), with
    /// that client's user, password, database, TLS and TCP settings. For a single server only. No
    /// default.
    ///
    /// The cache opens its own connections through the client: up to
    /// [`pool_size`](Self::pool_size), and one with RESP3 for messages that wake those who wait for
    /// a lock. [`open_async`](Self::open_async) accepts a client too. These connections block, so
    /// the runtime's blocking threads use them, one connection per request; with a URL, all tasks
    /// share one. Dropping a future during a request costs the connection.
    ///
    /// The client's own behaviour applies: connecting to a Unix socket, and its TLS handshake, may
    /// take longer than [`connect_timeout`](Self::connect_timeout); a reply that a signal
    /// interrupts counts as lost; and an ACL that denies messages is not logged.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// let rules = cachetx::Rules::from_path("rules/nodb.json")?;
    /// let client = redis::Client::open("redis://alice:secret@127.0.0.1/2")?;
    /// let cache = cachetx::Cache::builder(rules).client(client).open()?;
    /// # Ok::<(), cachetx::BoxError>(())
    /// ```
    #[cfg(feature = "redis-1")]
    #[cfg_attr(docsrs, doc(cfg(feature = "redis-1")))]
    pub fn client(mut self, client: redis::Client) -> Self {
        self.server.client = Some(client);
        self.memory = None;
        self
    }

    /// URLs of some nodes of a Cluster; the other nodes are discovered from them. User, password,
    /// database number and TLS of the first URL are used for all nodes. Only some Clusters have
    /// numbered databases (Valkey from 9.0 on, by `cluster-databases`); others refuse the number at
    /// boot. No default; replaces [`url`](Self::url).
    ///
    /// While nodes move slots or replace one another, an operation waits for up to the sum of the
    /// connect and response time-outs. If that is not enough, a lock fails as unavailable, and what
    /// a save could not tell the server is deferred.
    pub fn cluster(mut self, nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let seeds = nodes.into_iter().map(Into::into).collect();
        self.server.topology = TopologyConfig::Cluster { seeds };
        self.memory = None;
        self
    }

    /// What happens to a commit whose keys are in several hash slots of a Cluster;
    /// [`CrossSlot::Refuse`] by default.
    pub fn cross_slot(mut self, cross_slot: CrossSlot) -> Self {
        self.cross_slot = cross_slot;
        self
    }

    /// The primary that sentinels know by this name, and its successors. `sentinels` are URLs with
    /// the sentinels' own users and passwords, with `rediss://` if they use TLS. User, password,
    /// database number and TLS of the primary are taken from [`url`](Self::url), whose host and
    /// port are then ignored; without a URL there are none. No default.
    pub fn sentinel(
        mut self,
        name: impl Into<String>,
        sentinels: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let urls = sentinels.into_iter().map(Into::into).collect();
        let name = name.into();
        self.server.topology = TopologyConfig::Sentinel { name, urls };
        self.memory = None;
        self
    }

    /// Uses a model of a server inside this process instead of a server: for unit tests, and for a
    /// program without a server. It starts empty, is invisible to other processes, and ends with
    /// the last cache that uses it. Clones of this builder share it. [`url`](Self::url) switches
    /// back to a server.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::{Cache, CacheOutcome, Document, RawObject, Rules, Store};
    ///
    /// let root = tempfile::tempdir()?;
    /// std::fs::create_dir(root.path().join("copacetic-sled"))?;
    /// std::fs::write(root.path().join("copacetic-sled/climate.nodb"), r#"{"years": 100}"#)?;
    ///
    /// let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).in_memory().open()?;
    /// let store = Store::builder(&cache).root(root.path()).open()?;
    /// let climate: Document<RawObject> = store.document("copacetic-sled", "climate")?;
    /// let mut held = climate.lock()?;
    /// held.set("years", &30)?;
    /// let outcome = held.dump_and_unlock_with_transaction(["build_climate"])?;
    /// assert!(matches!(outcome.cache, CacheOutcome::Committed { .. }));
    ///
    /// assert_eq!(climate.read()?.get::<u32>("years")?, Some(30));
    /// assert_eq!(cache.stats().commits, 1);
    /// assert_eq!(cache.report().expect("it is there").engine, "memory");
    /// # Ok::<(), cachetx::BoxError>(())
    /// ```
    pub fn in_memory(mut self) -> Self {
        self.memory = Some(MemoryServer::new());
        self
    }

    /// Like [`in_memory`](Self::in_memory), on a model that other caches share or that a test
    /// stops.
    #[cfg(feature = "testing")]
    #[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
    pub fn memory_server(mut self, server: &MemoryServer) -> Self {
        self.memory = Some(server.clone());
        self
    }

    /// How operations run on the server; [`Engine::Auto`] by default. Has no effect in memory.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.server.engine = engine;
        self
    }

    /// The number of the database that holds locks and fences, for programs that share them. By
    /// default the cache's own database, which the URL names. For a single server only, not for a
    /// Cluster. Each operation then selects both databases, which needs `select` in an ACL. Has no
    /// effect in memory.
    pub fn lock_database(mut self, number: u32) -> Self {
        self.server.lock_database = Some(number);
        self
    }

    /// Does not leave a notice that these rules are in use: for programs that look at a server and
    /// exit. By default the notice lasts seven days, and other processes warn at boot if their
    /// rules differ and can produce the same keys.
    pub fn without_rules_notice(mut self) -> Self {
        self.server.leaves_notice = false;
        self
    }

    /// Time to open a connection; 1 s by default, never zero, and at most a day.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.server.connect_timeout = timeout;
        self
    }

    /// Time to wait for a reply; 1 s by default, never zero, and at most a day.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.server.response_timeout = timeout;
        self
    }

    /// The most connections to one server; 16 by default, and at least one. A thread that finds
    /// none free waits for up to the sum of the connect and response time-outs. Tasks of
    /// [`aio`](crate::aio) have the same number of their own, and one that they share.
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.server.pool_size = connections;
        self
    }

    /// The pause of the circuit breaker. After three failed waits in a row, no request is sent to
    /// the server for this long, so that not every save pays a time-out; then one call probes it.
    /// Meanwhile saves are deferred. In a Cluster each of 64 ranges of slots has its own breaker,
    /// so that an unreachable node does not slow down the others. 2 s by default, at most a day;
    /// zero turns it off. Its state is in [`Cache::stats`](crate::Cache::stats).
    ///
    /// A lock, an update or a transaction that may wait for another holder also waits for the
    /// breaker, up to its own time limit. One that may not wait, or that may use the OS lock
    /// instead ([`WhileAway::OsLock`](crate::WhileAway::OsLock)), does not.
    ///
    /// A failed wait is a time-out, or a failure that took more than half of one, during which no
    /// other call was answered. Calls that run at the same time count once: three such periods open
    /// the breaker, not three callers. A warning is logged once for each outage when the server
    /// does not answer, whether it refuses at once or not, and when the breaker opens. The first
    /// answer after it is logged as information.
    pub fn circuit_breaker(mut self, pause: Duration) -> Self {
        self.breaker_pause = pause;
        self
    }

    /// The life of a reader's lease ([`Cache::get_or_load`](crate::Cache::get_or_load)); 10 s by default, from 30 ms to an
    /// hour. It is renewed in the background while the loader runs, so it only has to outlive a
    /// pause of the process. If a loader's process dies, other readers wait for this long.
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// The life of the marks that keep readers from filling during a crash-safe save
    /// ([`Guarantee::CrashSafe`](crate::Guarantee::CrashSafe)) or [`Cache::invalidate_around`](crate::Cache::invalidate_around); 30
    /// s by default, from 30 ms to an hour. The writer renews them while it works and drops them
    /// when it ends, so they only have to outlive a pause of its process. If that process dies,
    /// entries stay empty for this long.
    pub fn mark_ttl(mut self, ttl: Duration) -> Self {
        self.mark_ttl = ttl;
        self
    }

    /// What a reader does if another reader is loading the entry; by default it waits for up to 10
    /// s.
    pub fn on_busy(mut self, on_busy: OnBusy) -> Self {
        self.on_busy = on_busy;
        self
    }

    /// Shortens the life of each entry by a random part, up to this one: with 0.1, entries live for
    /// nine tenths of their TTL in the rules up to all of it. For entries that are set together (a
    /// batch that warms a cache, a series of saves), which would otherwise all expire, and be
    /// loaded again, at the same time. It costs hits: with 0.1, a twentieth of all lives.
    ///
    /// It applies to every entry that this cache sets: fills, [`Cache::put`](crate::Cache::put) and the commits of
    /// saves. 0 by default, which shortens nothing; at most 0.5. A life is never lengthened.
    pub fn ttl_jitter(mut self, part: f64) -> Self {
        self.lives.jitter = part;
        self
    }

    /// [`Cache::get_or_load`](crate::Cache::get_or_load) loads an entry early if it expires within this time: one reader loads
    /// and fills it, and all others get the present value meanwhile. For values that take long to
    /// load and are read all the time: when such an entry expires, every reader waits for the one
    /// that loads. A good value is a little more than a load takes.
    ///
    /// It costs loads: each comes this much earlier, and one reader in each life waits for a load
    /// instead of having a hit. A hit also asks for the remaining life, in the same round trip
    /// (`PTTL`). An entry that nobody reads in that time expires as usual.
    ///
    /// The present value is returned if another reader has the lease, or if the server gives no
    /// lease. It is also returned if the loader fails while the entry still exists; that is logged
    /// as a warning and is not an error. A commit or an invalidation during the load refuses the
    /// fill as usual, and the caller gets the value that it loaded.
    ///
    /// Zero by default, which means never; at most half of an entry's shortest life counts.
    /// Documents that are [read](crate::Document::read) are not loaded early, since their file is
    /// at hand.
    pub fn early_refresh(mut self, left: Duration) -> Self {
        self.lives.early = left;
        self
    }

    /// The folder of the outbox, which records what the server did not take, synced, until the
    /// server has it. By default `.cachetx-outbox` in the root of the first store on this cache.
    /// Without either, records are kept in memory and the outcome is
    /// [`Unrecorded`](crate::CacheOutcome::Unrecorded). A missing folder is created.
    ///
    /// Processes that share the folder take over one another's records if they name the same
    /// server: the same host, port and database, or the same name of a primary that sentinels know.
    /// Records of a dead process that used another server are logged once and stay. Two Clusters
    /// cannot be told apart, so they must not share a folder. A server in memory has no folder: it
    /// ends with its process, and so does what it missed.
    pub fn outbox(mut self, folder: impl AsRef<Path>) -> Self {
        self.outbox = Some(folder.as_ref().to_owned());
        self
    }

    /// Takes over records that dead processes left for any server, and sends them to this one: for
    /// a server that has moved. `cachetx outbox replay --any-server` does this. By default only
    /// records for a server of the same name are taken over.
    pub fn outbox_of_any_server(mut self) -> Self {
        self.takes_any_outbox = true;
        self
    }

    /// TLS options for `rediss://` URLs: certificate authorities, a client certificate, the name
    /// that certificates are for. They apply to all servers, and to sentinels whose URLs are
    /// `rediss://`. See [`TlsOptions`] for the defaults.
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.server.tls = options;
        self
    }

    /// Takes user and password from a closure, called for each new connection, instead of from the
    /// URL: for passwords that are rotated, and for tokens that expire. By default the URL's, or
    /// none.
    ///
    /// It applies to every connection to a server with data: the nodes of a Cluster, the primary
    /// that sentinels name, and the connection for messages about locks. If a server refuses what
    /// the closure returned, the closure is called once more at once. Open connections stay open
    /// for as long as the server allows. The closure runs in the thread that needs a connection,
    /// which may be one of the library's own, and that thread waits for it: it should cache what it
    /// fetches, and must not use this cache. If it fails or panics, or if the server also refuses
    /// the second answer, the call fails as unavailable
    /// ([`Error::is_unavailable`](crate::Error::is_unavailable)), with no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::{Cache, Credentials, Rules};
    ///
    /// let rules = Rules::from_path("rules/nodb.json")?;
    /// let cache = Cache::builder(rules)
    ///     .url("redis://127.0.0.1:1/")
    ///     .credentials(|| {
    ///         let password = std::fs::read_to_string("/run/secrets/redis")?;
    ///         Ok(Credentials::new("alice", password.trim_end()))
    ///     })
    ///     .open_lazy()?;
    /// let error = cache.get("climate", &cachetx::Params::new().with("run_id", "r")).unwrap_err();
    /// assert!(error.is_unavailable() && error.to_string().contains("No such file"));
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn credentials(
        mut self,
        ask: impl Fn() -> Result<Credentials, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.server.credentials = Some(CredentialsSource::new(ask));
        self
    }

    /// Like [`credentials`](Self::credentials), for the sentinels of [`sentinel`](Self::sentinel).
    /// By default those of their URLs, or none.
    pub fn sentinel_credentials(
        mut self,
        ask: impl Fn() -> Result<Credentials, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.server.sentinel_credentials = Some(CredentialsSource::new(ask));
        self
    }
}
