//! The end of a lock, shared by all that use the lock.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

/// The end of a lock, by the driver's clock, which counts suspended time too. Clones share one
/// cell: a renewal moves it on, and a save reads it at the moment of its decision, however late
/// that is.
#[derive(Clone, Debug)]
pub(crate) struct Expires(Arc<AtomicU64>);

/// The lock is lost or was released.
const OVER: u64 = 0;

impl Expires {
    pub(crate) fn at(moment: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(nanos(moment))))
    }

    /// Zero once the lock is over.
    pub(crate) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(SeqCst))
    }

    /// Records a renewal until then. Never moves the end back, and never revives a lock that is
    /// over.
    pub(crate) fn renewed(&self, until: Duration) {
        let later = |now| (now != OVER).then(|| nanos(until).max(now));
        let _ = self.0.fetch_update(SeqCst, SeqCst, later);
    }

    /// Ends the lock for good.
    pub(crate) fn end(&self) {
        self.0.store(OVER, SeqCst);
    }
}

/// Five centuries fit; a later moment is cut to that.
fn nanos(moment: Duration) -> u64 {
    u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_only_moves_on_and_what_is_over_stays_over() {
        let second = Duration::from_secs(1);
        let lock = Expires::at(2 * second);
        let save = lock.clone();
        lock.renewed(3 * second);
        lock.renewed(second);
        assert_eq!(save.get(), 3 * second);
        lock.end();
        lock.renewed(4 * second);
        assert_eq!(save.get(), Duration::ZERO);
        assert!(Expires::at(Duration::MAX).get() > 1_000_000_000 * second);
    }
}
