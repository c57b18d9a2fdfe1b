//! Spares callers the wait for a server that does not answer.

use super::{Counters, Ear, EngineReport, Performer, Servers, Taken, Watch};
use crate::{
    model::{Effect, Error, error::Kind, limits},
    op::{Fault, Op, Space},
};
use serde::Serialize;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Whether operations are sent to the server. See [`CacheBuilder::circuit_breaker`](crate::CacheBuilder::circuit_breaker).
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

/// An engine that is left alone for a while after it made its callers wait in vain, several times in a row.
pub(crate) struct Breaker<E: ?Sized = dyn Performer> {
    /// One for a server; in a Cluster one for each part of the slots, so that a node that is away costs the others nothing.
    circuits: Vec<Mutex<State>>,
    /// How long operations are skipped; zero: never.
    pause: Duration,
    /// A failure that took less costs nobody anything and does not count: a connection that is refused, say.
    slow: Duration,
    /// Told of each circuit's changes. Before the engine, which may have no size.
    changed: Box<dyn Fn(BreakerState) + Send + Sync>,
    engine: E,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// Slow failures in a row.
    Closed(u32),
    Open {
        until: Instant,
    },
    /// Since when a probe is on its way; another goes out where it does not come back within a pause.
    Probing {
        since: Instant,
    },
}

impl<E: Performer> Breaker<E> {
    pub(crate) fn new(engine: E, pause: Duration, slow: Duration) -> Self {
        let count = match engine.space() {
            Space::Whole => 1,
            Space::Slots => limits::BREAKER_CIRCUITS,
        };
        let circuits = (0..count).map(|_| Mutex::new(State::Closed(0)));
        Self {
            circuits: circuits.collect(),
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
            Self::Closed(_) => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::Probing { .. } => BreakerState::Probing,
        }
    }
}

impl<E: Performer + ?Sized> Breaker<E> {
    pub(crate) fn state(&self) -> BreakerState {
        let states = self.circuits.iter().map(|circuit| lock(circuit).shown());
        let worst = |a, b| match (a, b) {
            (BreakerState::Open, _) | (_, BreakerState::Closed) => a,
            _ => b,
        };
        states.fold(BreakerState::Closed, worst)
    }

    /// The part of the key space that the operation is about.
    fn circuit(&self, op: &Op) -> &Mutex<State> {
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
        self.engine.bells().are_awaited(channel)
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

    fn let_out(&self, circuit: &Mutex<State>, now: Instant) -> Result<(), Fault> {
        self.admit(circuit, now).map_err(|left| {
            self.engine.counters().count_skip();
            Fault::NotDone(skipped(left))
        })
    }

    /// Whether an operation may go out now; else how long to wait.
    fn admit(&self, circuit: &Mutex<State>, now: Instant) -> Result<(), Duration> {
        let mut state = lock(circuit);
        let next = match *state {
            State::Closed(_) => return Ok(()),
            State::Open { until } => until,
            State::Probing { since } => since + self.pause,
        };
        if now < next {
            return Err(next - now);
        }
        let before = std::mem::replace(&mut *state, State::Probing { since: now });
        drop(state);
        self.tell(before, BreakerState::Probing);
        Ok(())
    }

    fn note<T>(
        &self,
        circuit: &Mutex<State>,
        done: &Result<T, Fault>,
        sent_at: Instant,
        now: Instant,
    ) {
        if self.pause.is_zero() {
            return;
        }
        let slow = now - sent_at >= self.slow;
        let away = match done {
            // That says nothing about the server.
            Err(Fault::NotDone(e)) if e.is_all_in_use() => return,
            // A server that says at once that it takes no writes lets nobody wait, and still takes reads.
            Err(Fault::NotDone(e) | Fault::Unknown(e)) => {
                e.is_unavailable() && (slow || !e.takes_reads())
            }
            Ok(_) => false,
        };
        let mut state = lock(circuit);
        let before = *state;
        *state = match before {
            _ if !away => State::Closed(0),
            State::Closed(failures) if failures + 1 < limits::BREAKER_FAILURES => {
                State::Closed(failures + u32::from(slow))
            }
            State::Closed(failures) if !slow => State::Closed(failures),
            State::Closed(_) => {
                log::warn!(
                    "the server made {} callers wait in vain: leaving it alone for {:?}",
                    limits::BREAKER_FAILURES,
                    self.pause
                );
                State::Open {
                    until: now + self.pause,
                }
            }
            // Whoever asked, it is away still.
            State::Open { .. } | State::Probing { .. } => State::Open {
                until: now + self.pause,
            },
        };
        let after = state.shown();
        drop(state);
        self.tell(before, after);
    }

    /// Without the circuit's lock.
    fn tell(&self, before: State, after: BreakerState) {
        if before.shown() != after {
            (self.changed)(after);
        }
    }
}

fn lock(circuit: &Mutex<State>) -> MutexGuard<'_, State> {
    circuit.lock().unwrap_or_else(PoisonError::into_inner)
}

fn skipped(left: Duration) -> Error {
    let message = format!(
        "it did not answer the last {} times, and is not asked again for {} ms (circuit breaker)",
        limits::BREAKER_FAILURES,
        left.as_millis()
    );
    Error::with_effect(Kind::Unavailable { message }, Effect::None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::Bells,
        model::Entry,
        op::{Read, ReadReply, Reply},
    };
    use std::sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    };

    #[derive(Default)]
    struct Fake {
        away: AtomicBool,
        all_in_use: AtomicBool,
        slots: bool,
        asked: AtomicU32,
        counters: Counters,
        bells: Arc<Bells>,
    }

    impl Performer for Fake {
        fn perform(&self, _: &Op) -> Result<Reply, Fault> {
            self.asked.fetch_add(1, SeqCst);
            if self.all_in_use.load(SeqCst) {
                let error = Error::new(Kind::AllInUse { connections: 1 });
                return Err(Fault::NotDone(error.effect_is(Effect::None)));
            }
            if self.away.load(SeqCst) {
                return Err(Fault::Unknown(Error::new(Kind::Unavailable {
                    message: "no reply in time".to_owned(),
                })));
            }
            Ok(Reply::Read(ReadReply::Found {
                voucher: None,
                value: None,
                left_ms: None,
            }))
        }

        fn report(&self) -> Option<EngineReport> {
            None
        }

        fn space(&self) -> Space {
            match self.slots {
                true => Space::Slots,
                false => Space::Whole,
            }
        }

        fn counters(&self) -> &Counters {
            &self.counters
        }

        fn bells(&self) -> &Arc<Bells> {
            &self.bells
        }
    }

    fn op() -> Op {
        read("v")
    }

    fn read(key: &str) -> Op {
        Op::Read(Read {
            entry: Entry {
                value: key.into(),
                leases: "l".into(),
            },
            life: false,
        })
    }

    const PAUSE: Duration = Duration::from_millis(300);

    fn away(slow: Duration, pause: Duration) -> Breaker<Fake> {
        let breaker = Breaker::new(Fake::default(), pause, slow);
        breaker.engine.away.store(true, SeqCst);
        breaker
    }

    #[test]
    fn calls_that_find_no_connection_say_nothing_about_the_server() {
        let breaker = Breaker::new(Fake::default(), PAUSE, Duration::ZERO);
        breaker.engine.all_in_use.store(true, SeqCst);
        for _ in 0..=limits::BREAKER_FAILURES {
            let refused = breaker.perform(&op()).unwrap_err();
            assert!(refused.into_error().is_unavailable());
            assert_eq!(breaker.state(), BreakerState::Closed);
        }
    }

    #[test]
    fn it_opens_after_slow_failures_in_a_row_and_closes_with_the_first_answer() {
        let breaker = away(Duration::ZERO, PAUSE);
        for _ in 0..limits::BREAKER_FAILURES {
            assert_eq!(breaker.state(), BreakerState::Closed);
            assert!(matches!(breaker.perform(&op()), Err(Fault::Unknown(_))));
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        let asked = breaker.engine.asked.load(SeqCst);
        let refused = breaker.perform(&op()).unwrap_err();
        assert!(
            matches!(&refused, Fault::NotDone(e) if e.is_unavailable() && e.effect() == Effect::None),
            "{refused:?}"
        );
        assert_eq!(breaker.engine.asked.load(SeqCst), asked);
        assert_eq!(breaker.counters().skips(), 1);
        // The probe finds it away still: one wait, and the next pause.
        std::thread::sleep(PAUSE);
        assert!(matches!(breaker.perform(&op()), Err(Fault::Unknown(_))));
        assert!(matches!(breaker.perform(&op()), Err(Fault::NotDone(_))));
        breaker.engine.away.store(false, SeqCst);
        std::thread::sleep(PAUSE);
        assert!(breaker.perform(&op()).is_ok());
        assert_eq!(breaker.state(), BreakerState::Closed);
        assert!(breaker.perform(&op()).is_ok());
    }

    /// "v" is in slot 7761, "w" in 3696.
    #[test]
    fn in_a_cluster_other_slots_go_on() {
        let fake = Fake {
            slots: true,
            ..Fake::default()
        };
        let breaker = Breaker::new(fake, PAUSE, Duration::ZERO);
        breaker.engine.away.store(true, SeqCst);
        for _ in 0..limits::BREAKER_FAILURES {
            assert!(matches!(
                breaker.perform(&read("v")),
                Err(Fault::Unknown(_))
            ));
        }
        breaker.engine.away.store(false, SeqCst);
        assert!(matches!(
            breaker.perform(&read("v")),
            Err(Fault::NotDone(_))
        ));
        assert!(breaker.perform(&read("w")).is_ok());
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn while_one_probes_others_are_spared() {
        let breaker = away(Duration::ZERO, PAUSE);
        let start = Instant::now();
        *lock(&breaker.circuits[0]) = State::Open { until: start };
        assert!(breaker.admit(&breaker.circuits[0], start).is_ok());
        assert_eq!(breaker.state(), BreakerState::Probing);
        assert_eq!(breaker.admit(&breaker.circuits[0], start), Err(PAUSE));
        // A probe that never came back does not keep the server away for ever.
        assert!(breaker.admit(&breaker.circuits[0], start + PAUSE).is_ok());
    }

    #[test]
    fn failures_that_cost_no_time_do_not_open_it_and_a_pause_of_zero_turns_it_off() {
        for breaker in [
            away(Duration::from_secs(60), PAUSE),
            away(Duration::ZERO, Duration::ZERO),
        ] {
            for _ in 0..10 * limits::BREAKER_FAILURES {
                assert!(matches!(breaker.perform(&op()), Err(Fault::Unknown(_))));
            }
            assert_eq!(breaker.state(), BreakerState::Closed);
            assert_eq!(breaker.counters().skips(), 0);
        }
    }

    #[test]
    fn an_answer_between_failures_begins_the_count_anew() {
        let breaker = away(Duration::ZERO, PAUSE);
        for n in 0..4 * limits::BREAKER_FAILURES {
            let fine = n % limits::BREAKER_FAILURES == 0;
            breaker.engine.away.store(!fine, SeqCst);
            assert_eq!(breaker.perform(&op()).is_ok(), fine);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
