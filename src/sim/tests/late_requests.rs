//! A writer, and a reader that loads what depends on the document. One request of either is held up on its way: its sender gives
//! up waiting, and it arrives at any later moment. In every order.

use crate::{
    disk::{FileAction, sim::SimDisk},
    op::Op,
    protocol::{Action, Guarantee, lock::Expect},
    sim::{
        cast::{Paper, derive, entry},
        choices::{Choices, every},
        server::{Fate, ServerWeakness, SimServer},
        world::World,
    },
};
use std::time::Duration;

const A_WHILE: Duration = Duration::from_secs(3);
/// Orders in one test, at most.
const MOST: u64 = 1_000_000;

/// Before which actions the other one may have a turn: those that it can see.
fn is_point(action: &Action) -> bool {
    matches!(
        action,
        Action::Server(Op::Prepare(_) | Op::Commit(_) | Op::Lease(_) | Op::Fill(_))
            | Action::Disk(_, FileAction::Rename { .. } | FileAction::Read)
    )
}

fn may_be_late(action: &Action) -> bool {
    matches!(action, Action::Server(op) if !matches!(op, Op::Read(_)))
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
        let mut may_be = true;
        while !world.living().is_empty() {
            let ready = world.ready();
            let at_point = |who| world.next(who).is_some_and(is_point);
            let who = match ready.iter().find(|who| !at_point(**who)) {
                Some(who) => *who,
                None if ready.is_empty() => {
                    world.wait_for_somebody();
                    continue;
                }
                None => {
                    let chosen = choices.choose(ready.len() + world.server.late());
                    let Some(who) = ready.get(chosen) else {
                        world.deliver(0);
                        continue;
                    };
                    *who
                }
            };
            let late = may_be && world.next(who).is_some_and(may_be_late) && choices.once_in(2);
            may_be &= !late;
            world.turn(who, if late { Fate::Late } else { Fate::Answered });
        }
        if world.server.late() > 0 {
            world.deliver(0);
        }
        self.check(&mut world)
            .map_err(|why| format!("{why}\n  {}", world.story()))
    }

    /// What a reader of the dependent gets now is what the file says.
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
fn without_leases_some_order_leaves_it_stale() {
    let weakness = Some(ServerWeakness::FillsWithoutLease);
    let why = every_order(Guarantee::BestEffort, weakness).expect_err("nothing stale");
    assert!(why.contains("stale: "), "{why}");
}
