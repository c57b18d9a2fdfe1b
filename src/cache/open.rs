//! Opening a cache.

use super::{
    Cache, CacheBuilder, Inner, entries,
    observe::{Event, Observer, Recorder},
    replayer::Replayer,
    stats::Counters,
    timer::Timer,
};
use crate::{
    disk::Outbox,
    drive::blocks,
    engine::{Breaker, MemoryEngine, Performer, ServerConfig, ServerEngine},
    model::{
        Error, Result,
        error::{Kind, io_error},
        limits,
    },
    op::Space,
    rules::{LiveRules, Params},
};
use std::sync::Arc;

impl CacheBuilder {
    /// Connects and boots: finds out how operations can run on the server, and loads what they
    /// need.
    ///
    /// # Errors
    ///
    /// An invalid option, a server that is unreachable or refuses, or an outbox folder that cannot
    /// be created.
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

    /// Connects and boots at the first use, so that a program can start while its server is
    /// unreachable.
    ///
    /// # Errors
    ///
    /// An invalid option, or an outbox folder that cannot be created.
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
        // Half of the shortest time-out: shorter failures do not count as slow.
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
            // So that its last component is not a symbolic link, which would be refused.
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
            #[cfg(feature = "tokio")]
            tasks: super::tasks::Tasks::default(),
        })))
    }
}
