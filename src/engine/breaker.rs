//! The circuit breaker: spares callers the wait for a server that does not answer.

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
    /// All operations are sent.
    #[default]
    Closed,
    /// None is sent until the pause is over.
    Open,
    /// One is sent, to see whether the server answers again.
    Probing,
}

/// Wraps an engine and sends it nothing for a while after several failed waits in a row. Logs when
/// the server is away, and when it is back.
pub(crate) struct Breaker<E: ?Sized = dyn Performer> {
    /// One for a server; in a Cluster one for each part of the slots, so that an unreachable node
    /// does not slow down the others.
    circuits: Vec<Mutex<Circuit>>,
    away: Mutex<Away>,
    /// How long operations are skipped; zero means never.
    pause: Duration,
    /// A failure that took less time costs nobody anything and does not count: a refused
    /// connection, for example.
    slow: Duration,
    /// Called with each circuit's changes. Before the engine, which may be unsized.
    changed: Box<dyn Fn(BreakerState) + Send + Sync>,
    engine: E,
}

#[derive(Default)]
struct Circuit {
    state: State,
    /// Failures since the last answer. Those of calls that were under way at the same time count as
    /// one, since they may have one cause: a lost connection fails all calls that wait for it, and
    /// a machine that halts for a moment fails all its calls.
    failures: u32,
    /// How many of them made their callers wait.
    slow: u32,
    /// When the last answer or failure that counts came. A call that was sent before that says
    /// nothing new.
    heard_at: Option<Instant>,
    /// The server counts as away.
    is_away: bool,
    /// Changes that are not reported yet, in order.
    untold: VecDeque<BreakerState>,
    /// Whether a thread is reporting them.
    is_telling: bool,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    #[default]
    Closed,
    Open {
        until: Instant,
    },
    /// When the probe was sent. Another is sent if it does not return within a pause.
    Probing {
        since: Instant,
    },
}

/// What was logged. Of a Cluster's many circuits, only the first one to go away, the first one to
/// open and the last one to recover are logged.
#[derive(Default)]
struct Away {
    circuits: usize,
    is_open: bool,
}

/// The effect of a failure.
struct Change {
    /// The server counts as away from now on.
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

    /// Calls `changed` with a circuit's state each time it opens, is probed or closes.
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

    /// The circuit for the operation's part of the key space.
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

    /// For callers that have time to wait: sends the operation in any state. An answer closes the
    /// circuit; a failure does not count, since it made nobody wait.
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

    /// Joins a channel's queue of waiters.
    pub(crate) fn listen(&self, channel: &str) -> Ear {
        let ear = self.engine.bells().listen(channel);
        self.engine.listens();
        ear
    }

    /// Whether anything in this process waits in the channel's queue.
    pub(crate) fn is_awaited(&self, channel: &str) -> bool {
        self.engine.bells().is_awaited(channel)
    }

    /// Calls `heard` for every message of the channel.
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

    /// Whether an operation may be sent now; otherwise how long to wait.
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
            // This says nothing about the server.
            Err(Fault::NotDone(e)) if e.is_all_in_use() => {}
            // A server that refuses writes at once makes nobody wait, and still takes reads.
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

    /// Reports a circuit's changes in order, by one thread at a time, without the circuit's lock.
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
        // A failure while the circuit is not closed shows that the server is still away, whoever
        // asked.
        if opens || !is_closed {
            self.change(State::Open { until: now + pause });
        }
        let goes_away = !self.is_away && self.failures >= limits::BREAKER_FAILURES;
        self.is_away |= goes_away;
        Change { goes_away, opens }
    }

    /// Closes the circuit; returns whether the server was away.
    fn answered(&mut self, now: Instant) -> bool {
        self.change(State::Closed);
        (self.failures, self.slow) = (0, 0);
        self.heard_at = Some(now);
        std::mem::take(&mut self.is_away)
    }
}

impl Away {
    /// Whether this is the first circuit to go away, and the first to open.
    fn more(&mut self, change: &Change) -> (bool, bool) {
        self.circuits += usize::from(change.goes_away);
        let is_first = change.goes_away && self.circuits == 1;
        let opens = change.opens && !self.is_open;
        self.is_open |= opens;
        (is_first, opens)
    }

    /// Whether this was the last circuit to recover.
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
