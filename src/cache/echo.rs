//! The last invalidations, kept to be sent again to a server that turns out to be another one than before: after a failover, or
//! a restart from a snapshot, it may have entries back that were deleted.

use crate::{
    limits,
    op::{Entry, Op},
};
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

#[derive(Default)]
pub(super) struct Echo(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    /// The oldest first.
    steps: VecDeque<(Instant, Vec<Entry>)>,
    keys: usize,
}

impl Echo {
    /// Keeps what a successful operation deleted; whether that was anything.
    pub(super) fn keep(&self, op: Op, now: Instant) -> bool {
        let entries = match op {
            Op::Commit(op) => op.dependents,
            Op::Invalidate(op) => op.entries,
            _ => return false,
        };
        if entries.is_empty() {
            return false;
        }
        let mut kept = self.lock();
        kept.keys += entries.len();
        kept.steps.push_back((now, entries));
        while let Some((at, oldest)) = kept.steps.front()
            && (kept.keys > limits::ECHO_KEYS || now.duration_since(*at) > limits::ECHO_AGE)
        {
            kept.keys -= oldest.len();
            kept.steps.pop_front();
        }
        true
    }

    /// Whether there is anything that a server may have lost.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        let kept = self.lock();
        let newest = kept.steps.back();
        newest.is_some_and(|(at, _)| now.duration_since(*at) <= limits::ECHO_AGE)
    }

    /// What to send again, each step as it was.
    pub(super) fn recall(&self) -> Vec<Vec<Entry>> {
        let kept = self.lock();
        kept.steps.iter().map(|(_, step)| step.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::Invalidate;
    use std::time::Duration;

    fn invalidate(keys: usize) -> Op {
        let entry = |n| Entry {
            value: format!("v{n}"),
            leases: "l".into(),
        };
        Op::Invalidate(Invalidate {
            entries: (0..keys).map(entry).collect(),
            release: None,
        })
    }

    fn sizes(echo: &Echo) -> Vec<usize> {
        echo.recall().iter().map(Vec::len).collect()
    }

    #[test]
    fn what_is_old_or_too_much_goes_first_come_first() {
        let (echo, start) = (Echo::default(), Instant::now());
        echo.keep(invalidate(0), start);
        assert!(!echo.is_wanted(start));
        echo.keep(invalidate(1), start);
        echo.keep(invalidate(2), start + limits::ECHO_AGE);
        assert_eq!(sizes(&echo), [1, 2]);
        let later = start + limits::ECHO_AGE + Duration::from_millis(1);
        echo.keep(invalidate(3), later);
        assert_eq!(sizes(&echo), [2, 3]);
        assert!(echo.is_wanted(later + limits::ECHO_AGE));
        assert!(!echo.is_wanted(later + limits::ECHO_AGE + Duration::from_millis(1)));
        echo.keep(invalidate(limits::ECHO_KEYS - 3), later);
        assert_eq!(sizes(&echo), [3, limits::ECHO_KEYS - 3]);
        echo.keep(invalidate(limits::ECHO_KEYS + 1), later);
        assert_eq!(sizes(&echo), [0_usize; 0]);
    }
}
