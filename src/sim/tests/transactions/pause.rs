//! A transaction pauses, or dies, before any of its actions, while others come: a second one, a
//! recovery or a writer, pauses too, while a third one saves. Then those that live go on.

use super::{papers, read, world};
use crate::{
    disk::sim::Weakness,
    protocol::Guarantee,
    sim::{
        calls::{derive, transact},
        cast::{LOCK_TTL, MARK_TTL, Paper, bring, entry, mend},
        server::Fate,
        world::{Who, World},
    },
};
use std::{cell::RefCell, rc::Rc};

/// What happens to the transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Halt {
    Pauses,
    Dies,
}

#[derive(Clone, Copy, Debug)]
struct Setting {
    guarantee: Guarantee,
    halt: Halt,
    weakness: Option<Weakness>,
}

/// The second one.
#[derive(Clone, Copy, Debug)]
enum Second {
    Recovery,
    WriterOf(usize),
}

/// The document that the third one saves.
const THIRD: usize = 1;
/// How many actions the second one takes between two of its pauses: with `CACHETX_SOAK`, and
/// without.
const STEPS: [usize; 2] = [1, 7];
/// After this many actions it only waits for an OS lock of the first one.
const WAITS: usize = 100;

/// The saves: their numbers, their documents, and whether they succeeded.
type Told = Rc<RefCell<Vec<(u64, Vec<usize>, bool)>>>;

/// Takes this many turns. Returns whether the script has more.
fn turns(world: &mut World, who: Who, actions: usize) -> bool {
    for _ in 0..actions {
        if world.next(who).is_none() {
            return false;
        }
        world.wait_for(who);
        world.turn(who, Fate::Answered);
    }
    world.next(who).is_some()
}

fn save(world: &mut World, papers: &[Paper], n: usize, number: u64, told: &Told) -> Who {
    let (paper, told) = (papers[n].clone(), told.clone());
    world.start("writer of one", move |hand| async move {
        let done = paper.change(&hand, number).await;
        told.borrow_mut().push((number, vec![n], done.is_ok()));
    })
}

/// Returns whether the first and the second had more to do when they were stopped.
fn pause(
    setting: Setting,
    first_actions: usize,
    (second, second_actions): (Second, usize),
) -> Result<(bool, bool), String> {
    let papers = papers(setting.guarantee);
    let mut world = world(&papers);
    world.disk.weaken(setting.weakness);
    let told = Told::default();
    let (all, says) = (papers.clone(), told.clone());
    let first = world.start("transaction", |hand| async move {
        let done = transact(&hand, &all, 2).await;
        says.borrow_mut().push((2, vec![0, 1, 2], done.is_ok()));
    });
    let first_stopped = turns(&mut world, first, first_actions);
    if setting.halt == Halt::Dies && first_stopped {
        world.crash(first);
    }
    world.advance(LOCK_TTL);
    let second_one = match second {
        Second::Recovery => world.start("recovery", |hand| async move {
            mend(&hand).await.expect("no bug");
        }),
        Second::WriterOf(n) => save(&mut world, &papers, n, 3, &told),
    };
    let second_stopped = turns(&mut world, second_one, second_actions);
    world.advance(LOCK_TTL);
    let third = save(&mut world, &papers, THIRD, 4, &told);
    // The one that was stopped last goes on first.
    for who in [third, second_one, first] {
        turns(&mut world, who, usize::MAX);
    }
    check(&mut world, &papers, &told.borrow()).map_err(|why| {
        format!(
            "{setting:?} after {first_actions}, {second:?} after {second_actions}: {why}\n  {}",
            world.story()
        )
    })?;
    Ok((first_stopped, second_stopped))
}

/// Every document has exactly what was acknowledged for it, and nothing derived is older. A
/// transaction whose writer died without a result is in all documents or in none.
fn check(
    world: &mut World,
    papers: &[Paper],
    told: &[(u64, Vec<usize>, bool)],
) -> Result<(), String> {
    let next = world.do_now("next one", |hand| async move {
        mend(&hand).await?;
        bring(&hand).await
    });
    next.map_err(|e| format!("recovery: {e}"))?;
    let documents = read(world, papers)?;
    let untold = told.iter().all(|(number, _, _)| *number != 2);
    let done_untold = untold && documents[0].contains(&2);
    for (n, document) in documents.iter().enumerate() {
        let mut found = document.clone();
        found.sort_unstable();
        let saved = told
            .iter()
            .filter(|(_, which, ok)| *ok && which.contains(&n));
        let mut expected: Vec<u64> = saved.map(|(number, _, _)| *number).collect();
        expected.push(1);
        expected.extend(done_untold.then_some(2));
        expected.sort_unstable();
        if found != expected {
            return Err(format!("the documents are {documents:?} after {told:?}"));
        }
    }
    world.advance(MARK_TTL);
    let from = papers.to_vec();
    let derived = |hand| async move { derive(&hand, &entry("totals"), &from).await };
    let (got, _) = world
        .do_now("loader", derived)
        .map_err(|e| format!("a loader: {e}"))?;
    match got == documents.concat() {
        true => Ok(()),
        false => Err(format!("a dependent of {documents:?} is {got:?}")),
    }
}

fn at_every_action(halt: Halt, weakness: Option<Weakness>) -> Result<u64, String> {
    let mut pauses = 0;
    let (guarantees, step): (&[_], _) = match std::env::var_os("CACHETX_SOAK") {
        Some(_) => (&[Guarantee::BestEffort, Guarantee::CrashSafe], STEPS[0]),
        None => (&[Guarantee::CrashSafe], STEPS[1]),
    };
    for guarantee in guarantees {
        let setting = Setting {
            guarantee: *guarantee,
            halt,
            weakness,
        };
        for second in [Second::Recovery, Second::WriterOf(0)] {
            let mut first_actions = 0;
            let mut first_stopped = true;
            while first_stopped {
                for second_actions in (0..WAITS).step_by(step) {
                    let second = (second, second_actions);
                    let (first, second) = pause(setting, first_actions, second)?;
                    pauses += 1;
                    first_stopped = first;
                    if !second {
                        break;
                    }
                }
                first_actions += 1;
            }
        }
    }
    Ok(pauses)
}

#[test]
fn a_paused_transaction_overwrites_nothing_newer_and_is_all_or_none() {
    let pauses = at_every_action(Halt::Pauses, None).unwrap_or_else(|why| panic!("{why}"));
    println!("{pauses} pauses");
    assert!(pauses > 300, "{pauses}");
}

#[test]
fn a_paused_recovery_overwrites_nothing_newer_and_is_all_or_none() {
    let pauses = at_every_action(Halt::Dies, None).unwrap_or_else(|why| panic!("{why}"));
    println!("{pauses} pauses");
    assert!(pauses > 300, "{pauses}");
}

/// A recovery is right without it: it only renames files that are as they were before.
#[test]
fn without_the_os_lock_a_paused_transaction_is_found_out() {
    let found = at_every_action(Halt::Pauses, Some(Weakness::NoSidecarLock));
    let why = found.expect_err("a weakness that nothing shows");
    println!("{}", why.lines().next().unwrap_or_default());
}
