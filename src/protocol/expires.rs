//! When a lock ends, as everybody who has to do with it sees it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

/// The end of a lock, by the driver's clock that counts suspended time too. Clones are the same cell: who renews the lock moves
/// it on, and a save reads it at the moment it decides, however long it took to get there.
#[derive(Clone, Debug)]
pub(crate) struct Expires(Arc<AtomicU64>);

/// The lock is lost, or was let go of.
const OVER: u64 = 0;

impl Expires {
    pub(crate) fn at(moment: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(nanos(moment))))
    }

    /// Zero once it is over.
    pub(crate) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(SeqCst))
    }

    /// The lock was renewed until then. Never moves it back, nor brings back what is over.
    pub(crate) fn renewed(&self, until: Duration) {
        let later = |now| (now != OVER).then(|| nanos(until).max(now));
        let _ = self.0.fetch_update(SeqCst, SeqCst, later);
    }

    /// It is over now, for good.
    pub(crate) fn end(&self) {
        self.0.store(OVER, SeqCst);
    }
}

/// Five centuries fit; what is later ends then.
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
