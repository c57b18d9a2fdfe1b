//! What an engine has done so far.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts since the engine was made. Read them with the methods; each is exact, and no two belong together.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    reloads: AtomicU64,
    skips: AtomicU64,
    reconnects: AtomicU64,
    round_trips: AtomicU64,
    run_numbers: AtomicU64,
    redirects: AtomicU64,
}

impl Counters {
    /// Scripts that a server had lost and was given again.
    pub(crate) fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }

    /// Operations that were not sent, since the server did not answer the last ones.
    pub(crate) fn skips(&self) -> u64 {
        self.skips.load(Ordering::Relaxed)
    }

    /// Connections that were opened in place of one that had failed.
    pub(crate) fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Times the engine waited for a server; a connection's own set-up is not counted.
    pub(crate) fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }

    /// Times that another server was asked, since the first was not the one, or not any more.
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

    pub(super) fn count_redirect(&self) {
        self.redirects.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_round_trip(&self) {
        self.round_trips.fetch_add(1, Ordering::Relaxed);
    }
}
