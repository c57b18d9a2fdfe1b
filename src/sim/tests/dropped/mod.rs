//! Calls of a task whose future is dropped before any action of theirs, beside another process.
//! Tries every moment of the drop, and every order of the actions that others can see.

mod stage;

use crate::{
    disk::FileAction,
    op::Op,
    protocol::{Action, Guarantee},
    sim::{
        actor::TaskWeakness,
        choices::{Choices, every},
        turns::Chance,
        world::{Who, World},
    },
};
use stage::Stage;
use std::{collections::BTreeSet, time::Duration};

/// The maximum number of orders in one test.
const MOST: u64 = 3_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Save,
    /// Saves, and releases the lock later.
    Dump,
    Unlock,
    Update,
    Create,
    Delete,
    Transaction,
    Read,
    Load,
    Put,
    Invalidate,
    Around,
}

const CALLS: [Call; 12] = [
    Call::Save,
    Call::Dump,
    Call::Unlock,
    Call::Update,
    Call::Create,
    Call::Delete,
    Call::Transaction,
    Call::Read,
    Call::Load,
    Call::Put,
    Call::Invalidate,
    Call::Around,
];

/// What the other process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Other {
    Nothing,
    /// It has a document's lock from the beginning, saves, and releases it.
    Holds,
    /// It locks and saves a document.
    Saves,
    /// It loads what is derived.
    Loads,
}

const OTHERS: [Other; 4] = [Other::Nothing, Other::Holds, Other::Saves, Other::Loads];

#[derive(Clone, Copy, Debug)]
struct Setting {
    call: Call,
    other: Other,
    guarantee: Guarantee,
    weakness: Option<TaskWeakness>,
}

impl Setting {
    /// The call does something with what is derived from the rates, not with documents.
    fn changes_rates(self) -> bool {
        matches!(self.call, Call::Put | Call::Invalidate | Call::Around)
    }

    /// The other process would not meet the call.
    fn is_idle(self) -> bool {
        let writes = matches!(self.other, Other::Holds | Other::Saves);
        writes && (self.call == Call::Create || self.changes_rates())
    }
}

/// The moment of the drop, and what the call's process does afterwards.
struct Fortune {
    setting: Setting,
    caller: Who,
    /// The actions of its process.
    actions: usize,
    /// Before which of them it was dropped.
    dropped: Option<usize>,
    /// Whether it has waited for a lock since.
    listened: bool,
    waits_still: bool,
}

impl Fortune {
    fn new(setting: Setting, caller: Who) -> Self {
        Self {
            setting,
            caller,
            actions: 0,
            dropped: None,
            listened: false,
            waits_still: false,
        }
    }
}

impl Chance for Fortune {
    fn is_point(&self, _: Who, action: &Action) -> bool {
        match action {
            Action::Server(Op::Release(_)) => false,
            Action::Server(_) => true,
            Action::Disk(_, action) => matches!(
                action,
                FileAction::Read
                    | FileAction::LockSidecar
                    | FileAction::Rename { .. }
                    | FileAction::Unlink { .. }
            ),
            // A change, or a loader that reads what is changed.
            Action::Sleep(Duration::ZERO) => self.setting.changes_rates(),
            _ => false,
        }
    }

    fn before(&mut self, world: &mut World, who: Who, choices: &mut Choices) {
        if world.process(who) != self.caller {
            return;
        }
        if self.dropped.is_some() {
            let next = world.next(who);
            let asks = matches!(next, Some(Action::Server(Op::Acquire(_))));
            // The other calls are completed, so they go on waiting.
            let is_unwanted = matches!(
                self.setting.call,
                Call::Save | Call::Dump | Call::Unlock | Call::Transaction
            );
            self.waits_still |= asks && self.listened && is_unwanted;
            self.listened |= matches!(next, Some(Action::Listen(..)));
        } else if world.lives(self.caller) && choices.choose(2) == 1 {
            self.dropped = Some(self.actions);
            world.give_up(self.caller);
        }
        self.actions += 1;
    }

    fn look(&self, world: &World) -> Result<(), String> {
        match self.waits_still {
            true => Err(format!(
                "waits for a lock that nobody wants\n  {}",
                world.story()
            )),
            false => Ok(()),
        }
    }
}

/// Returns the number of moments of the drop, and of orders.
fn every_drop(setting: Setting) -> Result<[u64; 2], String> {
    let stage = Stage::new(setting);
    let mut moments = BTreeSet::new();
    let orders = every(MOST, |choices| stage.play(choices, &mut moments));
    let orders = orders.map_err(|why| format!("{setting:?}: {why}"))?;
    assert!(moments.iter().copied().eq(0..moments.len()), "{moments:?}");
    println!("{setting:?}: {} moments, {orders} orders", moments.len());
    Ok([moments.len() as u64, orders])
}

fn leaves_nothing(guarantee: Guarantee, at_least: [u64; 2]) {
    let mut tried = [0, 0];
    for call in CALLS {
        for other in OTHERS {
            let setting = Setting {
                call,
                other,
                guarantee,
                weakness: None,
            };
            if setting.is_idle() {
                continue;
            }
            let [moments, orders] = every_drop(setting).unwrap_or_else(|why| panic!("{why}"));
            tried = [tried[0] + moments, tried[1] + orders];
        }
    }
    println!("{tried:?} moments and orders");
    let is_enough = |(tried, at_least)| tried >= at_least;
    assert!(tried.into_iter().zip(at_least).all(is_enough), "{tried:?}");
}

#[test]
fn a_call_that_is_dropped_at_any_await_leaves_nothing() {
    leaves_nothing(Guarantee::BestEffort, [800, 100_000]);
}

#[test]
fn a_call_with_crash_safe_saves_that_is_dropped_at_any_await_leaves_nothing() {
    leaves_nothing(Guarantee::CrashSafe, [800, 200_000]);
}

#[test]
fn without_tasks_abandoned_waits_or_guards_something_is_left() {
    use Call::{Around, Dump, Load, Save, Transaction, Unlock};
    // A read leaves nothing.
    let all: Vec<Call> = CALLS.into_iter().filter(|it| *it != Call::Read).collect();
    let each_needs = [
        (TaskWeakness::NoTasksOfTheirOwn, Other::Nothing, &all[..]),
        (
            TaskWeakness::WaitsUnwanted,
            Other::Holds,
            &[Save, Dump, Unlock, Transaction],
        ),
        (
            TaskWeakness::ForgetfulGuards,
            Other::Nothing,
            &[Save, Dump, Unlock, Transaction, Load, Around],
        ),
    ];
    for (weakness, other, calls) in each_needs {
        for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
            for call in calls {
                let setting = Setting {
                    call: *call,
                    other,
                    guarantee,
                    weakness: Some(weakness),
                };
                let why = every_drop(setting).expect_err("nothing is left");
                let known = [
                    "locked",
                    "is left",
                    "stale: ",
                    "saved: ",
                    "not made",
                    "nobody wants",
                ];
                assert!(known.iter().any(|left| why.contains(left)), "{why}");
            }
        }
    }
}
