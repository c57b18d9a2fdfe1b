//! A writer, and a reader that loads a dependent of the document. One request of either is delayed:
//! its sender gives up waiting, or its engine sends it again, and the request arrives at any later
//! moment. Tries every order.

use crate::{
    disk::{FileAction, sim::SimDisk},
    model::Effect,
    op::Op,
    protocol::{Action, CacheOutcome, Guarantee, lock::Expect},
    sim::{
        calls::derive,
        cast::{Paper, entry},
        choices::{Choices, every},
        server::{Fate, ServerWeakness, SimServer},
        turns::Chance,
        world::{Who, World},
    },
};
use std::time::Duration;

const A_WHILE: Duration = Duration::from_secs(3);
/// The maximum number of orders in one test.
const MOST: u64 = 1_000_000;

/// The possible fates of one request.
const FATES: [Fate; 3] = [Fate::Answered, Fate::Late, Fate::SentTwice];

/// One request may be late, and arrive in place of any turn.
struct OneLate {
    may_be: bool,
}

impl Chance for OneLate {
    fn is_point(&self, _: Who, action: &Action) -> bool {
        matches!(
            action,
            Action::Server(Op::Prepare(_) | Op::Commit(_) | Op::Lease(_) | Op::Fill(_))
                | Action::Disk(_, FileAction::Rename { .. } | FileAction::Read)
        )
    }

    fn events(&self, world: &World) -> usize {
        world.server.late()
    }

    fn happens(&mut self, world: &mut World, number: usize) {
        world.deliver(number);
    }

    fn fate(&mut self, _: Who, action: &Action, choices: &mut Choices) -> Fate {
        let is_request = matches!(action, Action::Server(op) if !matches!(op, Op::Read(_)));
        let fate = match self.may_be && is_request {
            true => FATES[choices.choose(FATES.len())],
            false => Fate::Answered,
        };
        self.may_be &= fate == Fate::Answered;
        fate
    }
}

struct Stage {
    world: World,
    paper: Paper,
}

impl Stage {
    fn new(guarantee: Guarantee, weakness: Option<ServerWeakness>) -> Self {
        let paper = Paper::new("climate", &["wepp"], guarantee);
        let mut world = World::new(SimDisk::new(), SimServer::new(weakness));
        let made = paper.clone();
        let create = |hand| async move { made.create(&hand, 1).await };
        world.do_now("creator", create).expect("created");
        world.advance(A_WHILE);
        Self { world, paper }
    }

    fn play(&self, choices: &mut Choices) -> Result<(), String> {
        let mut world = self.world.copy();
        let paper = self.paper.clone();
        let held = world.do_now("writer", move |hand| async move {
            paper.lock(&hand, Expect::Document, Duration::ZERO).await
        });
        let (paper, held) = (self.paper.clone(), held.expect("locked"));
        world.start("writer", |hand| async move {
            paper.save(&hand, held, 2).await.expect("saved");
        });
        let from = [self.paper.clone()];
        world.start("reader", |hand| async move {
            drop(derive(&hand, &entry("wepp"), &from).await);
        });
        world.play(choices, &mut OneLate { may_be: true })?;
        if world.server.late() > 0 {
            world.deliver(0);
        }
        self.check(&mut world)
            .map_err(|why| format!("{why}\n  {}", world.story()))
    }

    /// A reader of the dependent must now get what the file has.
    fn check(&self, world: &mut World) -> Result<(), String> {
        let from = [self.paper.clone()];
        let (got, file) = world.do_now("last reader", |hand| async move {
            let (got, _) = derive(&hand, &entry("wepp"), &from).await.expect("derived");
            (got, from[0].read(&hand).await.expect("read"))
        });
        match got == file {
            true => Ok(()),
            false => Err(format!("stale: {got:?} instead of {file:?}")),
        }
    }
}

fn every_order(guarantee: Guarantee, weakness: Option<ServerWeakness>) -> Result<u64, String> {
    let stage = Stage::new(guarantee, weakness);
    every(MOST, |choices| stage.play(choices))
}

#[test]
fn a_request_that_arrives_late_leaves_nothing_stale() {
    for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
        let orders = every_order(guarantee, None).unwrap_or_else(|why| panic!("{why}"));
        println!("{guarantee:?}: {orders} orders");
        assert!(orders > 100, "{orders}");
    }
}

#[test]
fn with_leases_asked_for_twice_by_one_token_some_order_leaves_it_stale() {
    let weakness = Some(ServerWeakness::AllSentAgain);
    let why = every_order(Guarantee::BestEffort, weakness).expect_err("nothing stale");
    assert!(why.contains("stale: "), "{why}");
}

/// An acquire whose answer is lost arrives later: before it is released, before the lock is
/// requested again with another value, and at two moments while that one is held.
#[test]
fn a_lock_is_there_at_once_and_what_arrives_late_is_released() {
    for arrives in 0..4 {
        let mut stage = Stage::new(Guarantee::BestEffort, None);
        let paper = stage.paper.clone();
        let world = &mut stage.world;
        let who = world.start("writer", |hand| async move {
            let held = paper.lock(&hand, Expect::Document, Duration::ZERO).await;
            hand.pause().await;
            paper
                .save(&hand, held.expect("locked"), 2)
                .await
                .expect("saved");
        });
        let mut requests = 0;
        while world.next(who).is_some() {
            let is_request = matches!(world.next(who), Some(Action::Server(_) | Action::Sleep(_)));
            if is_request && requests == arrives + 1 {
                world.deliver(0);
            }
            let is_first = is_request && requests == 0;
            requests += usize::from(is_request);
            world.turn(
                who,
                if is_first {
                    Fate::SentTwice
                } else {
                    Fate::Answered
                },
            );
        }
        let keys = world.server.memory.keyspace().expect("it runs");
        let left = keys.left_ms(&stage.paper.lock_key()).is_some();
        assert!(
            !left && world.server.late() == 0,
            "{arrives}: {}",
            world.story()
        );
    }
}

/// Whatever happened to the first try: the effect of an outcome covers all tries together.
#[test]
fn what_may_have_been_done_is_never_said_to_be_not_done() {
    for first in [Fate::Unanswered, Fate::Dropped, Fate::Late, Fate::Away] {
        let Stage { mut world, paper } = Stage::new(Guarantee::BestEffort, None);
        let said = std::rc::Rc::new(std::cell::RefCell::new(None));
        let outcome = said.clone();
        let who = world.start("writer", |hand| async move {
            let held = paper.lock(&hand, Expect::Document, Duration::ZERO).await;
            let saved = paper.save(&hand, held.expect("locked"), 2).await;
            *outcome.borrow_mut() = Some(saved.expect("saved").outcome.cache);
        });
        let mut fate = first;
        while let Some(action) = world.next(who) {
            let now = match action {
                Action::Server(Op::Commit(_)) => std::mem::replace(&mut fate, Fate::Away),
                Action::Server(Op::Acquire(_)) => Fate::Answered,
                _ => Fate::Away,
            };
            world.wait_for(who);
            world.turn(who, now);
        }
        let effect = match first {
            Fate::Away => Effect::None,
            _ => Effect::Unknown,
        };
        match said.take() {
            Some(CacheOutcome::Deferred { cause }) => {
                assert_eq!(cause.effect(), effect, "{first:?}")
            }
            other => panic!("{first:?}: {other:?}"),
        }
    }
}

#[test]
fn without_leases_some_order_leaves_it_stale() {
    let weakness = Some(ServerWeakness::FillsWithoutLease);
    let why = every_order(Guarantee::BestEffort, weakness).expect_err("nothing stale");
    assert!(why.contains("stale: "), "{why}");
}
