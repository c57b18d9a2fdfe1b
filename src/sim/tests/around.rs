//! Two changes of a truth that is not a document, made by `invalidate_around`, and a reader that
//! loads a value derived from it. One of the changes may die at any moment. Tries every order of
//! the actions that others can see.

use crate::{
    disk::sim::SimDisk,
    protocol::Action,
    sim::{
        actor::Hand,
        calls::{get_or_load, invalidate, invalidate_around},
        cast::{Saves, bring, entry},
        choices::{Choices, every},
        server::{ServerWeakness, SimServer},
        turns::Chance,
        world::{Who, World},
    },
};
use std::{cell::RefCell, rc::Rc};

/// The maximum number of orders in one test.
const MOST: u64 = 1_000_000;

type Truth = Rc<RefCell<Saves>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Around,
    /// Change, then invalidate.
    Naive,
}

async fn change(hand: Hand, way: Way, truth: Truth, number: u64) {
    let change = async || {
        hand.pause().await;
        truth.borrow_mut().push(number);
    };
    let done = match way {
        Way::Around => invalidate_around(&hand, &entry("totals"), change)
            .await
            .map(drop),
        Way::Naive => {
            change().await;
            invalidate(&hand, vec![entry("totals")]).await
        }
    };
    done.expect("changed");
}

/// The truth is read at one point, between the lease and the fill.
async fn derive(hand: Hand, truth: Truth) -> Saves {
    let load = async || {
        hand.pause().await;
        Ok(truth.borrow().clone())
    };
    let got = get_or_load(&hand, &entry("totals"), load).await;
    got.expect("derived").0
}

/// A script that may die at any moment.
struct MayDie(Option<Who>);

impl Chance for MayDie {
    /// Nobody sees the content of an outbox while its process lives.
    fn is_point(&self, _: Who, action: &Action) -> bool {
        !matches!(action, Action::Outbox(_))
    }

    fn events(&self, world: &World) -> usize {
        let ready = world.ready();
        usize::from(self.0.is_some_and(|who| ready.contains(&who)))
    }

    fn happens(&mut self, world: &mut World, _: usize) {
        if let Some(who) = self.0.take() {
            world.crash(who);
        }
    }
}

fn play(way: Way, weakness: Option<ServerWeakness>, choices: &mut Choices) -> Result<(), String> {
    let mut world = World::new(SimDisk::new(), SimServer::new(weakness));
    let truth = Truth::new(RefCell::new(vec![1]));
    let of = truth.clone();
    world.do_now("reader", |hand| derive(hand, of));
    let [first, _] = [2, 3].map(|number| {
        let of = truth.clone();
        world.start("change", move |hand| change(hand, way, of, number))
    });
    let of = truth.clone();
    world.start("reader", |hand| async move { drop(derive(hand, of).await) });
    world.play(choices, &mut MayDie(Some(first)))?;
    let wrong = |world: &World, got: &Saves| {
        format!(
            "stale: {got:?} of {:?}\n  {}",
            truth.borrow(),
            world.story()
        )
    };
    for replayed in [false, true] {
        if replayed {
            let brought = world.do_now("replayer", |hand| async move { bring(&hand).await });
            brought.expect("replayed");
        }
        let of = truth.clone();
        let got = world.do_now("last reader", |hand| derive(hand, of));
        if got != *truth.borrow() {
            return Err(wrong(&world, &got));
        }
    }
    match world.outboxes.waiting() {
        0 => Ok(()),
        left => Err(format!("{left} records are left\n  {}", world.story())),
    }
}

#[test]
fn a_change_that_dies_at_any_moment_leaves_nothing_stale() {
    let orders = every(MOST, |choices| play(Way::Around, None, choices))
        .unwrap_or_else(|why| panic!("{why}"));
    println!("{orders} orders");
    assert!(orders > 1_000, "{orders}");
}

#[test]
fn the_naive_way_and_a_server_without_marks_leave_something_stale() {
    for (way, weakness) in [
        (Way::Naive, None),
        (Way::Around, Some(ServerWeakness::ForgetsMarks)),
        (Way::Around, Some(ServerWeakness::FillsWithoutLease)),
    ] {
        let found = every(MOST, |choices| play(way, weakness, choices));
        let why = found.expect_err("nothing stale");
        assert!(why.contains("stale: "), "{way:?}, {weakness:?}: {why}");
    }
}
