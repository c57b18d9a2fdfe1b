//! Single flight for topology queries.

use super::search::pauses;
use crate::{
    engine::net::Net,
    model::{Result, limits},
};
use backon::ExponentialBackoff;
use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Single flight: one call asks. Those that come meanwhile wait and take its result, even an error:
/// if each asked in its turn, the last one would wait for as many time-outs as there are calls.
///
/// A result counts for a moment, which grows while calls keep asking. Otherwise an answer that led
/// nowhere, or an error that came at once, would make every call query all servers.
#[derive(Debug)]
pub(super) struct Turns {
    last: Mutex<Last>,
    /// How long a call waits for another's answer. Bounded, because the asking call may itself wait
    /// for one that waits here.
    patience: Duration,
    /// Signals the end of a turn, to threads and to tasks.
    over: Condvar,
    #[cfg(feature = "tokio")]
    is_over: tokio::sync::Notify,
}

#[derive(Debug)]
struct Last {
    answer: Result<()>,
    rest: Option<Rest>,
    /// A call is asking.
    under_way: bool,
    /// How many turns have ended.
    turns: u64,
}

/// The time after an answer in which no call asks.
#[derive(Debug)]
struct Rest {
    asked: Instant,
    until: Instant,
    pauses: ExponentialBackoff,
}

impl Turns {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            last: Mutex::new(Last {
                answer: Ok(()),
                rest: None,
                under_way: false,
                turns: 0,
            }),
            over: Condvar::new(),
            #[cfg(feature = "tokio")]
            is_over: tokio::sync::Notify::new(),
        }
    }

    /// Awaits `ask` if it is this call's turn.
    pub(super) async fn take(&self, net: Net, ask: impl Future<Output = Result<()>>) -> Result<()> {
        match self.wait(net).await {
            Wait::Answered(answer) => answer,
            Wait::Turn => {
                let turn = Turn(self);
                let answer = ask.await;
                turn.ends_with(answer)
            }
            Wait::Alone => ask.await,
        }
    }

    /// Whether the last answer still counts, or a call is asking already. Does not wait.
    pub(super) fn rests(&self) -> bool {
        let last = self.lock();
        last.under_way || last.counts()
    }

    async fn wait(&self, net: Net) -> Wait {
        match net {
            Net::Threads => {
                let last = self.lock();
                let turns = last.turns;
                let waited = self
                    .over
                    .wait_timeout_while(last, self.patience, |last| last.is_awaited(turns));
                let (mut last, _) = waited.unwrap_or_else(PoisonError::into_inner);
                last.begin(turns)
            }
            #[cfg(feature = "tokio")]
            Net::Tasks => {
                let turns = self.lock().turns;
                let over = async {
                    loop {
                        let mut notified = std::pin::pin!(self.is_over.notified());
                        // From here on, no notification is missed.
                        notified.as_mut().enable();
                        if let Some(over) = self.lock().begin_unless_awaited(turns) {
                            return over;
                        }
                        notified.await;
                    }
                };
                let over = tokio::time::timeout(self.patience, over).await;
                over.unwrap_or_else(|_| self.lock().begin(turns))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result of a wait.
enum Wait {
    /// The last answer still counts, or came meanwhile.
    Answered(Result<()>),
    /// It is the caller's turn.
    Turn,
    /// Another call has had its turn for too long: ask without one.
    Alone,
}

/// The turn of the call that asks. Dropping it ends the turn without an answer.
struct Turn<'a>(&'a Turns);

impl Turn<'_> {
    fn ends_with(self, answer: Result<()>) -> Result<()> {
        let mut last = self.0.lock();
        last.answer = answer.clone();
        last.rest_a_while();
        last.turns += 1;
        answer
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().under_way = false;
        self.0.over.notify_all();
        #[cfg(feature = "tokio")]
        self.0.is_over.notify_waiters();
    }
}

impl Last {
    /// Whether the call that was asking at this turn count is still asking.
    fn is_awaited(&self, turns: u64) -> bool {
        self.under_way && self.turns == turns
    }

    #[cfg(feature = "tokio")]
    fn begin_unless_awaited(&mut self, turns: u64) -> Option<Wait> {
        (!self.is_awaited(turns)).then(|| self.begin(turns))
    }

    fn begin(&mut self, turns: u64) -> Wait {
        if self.turns != turns || self.counts() {
            return Wait::Answered(self.answer.clone());
        }
        // If a call ends without an answer, the first of its waiters asks, and the others wait for
        // that one.
        match std::mem::replace(&mut self.under_way, true) {
            true => Wait::Alone,
            false => Wait::Turn,
        }
    }

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
    use crate::{
        engine::net::now,
        model::{Error, error::Kind},
    };
    use std::{
        sync::atomic::{AtomicU32, Ordering::SeqCst},
        thread,
        time::Duration,
    };

    #[test]
    fn an_answer_counts_for_a_moment_that_grows() {
        let turns = Turns::new(Duration::from_secs(60));
        let asked = AtomicU32::new(0);
        let nobody = async || {
            asked.fetch_add(1, SeqCst);
            Err(Error::new(Kind::Internal("nobody".to_owned())))
        };
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while start.elapsed() < Duration::from_millis(500) {
                        assert!(now(turns.take(Net::Threads, nobody())).is_err());
                    }
                });
            }
        });
        // 5, 10, 20, 40, 80, 100 … ms, each up to doubled by jitter.
        let most = 7 + start.elapsed().as_millis() / 100;
        assert!(u128::from(asked.load(SeqCst)) <= most, "{asked:?}");
        let before = asked.load(SeqCst);
        while asked.load(SeqCst) == before {
            let _ = now(turns.take(Net::Threads, nobody()));
        }
    }
}
