use super::{
    Cache, Inner, OnBusy, entries,
    life::Lives,
    observe::{Event, Observer, Observers, Recorder},
    replayer::Replayer,
    stats::Counters,
    timer::Timer,
};
use crate::{
    disk::Outbox,
    drive::blocks,
    engine::{
        Breaker, Credentials, CredentialsSource, Engine, MemoryEngine, MemoryServer, Performer,
        ServerConfig, ServerEngine, TlsOptions, TopologyConfig,
    },
    model::{
        BoxError, Error, Result,
        error::{Kind, io_error},
        limits,
    },
    op::Space,
    rules::{LiveRules, Params, Rules},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

/// How a [`Cache`] reaches its server. Every option states its default.
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
    rules: Rules,
    /// Takes the place of a server.
    memory: Option<MemoryServer>,
    server: ServerConfig,
    cross_slot: CrossSlot,
    breaker_pause: Duration,
    lease_ttl: Duration,
    mark_ttl: Duration,
    on_busy: OnBusy,
    lives: Lives,
    outbox: Option<PathBuf>,
    takes_any_outbox: bool,
    pub(super) observers: Observers,
    /// Whether latencies are measured.
    pub(super) measures: bool,
}

/// What becomes of a commit, or of an invalidation, whose keys are in several hash slots of a Cluster, so that no one step
/// can have all of them.
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, CrossSlot, Rules};
///
/// let cache = Cache::builder(Rules::from_path("rules/minimal.json")?)
///     .cluster(["redis://10.0.0.1/", "redis://10.0.0.2/"])
///     .cross_slot(CrossSlot::Split)
///     .open_lazy()?;
/// # drop(cache);
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrossSlot {
    /// It fails before anything is written, with [`Error::is_cross_slot`](crate::Error::is_cross_slot). The default.
    #[default]
    Refuse,
    /// The own entry, its lock and the dependents in its slot are one atomic step; those in other slots are deleted after it,
    /// a step for each slot. [`Outcome::reach`](crate::Outcome::reach) then says [`Reach::Split`](crate::Reach::Split): a
    /// reader may see the new entry beside old dependents for a moment, and where the process dies in between, until
    /// their TTL.
    Split,
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

    /// The server of a client of the caller's own, in place of [`url`](Self::url): its connections are used, with its user, password, database, TLS and
    /// TCP settings. For one server. No default.
    ///
    /// The cache opens connections of its own by it, up to [`pool_size`](Self::pool_size), and one by RESP3 for messages that wake
    /// whoever waits for a lock. [`open_async`](Self::open_async) takes it too: since these connections block, threads of the runtime that may block make the
    /// exchanges, one connection for each, where by a URL all tasks share one. A future that is dropped during one costs the connection.
    ///
    /// What the client does is as it does it: connecting to a Unix socket, and its TLS handshake, may take longer than
    /// [`connect_timeout`](Self::connect_timeout); a reply that a signal interrupts counts as lost; and that an ACL denies messages is not logged.
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

    /// A Cluster: URLs of some of its nodes, which tell of the others. User, password, database number and TLS of the first
    /// are used for all. Only some Clusters have numbered databases (Valkey from 9.0 on, by `cluster-databases`): others
    /// refuse the number when they are booted. No default; takes the place of [`url`](Self::url).
    ///
    /// Where nodes move slots or replace one another, an operation waits for as long as the time-outs for connecting and
    /// for a reply together; where that is not enough, a lock is refused as unavailable, and what a save could not tell the
    /// server is deferred.
    pub fn cluster(mut self, nodes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let seeds = nodes.into_iter().map(Into::into).collect();
        self.server.topology = TopologyConfig::Cluster { seeds };
        self.memory = None;
        self
    }

    /// What becomes of a commit whose keys are in several hash slots of a Cluster; [`CrossSlot::Refuse`] by default.
    pub fn cross_slot(mut self, cross_slot: CrossSlot) -> Self {
        self.cross_slot = cross_slot;
        self
    }

    /// The primary of that name, which sentinels know, and its successors. `sentinels` are URLs with the sentinels' own
    /// users and passwords, and `rediss://` where they speak TLS. User, password, database number and TLS of the primary are
    /// those of [`url`](Self::url), whose host and port then mean nothing; without one there are none. No default.
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

    /// No server but a model of one inside this process: for unit tests, and for a program that has no server yet. It
    /// starts empty, other processes do not see it, and it ends with the last cache on it; clones of this builder share it.
    /// [`url`](Self::url) goes back to a server.
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

    /// Like [`in_memory`](Self::in_memory), on a server that others share or that a test stops.
    #[cfg(feature = "testing")]
    #[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
    pub fn memory_server(mut self, server: &MemoryServer) -> Self {
        self.memory = Some(server.clone());
        self
    }

    /// How operations run on the server; [`Engine::Auto`] by default. In memory there is one way.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.server.engine = engine;
        self
    }

    /// The number of the database in which locks and fences live, for programs that share them; by default the cache's own,
    /// which the URL names. On a single server only, not in a Cluster. Each operation selects both then, which
    /// needs `select` in an ACL. In memory there is one.
    pub fn lock_database(mut self, number: u32) -> Self {
        self.server.lock_database = Some(number);
        self
    }

    /// Does not tell the boots of other processes that these rules are in use: for programs that look at a server and end. By default
    /// they are told, for seven days, and warn where their rules are others and can name the same keys.
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

    /// Connections to a server at most; 16 by default, and at least one. A thread that finds none free waits for up to the
    /// time-outs for connecting and for a reply together. Tasks of [`aio`](crate::aio) have as many of their own, and one that they share.
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.server.pool_size = connections;
        self
    }

    /// The circuit breaker: once the server made callers wait in vain three times in a row, it is not asked for this long,
    /// so that not every save pays a time-out; then one call tries again. Meanwhile saves are
    /// deferred. In a Cluster each of 64 ranges of slots has its own, so that a node that is away does not cost the others.
    /// 2 s by default, at most a day; zero turns it off. Its state is in [`Cache::stats`].
    ///
    /// A lock, an update or a transaction that may wait for another holder waits for this too, as long as its own patience lasts; one that may
    /// not wait, or that the OS lock may replace ([`WhileAway::OsLock`](crate::WhileAway::OsLock)), does not.
    ///
    /// A wait in vain is a time-out, or more than half of one, during which nobody else was answered. Calls that are under way at the same time
    /// count once: three such moments open it, not three callers. That the server is away, refusing at once or not, and that the breaker has opened, is
    /// logged once as a warning for each outage, and the first answer after it for information.
    pub fn circuit_breaker(mut self, pause: Duration) -> Self {
        self.breaker_pause = pause;
        self
    }

    /// How long a reader's lease lives ([`Cache::get_or_load`]); 10 s by default, from 30 ms to an hour. It is renewed in
    /// the background while the loader runs, so that it only has to outlive a pause of the process; when a loader's process
    /// dies, others wait for so long.
    pub fn lease_ttl(mut self, ttl: Duration) -> Self {
        self.lease_ttl = ttl;
        self
    }

    /// How long the marks of a crash-safe save ([`Guarantee::CrashSafe`](crate::Guarantee::CrashSafe)), or of
    /// [`Cache::invalidate_around`], keep readers from filling; 30 s by default, from 30 ms to an hour. They are dropped by
    /// the writer's own end and renewed while it is at work, so they only have to outlive a pause of its process; when
    /// that dies, entries stay empty for so long.
    pub fn mark_ttl(mut self, ttl: Duration) -> Self {
        self.mark_ttl = ttl;
        self
    }

    /// What a reader does about an entry that somebody else is loading; it waits for up to 10 s by default.
    pub fn on_busy(mut self, on_busy: OnBusy) -> Self {
        self.on_busy = on_busy;
        self
    }

    /// Takes a random part off each entry's life, up to this one: 0.1 lets entries live between nine tenths of what the rules
    /// say and all of it. For entries that are set together (a batch that warms a cache, one save after the other) and would
    /// all end in the same moment, when everything is loaded at once. It costs hits: with 0.1, a twentieth of all lives.
    ///
    /// It goes for every entry that this cache sets: fills, [`Cache::put`] and the commits of saves. 0 by default, which
    /// takes nothing; at most 0.5. A life is never lengthened.
    pub fn ttl_jitter(mut self, part: f64) -> Self {
        self.lives.jitter = part;
        self
    }

    /// [`Cache::get_or_load`] loads an entry anew that lives no longer than this: one reader does, and fills; all others get
    /// the present value meanwhile. For values that take long to load and are asked for all the time: when such an
    /// entry ends, every reader waits for the one that loads. A good time is a little more than a load takes.
    ///
    /// It costs loads: each comes so much earlier, and one reader in each life waits for it where it had a hit. A hit asks for the
    /// remaining life too, in the same round trip (`PTTL`). An entry that nobody asks for in that time ends as ever.
    ///
    /// The present value is returned where somebody else has the lease or the server gives none, and where the
    /// loader fails while the entry is still there: that is logged as a warning, and no error. A commit or an invalidation
    /// during the load refuses the fill, as ever; the caller gets what it loaded.
    ///
    /// Zero by default, which is never; at most half of an entry's shortest life counts. Documents that are
    /// [read](crate::Document::read) are not loaded early: their file is at hand.
    pub fn early_refresh(mut self, left: Duration) -> Self {
        self.lives.early = left;
        self
    }

    /// The folder of the outbox: what the server did not take is recorded there, synced, until it has. By default
    /// `.cachetx-outbox` in the root of the first store on this cache; without either, it is kept in memory and the outcome
    /// says [`Unrecorded`](crate::CacheOutcome::Unrecorded). It is made where it is missing.
    ///
    /// Processes that share the folder take over from one another where they name the same server: the same host, port and database, or the
    /// same name of a primary that sentinels know. What a dead process with another server has left is logged once, and stays. Of
    /// two Clusters this is not told, so they must not share a folder. For a
    /// server in memory there is no folder: it ends with its process, and so does what it missed.
    pub fn outbox(mut self, folder: impl AsRef<Path>) -> Self {
        self.outbox = Some(folder.as_ref().to_owned());
        self
    }

    /// Takes over what dead processes left for any server, to bring it to this one: for a server that has moved. `cachetx outbox replay`
    /// does. By default only what is for a server that is named the same.
    pub fn outbox_of_any_server(mut self) -> Self {
        self.takes_any_outbox = true;
        self
    }

    /// How TLS is spoken where a URL says `rediss://`: authorities, a client certificate, the name that certificates are for.
    /// It goes for all servers, and for sentinels whose URLs say `rediss://`. See [`TlsOptions`] for the defaults.
    pub fn tls(mut self, options: TlsOptions) -> Self {
        self.server.tls = options;
        self
    }

    /// User and password from a closure that is asked for each new connection, in place of those of the URL: for passwords
    /// that are rotated, and for tokens that run out. By default the URL's, or none.
    ///
    /// It goes for every connection to a server with data: a Cluster's nodes, the primary that sentinels name, and the
    /// connection that messages about locks come by. Where a server refuses what it returned, it is asked once more at
    /// once; connections that are open stay so, as the server allows. It is called by whatever thread needs a
    /// connection, by the library's own ones too, and that thread waits for it: it should keep what it fetches, and must
    /// not use this cache. Where it fails or panics, or the server refuses its second answer too, that is unavailable
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

    /// The same for the sentinels of [`sentinel`](Self::sentinel). By default those of their URLs, or none.
    pub fn sentinel_credentials(
        mut self,
        ask: impl Fn() -> Result<Credentials, BoxError> + Send + Sync + 'static,
    ) -> Self {
        self.server.sentinel_credentials = Some(CredentialsSource::new(ask));
        self
    }

    /// Connects and boots: finds out how operations can run there, and loads what they need.
    ///
    /// # Errors
    ///
    /// An option that cannot work, a server that is away or refuses, or an outbox's folder that cannot be made.
    pub fn open(self) -> Result<Cache> {
        self.check()?;
        let rules = Arc::new(LiveRules::new(self.rules.clone()));
        if let Some(server) = self.memory.clone() {
            return self.with(MemoryEngine::new(server), rules);
        }
        blocks();
        let engine = ServerEngine::open(self.server(&rules))?;
        self.with(engine, rules)
    }

    /// Connects and boots at the first use, so that a program can start while its server is away.
    ///
    /// # Errors
    ///
    /// An option that cannot work, or an outbox's folder that cannot be made.
    pub fn open_lazy(self) -> Result<Cache> {
        self.check()?;
        if self.memory.is_some() {
            return self.open();
        }
        let rules = Arc::new(LiveRules::new(self.rules.clone()));
        let engine = ServerEngine::lazy(self.server(&rules))?;
        self.with(engine, rules)
    }

    fn check(&self) -> Result<()> {
        let config = |message| Error::new(Kind::Config(message));
        self.lives.check()?;
        self.server
            .check_bounds()
            .map_err(|why| config(why.to_owned()))?;
        if self.breaker_pause > limits::MAX_TIMEOUT {
            return Err(config(format!(
                "a pause of {:?} is over a day (CacheBuilder::circuit_breaker)",
                self.breaker_pause
            )));
        }
        let (least, most) = (limits::MIN_LEASE_TTL, limits::MAX_LEASE_TTL);
        for (ttl, what) in [(self.lease_ttl, "lease"), (self.mark_ttl, "mark")] {
            if !(least..=most).contains(&ttl) {
                return Err(config(format!(
                    "a {what} of {ttl:?} is not between {least:?} and {most:?} (CacheBuilder::{what}_ttl)"
                )));
            }
        }
        Ok(())
    }

    fn server(&self, rules: &Arc<LiveRules>) -> ServerConfig {
        let mut server = self.server.clone();
        server.rules = Some(Arc::clone(rules));
        server
    }

    fn with(self, engine: impl Performer, rules: Arc<LiveRules>) -> Result<Cache> {
        // Half of the shortest wait: less is no wait in vain.
        let slow = self
            .server
            .connect_timeout
            .min(self.server.response_timeout)
            / 2;
        let recorder = self.measures.then(Arc::<Recorder>::default);
        let mut observers = self.observers;
        observers.extend(recorder.clone().map(|it| it as Arc<dyn Observer>));
        let told = observers.clone();
        let changed = move |state| told.tell(&Event::Breaker { state });
        let breaker = Breaker::new(engine, self.breaker_pause, slow).on_change(changed);
        let engine: Arc<Breaker> = Arc::new(breaker);
        if engine.space() == Space::Slots {
            for warning in super::slots::warnings(&rules.get()) {
                log::warn!("{warning}");
            }
        }
        let outbox = Arc::new(match &self.memory {
            None => Outbox::of_server(self.server.identity(), self.takes_any_outbox),
            Some(_) => Outbox::volatile(),
        });
        let (current, server) = (Arc::clone(&rules), engine.clone());
        let expand = move |params: &Params| {
            let rules = current.get();
            let lists = rules.expand_all(params);
            lists
                .map(|keys| server.space().place(entries(&keys)))
                .collect()
        };
        let replayer = Replayer::new(
            engine.clone(),
            outbox.clone(),
            observers.clone(),
            Arc::new(expand),
        );
        if let (Some(folder), None) = (&self.outbox, &self.memory) {
            // Its last component is then no symbolic link, which would be refused.
            let folder = std::fs::create_dir_all(folder)
                .and_then(|()| folder.canonicalize())
                .map_err(|e| io_error(folder, "make the outbox's folder", e))?;
            outbox.add_folder(&folder);
            replayer.start();
            replayer.ring();
        }
        Ok(Cache(Arc::new(Inner {
            rules,
            replayer,
            engine,
            outbox,
            takes_folders: self.outbox.is_none() && self.memory.is_none(),
            counters: Counters::default(),
            observers,
            recorder,
            cross_slot: self.cross_slot,
            response_timeout: self.server.response_timeout,
            lease_ttl: self.lease_ttl,
            mark_ttl: self.mark_ttl,
            on_busy: self.on_busy,
            lives: self.lives,
            timer: Timer::default(),
        })))
    }
}
