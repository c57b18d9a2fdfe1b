//! The breaker around an engine that answers or fails as it is told.

use super::*;
use crate::{
    engine::Bells,
    model::{Effect, Entry},
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
    // The probe finds it still away: one wait, and the next pause.
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
    lock(&breaker.circuits[0]).state = State::Open { until: start };
    assert!(breaker.admit(&breaker.circuits[0], start).is_ok());
    assert_eq!(breaker.state(), BreakerState::Probing);
    assert_eq!(breaker.admit(&breaker.circuits[0], start), Err(PAUSE));
    // A probe that never returned does not block the server for ever.
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

const SECOND: Duration = Duration::from_secs(1);

fn lost() -> Result<(), Fault> {
    let message = "no reply in time".to_owned();
    let error = Error::new(Kind::Unavailable { message });
    Err(Fault::Unknown(error.effect_is(Effect::Unknown)))
}

/// If the server or this machine halts for a moment, all calls under way fail, however many; they
/// count once.
#[test]
fn calls_that_fail_together_are_one_wait_in_vain() {
    let breaker = Breaker::new(Fake::default(), PAUSE, SECOND / 2);
    let (circuit, start) = (&breaker.circuits[0], Instant::now());
    let wave = |n: u32| {
        let sent_at = start + n * SECOND;
        for call in 0..600 {
            let now = sent_at + SECOND + Duration::from_micros(call);
            breaker.note(circuit, &lost(), sent_at, now);
        }
    };
    for n in 0..limits::BREAKER_FAILURES {
        assert_eq!(breaker.state(), BreakerState::Closed, "after {n}");
        // Each wave is sent after the last call of the wave before has failed.
        wave(2 * n);
    }
    assert_eq!(breaker.state(), BreakerState::Open);
}

#[test]
fn a_call_during_which_others_were_answered_says_nothing_about_the_server() {
    let breaker = Breaker::new(Fake::default(), PAUSE, SECOND / 2);
    let (circuit, start) = (&breaker.circuits[0], Instant::now());
    for n in 0..4 * limits::BREAKER_FAILURES {
        let sent_at = start + 2 * n * SECOND;
        let between = sent_at + SECOND / 4;
        breaker.note(circuit, &Ok(()), between, between);
        breaker.note(circuit, &lost(), sent_at, sent_at + SECOND);
        // A later call in the same second does not open it either.
        let after = sent_at + SECOND / 2;
        breaker.note(circuit, &lost(), after, sent_at + SECOND);
    }
    assert_eq!(breaker.state(), BreakerState::Closed);
}

/// What is logged, as the circuits report it.
#[test]
fn that_the_server_is_away_and_back_is_told_once_for_each_outage() {
    let circuit = |circuit: &mut Circuit, away: &mut Away, slow: bool| {
        let now = Instant::now();
        let change = circuit.failed(PAUSE, now, now, slow);
        away.more(&change)
    };
    let mut away = Away::default();
    let [mut one, mut other] = [Circuit::default(), Circuit::default()];
    for _ in 0..2 {
        // Refused at once: away, but not opened.
        let told: Vec<_> = (0..10)
            .map(|_| circuit(&mut one, &mut away, false))
            .collect();
        let once = |n: u32| (n + 1 == limits::BREAKER_FAILURES, false);
        assert_eq!(told, (0..10).map(once).collect::<Vec<_>>());
        // Then calls wait in vain: opened, in whichever part of the slots.
        let told: Vec<_> = (0..10)
            .map(|_| circuit(&mut one, &mut away, true))
            .collect();
        let once = |n: u32| (false, n + 1 == limits::BREAKER_FAILURES);
        assert_eq!(told, (0..10).map(once).collect::<Vec<_>>());
        for _ in 0..10 {
            assert_eq!(circuit(&mut other, &mut away, true), (false, false));
        }
        let now = Instant::now();
        assert!(one.answered(now) && !away.one_less());
        assert!(!one.answered(now));
        assert!(other.answered(now) && away.one_less());
    }
}
