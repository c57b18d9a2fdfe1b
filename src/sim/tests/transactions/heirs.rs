//! A transaction that died at its last steps is finished late, when another dead transaction has
//! some of its documents.

use super::{mended, papers, read, world};
use crate::{
    disk::{FileAction, Sidecar},
    protocol::{Action, Guarantee},
    sim::{
        calls::transact,
        cast::Paper,
        server::Fate,
        world::{Who, World},
    },
};

fn writer(world: &mut World, papers: &[&Paper], number: u64) -> Who {
    let papers: Vec<Paper> = papers.iter().map(|paper| (*paper).clone()).collect();
    world.start("writer", move |hand| async move {
        drop(transact(&hand, &papers, number).await)
    })
}

/// Dies as soon as the first of its sidecars no longer names it.
fn die_at_the_end(world: &mut World, who: Who) {
    let mut named = false;
    loop {
        let action = world.next(who).expect("it ends with the names");
        let (names, forgets) = match action {
            Action::Disk(_, FileAction::WriteSidecar(Sidecar { journal, .. })) => {
                (journal.is_some(), named && journal.is_none())
            }
            _ => (false, false),
        };
        named |= names;
        world.turn(who, Fate::Answered);
        if forgets {
            return world.crash(who);
        }
    }
}

/// The second writer dies after this many actions. Returns whether it had more.
fn die(actions: usize) -> Result<bool, String> {
    let papers = papers(Guarantee::BestEffort);
    let [a, b, c] = &papers;
    let mut world = world(&papers);
    let first = writer(&mut world, &[b, c], 2);
    die_at_the_end(&mut world, first);
    let second = writer(&mut world, &[a, b], 3);
    let mut committed = false;
    for _ in 0..actions {
        let Some(action) = world.next(second) else {
            return Ok(false);
        };
        committed |= matches!(action, Action::Disk(_, FileAction::WriteJournal { .. }));
        world.turn(second, Fate::Answered);
    }
    world.crash(second);
    // Finishes the first one, under the OS lock of a document that the second one has too.
    read(&mut world, &papers[2..])?;
    mended(&mut world)?;
    let documents = read(&mut world, &papers)?;
    let expected = match committed {
        true => [vec![1, 3], vec![1, 2, 3], vec![1, 2]],
        false => [vec![1], vec![1, 2], vec![1, 2]],
    };
    match documents == expected {
        true => Ok(true),
        false => Err(format!(
            "{actions} actions: {documents:?}\n  {}",
            world.story()
        )),
    }
}

#[test]
fn who_finishes_one_spares_what_another_one_needs() {
    let mut actions = 0;
    while die(actions).unwrap_or_else(|why| panic!("{why}")) {
        actions += 1;
    }
    assert!(actions > 40, "{actions}");
}
