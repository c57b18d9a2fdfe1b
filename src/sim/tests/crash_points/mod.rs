//! A writer dies before each of its actions; then readers, a replay and the next writer come. The
//! test compares their results with docs/crash-points.md, and with what the guarantee promises.

mod scene;

use crate::{
    protocol::Guarantee,
    sim::{
        cast::{ENTRY_TTL, LOCK_TTL, Saves},
        server::ServerWeakness,
    },
};
use scene::{Dependent, NEW, OLD, STALE, Scene, Writer};
use std::fmt::Write as _;

/// The results of a writer's death before one of its actions.
struct Row {
    /// `None` if all its actions were done.
    before: Option<String>,
    document: &'static str,
    cached: String,
    late: String,
    replayed: String,
    lock: &'static str,
}

impl Row {
    fn dependents(&self) -> [(&'static str, &str); 3] {
        [
            ("that was cached", &self.cached),
            ("that was filled late", &self.late),
            ("after a replay", &self.replayed),
        ]
    }

    fn cells(&self) -> String {
        [
            self.document,
            &self.cached,
            &self.late,
            &self.replayed,
            self.lock,
        ]
        .join(" | ")
    }
}

/// `None` if the writer has fewer actions.
fn row(
    writer: Writer,
    actions: usize,
    weakness: Option<ServerWeakness>,
) -> Result<Option<Row>, String> {
    let after = |dependent| Scene::after(writer, dependent, actions, weakness);
    let (Some(mut cached), Some(mut late), Some(mut locked), Some(mut replayed), Some(last)) = (
        after(Dependent::Cached),
        after(Dependent::BeingLoaded),
        after(Dependent::Cached),
        after(Dependent::Cached),
        after(Dependent::BeingLoaded),
    ) else {
        return Ok(None);
    };
    let document = match cached.read()? {
        saves if saves.is_empty() => "gone",
        saves => age(&saves)?,
    };
    let before = late.derive()?;
    late.replay()?;
    replayed.replay()?;
    let lock = match (locked.is_locked()?, replayed.is_locked()?) {
        (false, _) => "free",
        (true, false) => "held until the replay, or its TTL",
        (true, true) => "held until its TTL",
    };
    end_well(last)?;
    Ok(Some(Row {
        document,
        cached: cached.derive()?,
        late: before,
        replayed: late.derive()?,
        lock,
        before: cached.before,
    }))
}

fn age(saves: &Saves) -> Result<&'static str, String> {
    match &**saves {
        OLD => Ok("old"),
        NEW => Ok("new"),
        other => Err(format!("the document is {other:?}")),
    }
}

/// After all times have passed, the next writer saves, nothing is stale, and no temporary file is
/// left.
fn end_well(mut scene: Scene) -> Result<(), String> {
    scene.world.advance(LOCK_TTL.max(ENTRY_TTL));
    if scene.derive()? == STALE {
        return Err("the dependent is stale past its TTL".to_owned());
    }
    if scene.is_locked()? {
        return Err("the lock outlived its TTL".to_owned());
    }
    let names = scene.world.disk.names(&scene.paper.place.folder);
    match names.iter().any(|name| name.ends_with(".tmp")) {
        true => Err(format!("a temporary file is left: {names:?}")),
        false => Ok(()),
    }
}

fn rows(writer: Writer, weakness: Option<ServerWeakness>) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    while let Some(row) = row(writer, rows.len(), weakness)
        .map_err(|why| format!("{writer:?} died after {} actions: {why}", rows.len()))?
    {
        rows.push(row);
    }
    Ok(rows)
}

/// Fails if the guarantee is not kept.
fn check(writer: Writer, rows: &[Row]) -> Result<(), String> {
    let taken = |row: &Row, action: &str| {
        let mut earlier = rows.iter().take_while(|other| !std::ptr::eq(*other, row));
        earlier.any(|other| other.before.as_deref() == Some(action))
    };
    let (change, end) = match writer {
        Writer::Save(_) => ("disk.rename", "server.Commit"),
        Writer::Delete(Guarantee::BestEffort) => ("disk.unlink", "server.Invalidate"),
        Writer::Delete(Guarantee::CrashSafe) => ("disk.unlink", "server.Commit"),
    };
    for row in rows {
        let before = row.before.as_deref().unwrap_or("its end");
        let changed = taken(row, change);
        if changed == row.document.starts_with("old") {
            return Err(format!(
                "dies before {before}: the document is {}",
                row.document
            ));
        }
        // With best effort, a cached value, or one loaded before, may be stale between the file and
        // the server.
        let may_be_stale =
            writer.guarantee() == Guarantee::BestEffort && changed && !taken(row, end);
        for (what, dependent) in row.dependents() {
            if (dependent == STALE) != may_be_stale {
                return Err(format!(
                    "dies before {before}: the dependent {what}: {dependent}"
                ));
            }
        }
    }
    Ok(())
}

fn table(title: &str, rows: &[Row]) -> String {
    let mut text = format!(
        "\n## {title}\n\n| it dies before | document | dependent that was cached | dependent whose loader began before the writer | the same after a replay | lock |\n| --- | --- | --- | --- | --- | --- |\n"
    );
    for alike in rows.chunk_by(|one, next| one.cells() == next.cells()) {
        let before = alike.iter().map(|row| match &row.before {
            Some(action) => format!("`{action}`"),
            None => "(it is done)".to_owned(),
        });
        let before: Vec<String> = before.collect();
        let _ = writeln!(text, "| {} | {} |", before.join(", "), alike[0].cells());
    }
    text
}

const INTRODUCTION: &str = "# Crash points

What is seen when a writer's process dies before each of its actions, found out by the simulation (`src/sim/tests/crash_points/`), which
holds this page against itself; `CACHETX_BLESS=1 cargo test --all-features --lib crash_points` writes it anew. One document, one
dependent. *Stale* is a dependent of an older document than the file is; it lasts until the dependent's TTL, or until the next save.
";

const WRITERS: [(&str, Writer); 4] = [
    ("A save, `BestEffort`", Writer::Save(Guarantee::BestEffort)),
    ("A save, `CrashSafe`", Writer::Save(Guarantee::CrashSafe)),
    (
        "A deletion, `BestEffort`",
        Writer::Delete(Guarantee::BestEffort),
    ),
    (
        "A deletion, `CrashSafe`",
        Writer::Delete(Guarantee::CrashSafe),
    ),
];

#[test]
fn at_every_crash_point_readers_get_what_the_page_says() {
    let mut page = INTRODUCTION.to_owned();
    for (title, writer) in WRITERS {
        let rows = rows(writer, None).unwrap();
        check(writer, &rows)
            .unwrap_or_else(|why| panic!("{title}: {why}\n{}", table(title, &rows)));
        page += &table(title, &rows);
    }
    page += &super::transactions::page();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/crash-points.md");
    if std::env::var_os("CACHETX_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), page);
}

#[test]
fn a_server_without_one_of_its_checks_breaks_the_crash_points() {
    let broken = |writer, weakness| {
        let rows = rows(writer, Some(weakness)).unwrap();
        check(writer, &rows).expect_err("not noticed")
    };
    let safe = Writer::Save(Guarantee::CrashSafe);
    let fills = broken(safe, ServerWeakness::FillsWithoutLease);
    assert!(fills.contains("filled late: **stale**"), "{fills}");
    let keeps = broken(
        Writer::Save(Guarantee::BestEffort),
        ServerWeakness::KeepsDependents,
    );
    assert!(keeps.contains("cached: **stale**"), "{keeps}");
}
