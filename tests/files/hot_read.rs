//! What a hot read costs: one system call, no round trip. Counted by the library's own steps, and
//! by `strace` if it is installed.

use crate::support::{self, Climate, RUN, World, given};
use cachetx::{Document, FileSystem, Store};
use std::{
    fs,
    process::Command,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;

const READS: usize = 100;

#[test]
fn a_hot_read_is_one_step_and_no_round_trip() {
    let world = World::start();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let steps = seen.clone();
    let store = world
        .store_builder()
        .file_system(FileSystem::Local)
        .trace(move |step| steps.lock().expect("not poisoned").push(step.to_owned()))
        .open()
        .expect("a store");
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let taken = || std::mem::take(&mut *seen.lock().expect("not poisoned"));
    taken();
    document.read().expect("cold");
    assert_eq!(taken(), ["disk.peek-sidecar", "disk.stat", "disk.read"]);
    world.settle();
    document.read().expect("what it is from now on");
    taken();
    let before = store.cache().stats();
    document.read().expect("hot");
    assert_eq!(taken(), ["disk.stat"]);
    let after = store.cache().stats();
    assert_eq!(after.round_trips, before.round_trips);
    assert_eq!(after.reads_from_snapshot, before.reads_from_snapshot + 1);
}

/// The system calls that a process makes for [`READS`] hot reads; `None` if they cannot be traced.
fn traced(world: &World, file_system: &str) -> Option<Vec<String>> {
    let traces = TempDir::new().expect("a folder");
    let child = Command::new("strace")
        .args(["-ff", "-qq", "-o"])
        .arg(traces.path().join("trace"))
        .arg(std::env::current_exe().expect("the test binary"))
        .args([
            "--exact",
            "hot_read::hot_reader",
            "--ignored",
            "--test-threads=1",
        ])
        .env("CACHETX_TEST_URL", world.server.url())
        .env("CACHETX_TEST_ROOT", world.root.path())
        .env("CACHETX_TEST_FILE_SYSTEM", file_system)
        .output();
    // `strace` is missing or may not trace.
    let child = child.ok().filter(|child| child.status.success())?;
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(said.contains("1 passed"), "{said}");
    // There is a file for each thread; the reader's has the two marks.
    let calls = fs::read_dir(traces.path()).expect("listed").find_map(|it| {
        let text = fs::read_to_string(it.expect("a trace").path()).expect("text");
        let mut parts = text.split("getppid(");
        let between = parts.nth(1)?;
        parts.next()?;
        let lines = between.lines().skip(1).map(str::to_owned);
        Some(lines.collect())
    });
    Some(calls.expect("a thread with both marks"))
}

fn count(calls: &[String], name: &str) -> usize {
    let call = format!("{name}(");
    calls.iter().filter(|it| it.starts_with(&call)).count()
}

#[test]
fn a_hot_read_is_one_system_call() {
    let world = World::start();
    let Some(calls) = traced(&world, "local") else {
        eprintln!("SKIPPED a_hot_read_is_one_system_call: strace is not there, or may not trace");
        return;
    };
    assert_eq!(calls.len(), READS, "{calls:#?}");
    let path = format!("\"{RUN}/climate.nodb\"");
    assert!(
        calls
            .iter()
            .all(|it| it.contains("stat") && it.contains(&path)),
        "{calls:#?}"
    );
}

#[test]
fn on_a_network_file_system_a_hot_read_opens_the_file() {
    let world = World::start();
    let Some(calls) = traced(&world, "network") else {
        eprintln!(
            "SKIPPED on_a_network_file_system_a_hot_read_opens_the_file: strace is not there, or may not trace"
        );
        return;
    };
    // The folder and the file, each without following a link.
    assert_eq!(count(&calls, "openat"), 2 * READS, "{calls:#?}");
    let by_name = calls.iter().filter(|it| it.contains("statat(")).count();
    assert_eq!((by_name, count(&calls, "read")), (0, 0), "{calls:#?}");
}

#[test]
#[ignore = "a child process of other tests"]
fn hot_reader() {
    let (Some(url), Some(root), Some(file_system)) = (
        given("CACHETX_TEST_URL"),
        given("CACHETX_TEST_ROOT"),
        given("CACHETX_TEST_FILE_SYSTEM"),
    ) else {
        return;
    };
    let cache = support::cache_builder().url(url).open();
    let store = Store::builder(cache.expect("a cache"))
        .root(root)
        .file_system(match &*file_system {
            "network" => FileSystem::Network,
            _ => FileSystem::Local,
        })
        .open()
        .expect("a store");
    let document: Document<Climate> = store.document(RUN, "climate").expect("a document");
    if !document.exists().expect("looked") {
        document.create(&Climate::of(1)).expect("created");
    }
    let hot = || store.cache().stats().reads_from_snapshot;
    support::until("reads are hot", || {
        document.read().expect("cold");
        hot() > 0
    });
    let before = hot();
    let _ = rustix::process::getppid();
    for _ in 0..READS {
        document.read().expect("hot");
    }
    let _ = rustix::process::getppid();
    assert_eq!(hot() - before, READS as u64);
}
