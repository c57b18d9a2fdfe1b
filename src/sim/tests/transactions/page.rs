//! The transactions' part of docs/crash-points.md.

use super::{derived, mended, papers, read, world};
use crate::{
    protocol::{Action, Guarantee},
    sim::{calls::transact, cast::Paper, server::Fate, world::World},
};
use std::fmt::Write as _;

/// The results of a death: the action before it, and the rest of the row.
struct Row {
    before: String,
    cells: String,
}

/// The world after this many actions of a transaction, and its next action; `None` if there are
/// fewer.
fn after(papers: &[Paper], actions: usize) -> Option<(World, String)> {
    let mut world = world(papers);
    let all = papers.to_vec();
    let writer = world.start("writer", |hand| async move {
        drop(transact(&hand, &all, 2).await)
    });
    for _ in 0..actions {
        world.next(writer)?;
        world.turn(writer, Fate::Answered);
    }
    let before = match world.next(writer).map(Action::name) {
        Some(name) => format!("`{name}`"),
        None => "(it is done)".to_owned(),
    };
    world.crash(writer);
    Some((world, before))
}

fn age(is_new: bool) -> &'static str {
    if is_new { "new" } else { "old" }
}

fn row(guarantee: Guarantee, actions: usize) -> Option<Row> {
    let papers = papers(guarantee);
    let (mut world, before) = after(&papers, actions)?;
    let files = papers.iter().map(|paper| {
        let place = &paper.place;
        let seen = world.disk.document(&place.folder, &place.file);
        age(seen.is_some_and(|(_, bytes)| bytes.ends_with(b"2]")))
    });
    let files: Vec<&str> = files.collect();
    // Before anybody has visited a document.
    let at_once = derived(&mut world, &papers).expect("derived").0;
    mended(&mut world).expect("finished");
    let documents = read(&mut world, &papers).expect("read");
    let right = |got: &[u64]| {
        if got == documents.concat() {
            "right"
        } else {
            "**stale**"
        }
    };
    let then = derived(&mut world, &papers).expect("derived").0;
    let cells = [
        files.join(", "),
        right(&at_once).to_owned(),
        format!("all {}", age(documents[0].contains(&2))),
        right(&then).to_owned(),
    ];
    Some(Row {
        before,
        cells: cells.join(" | "),
    })
}

pub(in crate::sim::tests) fn page() -> String {
    let mut text = String::new();
    for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
        let _ = writeln!(
            text,
            "\n## A transaction of three documents, `{guarantee:?}`\n\n| it dies before | the files | dependent that was cached, at once | once somebody has come | dependent then |\n| --- | --- | --- | --- | --- |"
        );
        let rows: Vec<Row> = (0..).map_while(|actions| row(guarantee, actions)).collect();
        for alike in rows.chunk_by(|one, next| one.cells == next.cells) {
            let before: Vec<&str> = alike.iter().map(|row| &*row.before).collect();
            let _ = writeln!(text, "| {} | {} |", before.join(", "), alike[0].cells);
        }
    }
    text
}
