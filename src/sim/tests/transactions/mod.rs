//! Transactions of several documents: their writers die at any action, others come at any time, the
//! power fails.

mod heirs;
mod history;
mod page;
mod pause;

pub(super) use page::page;

use crate::{
    disk::{
        FileAction, journal,
        sim::{Seen, SimDisk, Weakness},
    },
    protocol::{Action, Durability, Guarantee},
    sim::{
        calls::{Way, derive, transact},
        cast::{LOCK_TTL, MARK_TTL, Paper, Saves, bring, entry, mend},
        choices::{every, some},
        server::{Fate, SimServer},
        world::World,
    },
};
use history::History;
use std::{
    cell::Cell,
    collections::{BTreeMap, HashSet},
    rc::Rc,
    time::Duration,
};

const A_WHILE: Duration = Duration::from_secs(3);
/// The number of random histories; `CACHETX_SIM_RUNS` overrides it, and `CACHETX_SOAK` multiplies
/// it by `SOAK`.
const HISTORIES: u64 = 200;
const SOAK: u64 = 100;
/// The maximum number of outcomes of one power loss.
const MOST: u64 = 200_000;

fn papers(guarantee: Guarantee) -> [Paper; 3] {
    ["climate", "soils", "wepp"].map(|name| Paper::new(name, &["totals"], guarantee))
}

/// A world with the documents, and a value derived from them.
fn world(papers: &[Paper]) -> World {
    let mut world = World::new(SimDisk::new(), SimServer::new(None));
    for paper in papers {
        let paper = paper.clone();
        let create = |hand| async move { paper.create(&hand, 1).await };
        world.do_now("creator", create).expect("created");
    }
    world.advance(A_WHILE);
    derived(&mut world, papers).expect("derived");
    world
}

/// Reads each document; a reader finishes dead transactions.
fn read(world: &mut World, papers: &[Paper]) -> Result<Vec<Saves>, String> {
    let papers = papers.to_vec();
    let read = world.do_now("reader", |hand| async move {
        let mut all = Vec::new();
        for paper in &papers {
            all.push(paper.read(&hand).await?);
        }
        Ok::<_, crate::model::Error>(all)
    });
    read.map_err(|e| format!("a reader: {e}"))
}

fn derived(world: &mut World, papers: &[Paper]) -> Result<(Saves, Way), String> {
    let from = papers.to_vec();
    let derived = |hand| async move { derive(&hand, &entry("totals"), &from).await };
    let got = world.do_now("loader", derived);
    got.map_err(|e| format!("a loader: {e}"))
}

fn mended(world: &mut World) -> Result<(), String> {
    let done = world.do_now("next one", |hand| async move {
        mend(&hand).await?;
        bring(&hand).await
    });
    done.map(drop).map_err(|e| format!("recovery: {e}"))
}

/// Who comes first after the writer's death.
#[derive(Clone, Copy, Debug)]
enum Next {
    Recovery,
    ReaderOf(usize),
    WriterOf(usize),
}

const NEXT: [Next; 5] = [
    Next::Recovery,
    Next::ReaderOf(0),
    Next::ReaderOf(2),
    Next::WriterOf(0),
    Next::WriterOf(2),
];

/// The writer dies after this many actions, and somebody comes. Returns whether it had more.
fn die(guarantee: Guarantee, actions: usize, next: Next) -> Result<bool, String> {
    let papers = papers(guarantee);
    let mut world = world(&papers);
    let all = papers.clone();
    let writer = world.start("writer", |hand| async move {
        drop(transact(&hand, &all, 2).await)
    });
    for _ in 0..actions {
        if world.next(writer).is_none() {
            return Ok(false);
        }
        world.turn(writer, Fate::Answered);
    }
    world.crash(writer);
    let why = |world: &World, why: String| {
        format!(
            "{guarantee:?}, {actions} actions, {next:?}: {why}\n  {}",
            world.story()
        )
    };
    let mut saved = None;
    let came = match next {
        Next::Recovery => mended(&mut world),
        Next::ReaderOf(n) => read(&mut world, &papers[n..=n]).map(drop),
        Next::WriterOf(n) => {
            saved = Some(n);
            world.advance(LOCK_TTL);
            let paper = papers[n].clone();
            let change = |hand| async move { paper.change(&hand, 3).await };
            let done = world.do_now("next writer", change);
            done.map(drop).map_err(|e| format!("the next writer: {e}"))
        }
    };
    came.map_err(|e| why(&world, e))?;
    all_or_none(&mut world, &papers, saved).map_err(|e| why(&world, e))?;
    Ok(true)
}

#[test]
fn where_folders_cannot_be_synced_everything_goes_through_and_says_so() {
    for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
        let all = papers(guarantee);
        let mut world = World::new(SimDisk::new(), SimServer::new(None));
        world.disk.weaken(Some(Weakness::NotSyncable));
        let written = all.clone();
        let write = |hand| async move {
            let mut said = Vec::new();
            for paper in &written {
                said.push(paper.create(&hand, 1).await?.outcome.durability);
            }
            said.push(written[0].change(&hand, 2).await?.outcome.durability);
            said.push(transact(&hand, &written, 3).await?.durability);
            said.push(written[0].delete(&hand).await?.durability);
            Ok::<_, crate::model::Error>(said)
        };
        let said = world.do_now("writer", write).expect("all go through");
        assert_eq!(said, [Durability::Unknown; 6]);
        // A kept journal would block everybody for good: nobody can finish it better.
        assert_eq!(world.disk.names(journal::FOLDER), Vec::<String>::new());
    }
}

#[test]
fn where_folders_cannot_be_synced_who_dies_leaves_all_or_none() {
    let papers = papers(Guarantee::BestEffort);
    for actions in 0.. {
        let mut world = world(&papers);
        world.disk.weaken(Some(Weakness::NotSyncable));
        let all = papers.clone();
        let writer = world.start("writer", |hand| async move {
            drop(transact(&hand, &all, 2).await)
        });
        for _ in 0..actions {
            if world.next(writer).is_none() {
                return;
            }
            world.turn(writer, Fate::Answered);
        }
        world.crash(writer);
        all_or_none(&mut world, &papers, None).expect("without a power loss");
    }
}

/// The transaction is in all documents or in none, saves since then are there, and nothing derived
/// is older.
fn all_or_none(world: &mut World, papers: &[Paper], saved: Option<usize>) -> Result<(), String> {
    mended(world)?;
    let documents = read(world, papers)?;
    let done = documents[0].contains(&2);
    for (n, document) in documents.iter().enumerate() {
        let mut expected = vec![1];
        expected.extend(done.then_some(2));
        expected.extend((saved == Some(n)).then_some(3));
        if *document != expected {
            return Err(format!("the documents are {documents:?}"));
        }
    }
    world.advance(MARK_TTL);
    let (got, _) = derived(world, papers)?;
    if got != documents.concat() {
        return Err(format!("a dependent of {documents:?} is {got:?}"));
    }
    world.advance(LOCK_TTL);
    let again = papers.to_vec();
    let next = world.do_now("last writer", |hand| async move {
        transact(&hand, &again, 4).await
    });
    next.map_err(|e| format!("the next transaction: {e}"))?;
    let names = world.disk.names(&papers[0].place.folder);
    match names.iter().any(|name| name.ends_with(".tmp")) {
        true => Err(format!("a temporary file is left: {names:?}")),
        false => Ok(()),
    }
}

#[test]
fn a_writer_that_dies_at_any_action_has_saved_all_or_none() {
    for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
        for next in NEXT {
            let mut actions = 0;
            while die(guarantee, actions, next).unwrap_or_else(|why| panic!("{why}")) {
                actions += 1;
            }
            println!("{guarantee:?}, {next:?}: {actions} actions");
            assert!(actions > 60, "{actions}");
        }
    }
}

#[test]
fn in_random_histories_transactions_are_kept_whole_and_nothing_acknowledged_is_lost() {
    let times = std::env::var_os("CACHETX_SOAK").map_or(1, |_| SOAK);
    let (mut saved, mut several) = (0, 0);
    some(times * HISTORIES, |choices| {
        let guarantee = [Guarantee::BestEffort, Guarantee::CrashSafe][choices.choose(2)];
        let papers = papers(guarantee);
        let mut history = History::new(world(&papers), papers, choices);
        history.play();
        let checked = history.check();
        let (all, of_several) = history.saved();
        saved += all;
        several += of_several;
        checked.map_err(|why| format!("{guarantee:?}: {why}\n  {}", history.story()))
    })
    .unwrap_or_else(|why| panic!("{why}"));
    println!("{saved} saves, {several} of them of several documents");
}

/// The power fails after this many actions of a transaction of two documents. Returns the number of
/// disks that this leaves, or `None` if there are fewer actions.
fn lose_power(
    actions: usize,
    weakness: Option<Weakness>,
    known: &mut HashSet<(Vec<Seen>, usize, bool)>,
) -> Result<Option<usize>, String> {
    let papers = papers(Guarantee::CrashSafe)[..2].to_vec();
    let mut world = world(&papers);
    world.disk.weaken(weakness);
    let (all, told) = (papers.clone(), Rc::new(Cell::new(false)));
    let acknowledged = told.clone();
    let writer = world.start("writer", |hand| async move {
        let done = transact(&hand, &all, 2).await;
        told.set(done.is_ok_and(|outcome| outcome.durability == Durability::Synced));
    });
    for _ in 0..actions {
        if world.next(writer).is_none() {
            return Ok(None);
        }
        world.turn(writer, Fate::Answered);
    }
    let mut disks = BTreeMap::new();
    every(MOST, |choices| {
        let left = world.disk.after_power_loss(&mut |n| choices.choose(n));
        let content = left.content();
        // An earlier cut may have left this disk already, with the same server.
        if known.insert((content.clone(), world.requests(), acknowledged.get())) {
            disks.insert(content, left);
        }
        Ok(())
    })?;
    let losses = disks.len();
    for (content, disk) in disks {
        let mut after = world.after_power_loss(disk, world.server.copy());
        after.advance(A_WHILE);
        let checked = all_or_none(&mut after, &papers, None).and_then(|()| {
            let documents = read(&mut after, &papers)?;
            match acknowledged.get() && !documents[0].contains(&2) {
                true => Err(format!("it was acknowledged: {documents:?}")),
                false => Ok(()),
            }
        });
        checked.map_err(|why| {
            let story = [world.story(), after.story()].join("\n  --\n  ");
            format!("{actions} actions, then {content:?}: {why}\n  {story}")
        })?;
    }
    Ok(Some(losses))
}

#[test]
fn whatever_a_power_loss_leaves_it_is_all_or_none() {
    let (mut actions, mut losses, mut known) = (0, 0, HashSet::new());
    while let Some(more) =
        lose_power(actions, None, &mut known).unwrap_or_else(|why| panic!("{why}"))
    {
        actions += 1;
        losses += more;
    }
    println!("{losses} disks after {actions} actions");
    assert!(losses > 500, "{losses}");
}

/// The number of actions of a transaction of two documents before it writes its journal.
fn before_the_journal() -> usize {
    let papers = papers(Guarantee::CrashSafe)[..2].to_vec();
    let mut world = world(&papers);
    let writer = world.start("writer", |hand| async move {
        drop(transact(&hand, &papers, 2).await);
    });
    let is_it =
        |action: &Action| matches!(action, Action::Disk(_, FileAction::WriteJournal { .. }));
    (0..100)
        .find(|_| {
            let found = world.next(writer).is_some_and(is_it);
            world.turn(writer, Fate::Answered);
            found
        })
        .expect("it writes one")
}

#[test]
fn a_disk_that_does_not_sync_journals_or_names_is_found_out() {
    for weakness in [Weakness::NoJournalSync, Weakness::NoFolderSync] {
        let (mut known, first) = (HashSet::new(), before_the_journal());
        let mut cuts = first..first + 20;
        let found = cuts.find_map(|cut| lose_power(cut, Some(weakness), &mut known).err());
        let why = found.expect("a weakness that nothing shows");
        println!("{weakness:?}: {}", why.lines().next().unwrap_or_default());
    }
}
