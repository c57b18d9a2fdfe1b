//! Counts of what an engine has done.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Counts since the engine was made. Read them with the methods: each is exact, but they are not
/// read at the same moment.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    reloads: AtomicU64,
    skips: AtomicU64,
    reconnects: AtomicU64,
    round_trips: AtomicU64,
    run_numbers: AtomicU64,
    redirects: AtomicU64,
    open: AtomicU64,
    in_use: AtomicU64,
    connection_timeouts: AtomicU64,
}

impl Counters {
    /// Scripts loaded again because a server had lost them.
    pub(crate) fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// Operations that were not sent because the server did not answer the last ones.
    pub(crate) fn skips(&self) -> u64 {
        self.skips.load(Ordering::Relaxed)
    }

    /// Open connections.
    pub(crate) fn open_connections(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    /// Open connections that no caller has for itself.
    pub(crate) fn idle_connections(&self) -> u64 {
        let in_use = self.in_use.load(Ordering::Relaxed);
        self.open_connections().saturating_sub(in_use)
    }

    /// Calls for which no connection became free.
    pub(crate) fn connection_timeouts(&self) -> u64 {
        self.connection_timeouts.load(Ordering::Relaxed)
    }

    /// Connections opened to replace one that had failed.
    pub(crate) fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Waits for a server; the set-up of a connection is not counted.
    pub(crate) fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }

    /// Times that another server was asked because the first was not, or no longer, the right one.
    pub(crate) fn redirects(&self) -> u64 {
        self.redirects.load(Ordering::Relaxed)
    }

    /// A number for [`RunId::untold`](super::RunId) that no other run has.
    pub(super) fn next_run_number(&self) -> u64 {
        self.run_numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn count_skip(&self) {
        self.skips.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_reload(&self) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_reconnect(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_connection_timeout(&self) {
        self.connection_timeouts.fetch_add(1, Ordering::Relaxed);
    }

    /// Held by a caller while it has a connection for itself.
    pub(super) fn in_use(&self) -> InUse<'_> {
        self.in_use.fetch_add(1, Ordering::Relaxed);
        InUse(self)
    }

    pub(super) fn count_redirect(&self) {
        self.redirects.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_round_trip(&self) {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
    }
}

/// A connection in use, until this is dropped.
pub(super) struct InUse<'a>(&'a Counters);

impl Drop for InUse<'_> {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An open connection, until this is dropped.
pub(super) struct IsOpen(Arc<Counters>);

impl IsOpen {
    pub(super) fn new(counters: &Arc<Counters>) -> Self {
        counters.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counters))
    }
}

impl Drop for IsOpen {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}
