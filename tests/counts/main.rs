//! What a save costs that can be counted exactly, against `benches/counts.txt`: `make bench-check`.
//!
//! Counts of servers and compilers that are not here are not compared.
#![cfg(feature = "testing")]

#[path = "../../benches/bed/mod.rs"]
#[allow(dead_code)] // the benchmarks use the rest
mod bed;
mod file;

use bed::{
    callgrind,
    counts::{self, Item, SIZES},
    way::Way,
};
use cachetx::{
    BoxError,
    testing::{Server, ServerBinary},
};
use file::{Counts, Section};
use std::{env, fs, io::Write as _, path::Path, process::Command};

const FILE: &str = "benches/counts.txt";
/// Set by this test for its own child.
const CHILD: &str = "CACHETX_COUNTED";

#[test]
fn counts_are_the_committed_ones() -> Result<(), BoxError> {
    let mut found = Counts::default();
    let binaries = ServerBinary::all();
    assert!(!binaries.is_empty(), "no server found: run `make servers`");
    for binary in binaries {
        wire(&Server::start(binary)?, &mut found)?;
    }
    let any = ServerBinary::any().expect("one of them");
    allocations(&Server::start(any)?, &mut found)?;
    instructions(&mut found)?;

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let committed = Counts::read(&fs::read_to_string(&path).unwrap_or_default());
    if env::var_os("CACHETX_BLESS").is_some() {
        fs::write(&path, committed.accept(&found).to_string())?;
        return Ok(());
    }
    for title in found.missing_in(&committed) {
        skipped(&format!("no committed counts of [{title}]"));
    }
    let differences = committed.differences(&found);
    assert!(
        differences.is_empty(),
        "counts differ from {FILE}:\n{}\nIf that is meant: `make bench-check ACCEPT=1`, and read the diff.",
        differences.join("\n")
    );
    Ok(())
}

fn wire(server: &Server, found: &mut Counts) -> Result<(), BoxError> {
    let (major, minor, _) = server.binary().version();
    for way in [
        Way::Library,
        Way::Update,
        Way::UpdateAlone,
        Way::ByHand,
        Way::Bare,
    ] {
        for size in SIZES {
            let wire = counts::wire(server, way, size)?;
            let flavour = format!("{:?}", server.binary().flavour());
            let title = format!("{}, {size}, {flavour} {major}.{minor}", way.name());
            let mut section = Section::new(title);
            section.count("round trips", wire.traffic.round_trips);
            section.count("bytes sent", wire.traffic.bytes_up);
            section.count("bytes received", wire.traffic.bytes_down);
            section.text("commands sent", &wire.commands.sent());
            section.text("commands in scripts", &wire.commands.scripted);
            found.add(section);
        }
    }
    Ok(())
}

fn allocations(server: &Server, found: &mut Counts) -> Result<(), BoxError> {
    let mut section = Section::new("allocations".to_owned());
    for item in Item::all() {
        section.count(&item.to_string(), item.allocations(server)?);
    }
    found.add(section);
    Ok(())
}

/// They are those of one compiler and of the profile that tests have.
fn instructions(found: &mut Counts) -> Result<(), BoxError> {
    if callgrind::version().is_none() {
        skipped("no valgrind: instructions are not counted");
        return Ok(());
    }
    if !cfg!(debug_assertions) {
        skipped("instructions are compared for the dev profile only");
        return Ok(());
    }
    let rustc = Command::new("rustc").arg("--version").output()?.stdout;
    let rustc = String::from_utf8(rustc)?;
    let version = rustc.split_whitespace().nth(1).ok_or("no version")?;
    let mut section = Section::new(format!("instructions, rustc {version}, dev profile"));
    let items = Item::all();
    let child = ["--exact", "counted_by_callgrind", "--test-threads=1"];
    for (item, count) in items
        .iter()
        .zip(callgrind::run(&child, CHILD, items.len())?)
    {
        section.count(&item.to_string(), count);
    }
    found.add(section);
    Ok(())
}

/// Does nothing but in the child that valgrind runs.
#[test]
fn counted_by_callgrind() -> Result<(), BoxError> {
    if env::var_os(CHILD).is_none() {
        return Ok(());
    }
    let server = Server::start(ServerBinary::any().ok_or("no server")?)?;
    Item::all()
        .into_iter()
        .try_for_each(|item| item.count(&server))
}

/// Past the harness, which shows what `eprintln!` writes for failures only.
fn skipped(why: &str) {
    let _ = std::io::stderr().write_all(format!("SKIPPED {why}\n").as_bytes());
}
