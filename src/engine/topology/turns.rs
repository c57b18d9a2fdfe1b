//! Threads that want to know the same thing of servers.

use super::search::pauses;
use crate::model::{Result, limits};
use backon::ExponentialBackoff;
use std::{
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Instant,
};

/// Single flight: one thread asks; those that come meanwhile wait, and take what came of it, also where it is nothing: were each
/// to ask in its turn, the last one would wait for as many time-outs as there are threads.
///
/// An answer counts for a moment, which grows while they ask again and again: an answer that led nowhere, or was none and
/// cost no time, must not make every call a question to all servers.
#[derive(Debug)]
pub(super) struct Turns {
    last: Mutex<Last>,
    /// How many are over.
    over: AtomicU64,
}

#[derive(Debug)]
struct Last {
    answer: Result<()>,
    rest: Option<Rest>,
}

/// The time after an answer in which nobody asks.
#[derive(Debug)]
struct Rest {
    asked: Instant,
    until: Instant,
    pauses: ExponentialBackoff,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            last: Mutex::new(Last {
                answer: Ok(()),
                rest: None,
            }),
            over: AtomicU64::new(0),
        }
    }

    pub(super) fn take(&self, ask: impl FnOnce() -> Result<()>) -> Result<()> {
        let over = self.over.load(SeqCst);
        let mut last = self.lock();
        if self.over.load(SeqCst) == over && !last.counts() {
            last.answer = ask();
            last.rest_a_while();
            self.over.fetch_add(1, SeqCst);
        }
        last.answer.clone()
    }

    /// Whether the last answer counts still, or somebody asks already. Waits for nobody.
    pub(super) fn rests(&self) -> bool {
        match self.last.try_lock() {
            Ok(last) => last.counts(),
            Err(TryLockError::Poisoned(last)) => last.into_inner().counts(),
            Err(TryLockError::WouldBlock) => true,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Last {
    fn counts(&self) -> bool {
        let rest = self.rest.as_ref();
        rest.is_some_and(|rest| Instant::now() < rest.until)
    }

    fn rest_a_while(&mut self) {
        let now = Instant::now();
        let before = self.rest.take();
        let in_a_row = before.filter(|rest| now < rest.asked + limits::SETTLE_CALM);
        let mut pauses = in_a_row.map_or_else(pauses, |rest| rest.pauses);
        let pause = pauses.next().unwrap_or(limits::SETTLE_POLL_MAX);
        self.rest = Some(Rest {
            asked: now,
            until: now + pause,
            pauses,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Error, error::Kind};
    use std::{sync::atomic::AtomicU32, thread, time::Duration};

    #[test]
    fn an_answer_counts_for_a_moment_that_grows() {
        let turns = Turns::new();
        let asked = AtomicU32::new(0);
        let nobody = || {
            asked.fetch_add(1, SeqCst);
            Err(Error::new(Kind::Internal("nobody".to_owned())))
        };
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while start.elapsed() < Duration::from_millis(500) {
                        assert!(turns.take(nobody).is_err());
                    }
                });
            }
        });
        // 5, 10, 20, 40, 80, 100 … ms, each with as much again at most.
        let most = 7 + start.elapsed().as_millis() / 100;
        assert!(u128::from(asked.load(SeqCst)) <= most, "{asked:?}");
        let before = asked.load(SeqCst);
        while asked.load(SeqCst) == before {
            let _ = turns.take(nobody);
        }
    }
}
