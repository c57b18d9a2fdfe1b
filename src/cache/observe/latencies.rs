//! An observer that records durations for [`Stats`](crate::Stats).

use super::{Event, Histogram, LockOutcome, Observer, histogram::SharedHistogram};
use serde::Serialize;

/// Latencies, measured if
/// [`CacheBuilder::measure_latencies`](crate::CacheBuilder::measure_latencies) is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Latencies {
    /// Saves, updates, transactions and deletions that succeeded.
    pub saves: Histogram,
    /// Locks that were acquired or timed out, measured from the call.
    pub lock_waits: Histogram,
    /// Values that [`Cache::get_or_load`](crate::Cache::get_or_load) returned.
    pub loads: Histogram,
}

#[derive(Debug, Default)]
pub(crate) struct Recorder {
    saves: SharedHistogram,
    lock_waits: SharedHistogram,
    loads: SharedHistogram,
}

impl Recorder {
    pub(crate) fn read(&self) -> Latencies {
        Latencies {
            saves: self.saves.read(),
            lock_waits: self.lock_waits.read(),
            loads: self.loads.read(),
        }
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &Event<'_>) {
        match *event {
            Event::Save {
                duration,
                outcome: Ok(_),
                ..
            } => self.saves.record(duration),
            Event::Lock {
                waited,
                outcome:
                    LockOutcome::Acquired | LockOutcome::AcquiredWhileAway | LockOutcome::TimedOut(_),
                ..
            } => self.lock_waits.record(waited),
            Event::Load {
                duration, outcome, ..
            } if outcome != super::LoadOutcome::Failed => self.loads.record(duration),
            _ => {}
        }
    }
}
