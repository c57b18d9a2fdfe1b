//! Spares callers the wait for a server that does not answer.

use super::{Counters, Ear, EngineReport, Performer, Servers, Taken, Watch};
use crate::{
    model::{Error, error::Kind, limits},
    op::{Fault, Op, Space},
};
use serde::Serialize;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Whether operations are sent to the server. See [`CacheBuilder::circuit_breaker`](crate::CacheBuilder::circuit_breaker).
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// use cachetx::BreakerState;
///
/// assert_eq!(cache.stats().breaker, BreakerState::Closed);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BreakerState {
    /// All of them are.
    #[default]
    Closed,
    /// None is, until the pause is over.
    Open,
    /// One is, to see whether the server answers again.
    Probing,
}

/// An engine that is left alone for a while after it made its callers wait in vain, several times in a row. Logs that it is away, and
/// that it is back.
pub(crate) struct Breaker<E: ?Sized = dyn Performer> {
    /// One for a server; in a Cluster one for each part of the slots, so that a node that is away costs the others nothing.
    circuits: Vec<Mutex<Circuit>>,
    away: Mutex<Away>,
    /// How long operations are skipped; zero: never.
    pause: Duration,
    /// A failure that took less costs nobody anything and does not count: a connection that is refused, say.
    slow: Duration,
    /// Told of each circuit's changes. Before the engine, which may have no size.
    changed: Box<dyn Fn(BreakerState) + Send + Sync>,
    engine: E,
}

#[derive(Default)]
struct Circuit {
    state: State,
    /// Since the last answer; those of calls that were under way at the same time are one, as they may have one cause: a connection that
    /// is lost fails all that wait for it, and a machine that stands still for a moment all its calls.
    failures: u32,
    /// How many of them made their callers wait.
    slow: u32,
    /// When the last answer or failure came that counts: a call that was sent before that says nothing new.
    heard_at: Option<Instant>,
    /// It was logged that the server is away.
    is_away: bool,
    /// Changes that nobody was told yet, in their order.
    untold: VecDeque<BreakerState>,
    /// Whether a thread is telling them.
    is_telling: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    /// Since when a probe is on its way; another goes out where it does not come back within a pause.
    Probing {
        since: Instant,
    },
}

/// What was logged: of a Cluster's many circuits only the first one that is away, the first one that opens, and the last one that is back.
#[derive(Default)]
struct Away {
    circuits: usize,
    is_open: bool,
}

/// What a failure changes.
struct Change {
    /// The server is away, as far as can be told.
    goes_away: bool,
    opens: bool,
}

impl<E: Performer> Breaker<E> {
    pub(crate) fn new(engine: E, pause: Duration, slow: Duration) -> Self {
        let count = match engine.space() {
            Space::Whole => 1,
            Space::Slots => limits::BREAKER_CIRCUITS,
        };
        let circuits = (0..count).map(|_| Mutex::default());
        Self {
            circuits: circuits.collect(),
            away: Mutex::default(),
            pause,
            slow,
            changed: Box::new(|_| {}),
            engine,
        }
    }

    /// Calls `changed` with a circuit's state, each time that it opens, is probed or closes again.
    pub(crate) fn on_change(self, changed: impl Fn(BreakerState) + Send + Sync + 'static) -> Self {
        let changed = Box::new(changed);
        Self { changed, ..self }
    }
}

impl State {
    fn shown(self) -> BreakerState {
        match self {
            Self::Closed => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::Probing { .. } => BreakerState::Probing,
        }
    }
}

impl<E: Performer + ?Sized> Breaker<E> {
    pub(crate) fn state(&self) -> BreakerState {
        let states = self.circuits.iter().map(|it| lock(it).state.shown());
        let worst = |a, b| match (a, b) {
            (BreakerState::Open, _) | (_, BreakerState::Closed) => a,
            _ => b,
        };
        states.fold(BreakerState::Closed, worst)
    }

    /// The part of the key space that the operation is about.
    fn circuit(&self, op: &Op) -> &Mutex<Circuit> {
        let slot = match self.circuits.len() {
            1 => 0,
            _ => op.slot().ok().flatten().map_or(0, usize::from),
        };
        &self.circuits[slot * self.circuits.len() / usize::from(limits::SLOTS)]
    }

    pub(crate) fn perform(&self, op: &Op) -> Result<Taken, Fault> {
        let sent_at = Instant::now();
        let circuit = self.circuit(op);
        self.let_out(circuit, sent_at)?;
        let done = self.engine.take(op);
        self.note(circuit, &done, sent_at, Instant::now());
        done
    }

    #[cfg(feature = "tokio")]
    pub(crate) async fn perform_in_task(&self, op: &Op) -> Result<Taken, Fault> {
        let sent_at = Instant::now();
        let circuit = self.circuit(op);
        self.let_out(circuit, sent_at)?;
        let done = self.engine.take_in_task(op).await;
        self.note(circuit, &done, sent_at, Instant::now());
        done
    }

    /// For who has time to wait: sends it whatever the state. An answer closes it; a failure was nobody's wait and does not
    /// count.
    pub(crate) fn insist(&self, op: &Op) -> Result<Taken, Fault> {
        let sent_at = Instant::now();
        let done = self.engine.take(op);
        if done.is_ok() {
            self.note(self.circuit(op), &done, sent_at, Instant::now());
        }
        done
    }

    pub(crate) fn servers(&self) -> Result<Servers, Fault> {
        self.engine.servers()
    }

    pub(crate) fn report(&self) -> Option<EngineReport> {
        self.engine.report()
    }

    pub(crate) fn space(&self) -> Space {
        self.engine.space()
    }

    pub(crate) fn counters(&self) -> &Counters {
        self.engine.counters()
    }

    /// Waits in a channel's queue from now on.
    pub(crate) fn listen(&self, channel: &str) -> Ear {
        let ear = self.engine.bells().listen(channel);
        self.engine.listens();
        ear
    }

    /// Whether somebody in this process waits in the channel's queue.
    pub(crate) fn is_awaited(&self, channel: &str) -> bool {
        self.engine.bells().is_awaited(channel)
    }

    /// Calls `heard` at every message of the channel.
    pub(crate) fn watch(&self, channel: &str, heard: impl Fn() + Send + Sync + 'static) -> Watch {
        let watch = self.engine.bells().watch(channel, heard);
        self.engine.listens();
        watch
    }

    pub(crate) fn close(&self) {
        self.engine.close();
    }

    fn let_out(&self, circuit: &Mutex<Circuit>, now: Instant) -> Result<(), Fault> {
        self.admit(circuit, now).map_err(|left| {
            self.engine.counters().count_skip();
            Fault::NotDone(Error::new(Kind::LeftAlone { left }))
        })
    }

    /// Whether an operation may go out now; else how long to wait.
    fn admit(&self, circuit: &Mutex<Circuit>, now: Instant) -> Result<(), Duration> {
        let mut admitted = lock(circuit);
        let next = match admitted.state {
            State::Closed => return Ok(()),
            State::Open { until } => until,
            State::Probing { since } => since + self.pause,
        };
        if now < next {
            return Err(next - now);
        }
        admitted.change(State::Probing { since: now });
        drop(admitted);
        self.tell(circuit);
        Ok(())
    }

    fn note<T>(
        &self,
        circuit: &Mutex<Circuit>,
        done: &Result<T, Fault>,
        sent_at: Instant,
        now: Instant,
    ) {
        let slow = now - sent_at >= self.slow;
        match done {
            // That says nothing about the server.
            Err(Fault::NotDone(e)) if e.is_all_in_use() => {}
            // A server that says at once that it takes no writes lets nobody wait, and still takes reads.
            Err(Fault::NotDone(e) | Fault::Unknown(e))
                if e.is_unavailable() && (slow || !e.takes_reads()) =>
            {
                let mut failed = lock(circuit);
                let change = failed.failed(self.pause, sent_at, now, slow);
                let (is_first, opens) = lock(&self.away).more(&change);
                drop(failed);
                self.tell(circuit);
                if opens {
                    log::warn!(
                        "the server made {} callers wait in vain, and is not asked for {:?} (circuit breaker): {e}",
                        limits::BREAKER_FAILURES,
                        self.pause
                    );
                } else if is_first {
                    log::warn!("the server is away: {e}");
                }
            }
            _ => {
                let mut answered = lock(circuit);
                let is_last = answered.answered(now) && lock(&self.away).one_less();
                drop(answered);
                self.tell(circuit);
                if is_last {
                    log::info!("the server answers again");
                }
            }
        }
    }

    /// Tells of a circuit's changes in their order, each by one thread, and without the circuit's lock.
    fn tell(&self, circuit: &Mutex<Circuit>) {
        let mut telling = lock(circuit);
        if telling.is_telling {
            return;
        }
        telling.is_telling = true;
        while let Some(state) = telling.untold.pop_front() {
            drop(telling);
            (self.changed)(state);
            telling = lock(circuit);
        }
        telling.is_telling = false;
    }
}

impl Circuit {
    fn change(&mut self, to: State) {
        let before = std::mem::replace(&mut self.state, to);
        if before.shown() != to.shown() {
            self.untold.push_back(to.shown());
        }
    }

    fn failed(&mut self, pause: Duration, sent_at: Instant, now: Instant, slow: bool) -> Change {
        let is_old = self.heard_at.is_some_and(|at| sent_at < at);
        if is_old && !cfg!(cachetx_counts_callers) {
            return Change {
                goes_away: false,
                opens: false,
            };
        }
        self.heard_at = Some(now);
        self.failures = self.failures.saturating_add(1);
        self.slow = self.slow.saturating_add(slow.into());
        let is_closed = matches!(self.state, State::Closed);
        let opens = is_closed && self.slow >= limits::BREAKER_FAILURES && !pause.is_zero();
        // Whoever asked while it was not closed, the server is away still.
        if opens || !is_closed {
            self.change(State::Open { until: now + pause });
        }
        let goes_away = !self.is_away && self.failures >= limits::BREAKER_FAILURES;
        self.is_away |= goes_away;
        Change { goes_away, opens }
    }

    /// Whether it was away.
    fn answered(&mut self, now: Instant) -> bool {
        self.change(State::Closed);
        (self.failures, self.slow) = (0, 0);
        self.heard_at = Some(now);
        std::mem::take(&mut self.is_away)
    }
}

impl Away {
    /// Whether this is the first circuit that is away, and the first one that opens.
    fn more(&mut self, change: &Change) -> (bool, bool) {
        self.circuits += usize::from(change.goes_away);
        let is_first = change.goes_away && self.circuits == 1;
        let opens = change.opens && !self.is_open;
        self.is_open |= opens;
        (is_first, opens)
    }

    /// Whether this is the last one that is back.
    fn one_less(&mut self) -> bool {
        self.circuits -= 1;
        let is_last = self.circuits == 0;
        self.is_open &= !is_last;
        is_last
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
