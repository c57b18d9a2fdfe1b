//! What a session knows of its server.

use super::{config::ServerConfig, counters::Counters, run_id::RunId, source::Databases};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

/// A server, without its connections and what a boot found there.
pub(super) struct Peer {
    config: ServerConfig,
    counters: Arc<Counters>,
    /// The cache's database.
    database: u32,
    /// For a server that does not tell its run id: see [`RunId::untold`].
    run_number: AtomicU64,
}

impl Peer {
    pub(super) fn new(config: ServerConfig, database: u32, counters: Arc<Counters>) -> Self {
        Self {
            config,
            database,
            run_number: AtomicU64::new(counters.next_run_number()),
            counters,
        }
    }

    /// The server's URL, safe to show.
    pub(super) fn shown_url(&self) -> String {
        self.config.shown()
    }

    pub(super) fn response_timeout(&self) -> Duration {
        self.config.response_timeout
    }

    /// `None` if locks live in the cache's own database.
    pub(super) fn databases(&self) -> Option<Databases> {
        let databases = Databases {
            lock: self.config.lock_database?,
            cache: self.database,
        };
        (databases.lock != databases.cache).then_some(databases)
    }

    pub(super) fn config(&self) -> &ServerConfig {
        &self.config
    }

    pub(super) fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// The server's run, if it does not tell its run id.
    pub(super) fn untold_run(&self) -> RunId {
        RunId::untold(self.run_number.load(SeqCst))
    }

    /// It is no longer known whether it is still the same run.
    pub(super) fn may_be_another_run(&self) {
        self.run_number
            .store(self.counters.next_run_number(), SeqCst);
    }
}
