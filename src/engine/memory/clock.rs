//! The clock of the in-memory server.

#[cfg(any(test, feature = "testing"))]
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Milliseconds since the server was created. Never goes back.
#[derive(Debug)]
pub(super) enum Clock {
    Real(Instant),
    /// Stands still except for [`Clock::advance`].
    #[cfg(any(test, feature = "testing"))]
    Manual(AtomicU64),
}

impl Clock {
    pub(super) fn now_ms(&self) -> u64 {
        match self {
            Self::Real(start) => u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
            #[cfg(any(test, feature = "testing"))]
            Self::Manual(now) => now.load(Ordering::SeqCst),
        }
    }

    #[cfg(any(test, feature = "testing"))]
    pub(super) fn advance(&self, ms: u64) {
        match self {
            // Real time passes by itself.
            Self::Real(_) => {}
            Self::Manual(now) => {
                now.fetch_add(ms, Ordering::SeqCst);
            }
        }
    }
}
