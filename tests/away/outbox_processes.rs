//! Processes that record, replay, take over and are killed: no acknowledged record is lost.
//!
//! `CACHETX_OUTBOX_RECORDS` and `CACHETX_OUTBOX_SAVES` make the runs longer.

use crate::support::gate::Gate;
use crate::support::{self, Climate, World, child, given, until};
use cachetx::{CacheOutcome, Document, Guarantee, OutboxFile, Params, Store};
use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdout},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const PROCESSES: usize = 4;
/// Kept away from every process: deleting is by key, not by chance.
const BYSTANDER: &str = "nodb_cache:{bystander}:ash";

fn number(name: &str, default: usize) -> usize {
    given(name).map_or(default, |text| text.parse().expect("a number"))
}

fn keys(run: &str) -> [String; 2] {
    ["ash", "soils"].map(|controller| format!("nodb_cache:{{{run}}}:{controller}"))
}

fn warm<'a>(world: &World, runs: impl Iterator<Item = &'a String>) {
    let mut pipe = redis::pipe();
    for key in runs.flat_map(|run| keys(run)) {
        pipe.cmd("SET").arg(key).arg("derived").ignore();
    }
    pipe.cmd("SET").arg(BYSTANDER).arg("derived").ignore();
    pipe.exec(&mut world.redis()).expect("set");
}

/// Keys of these runs that are still there.
fn left<'a>(world: &World, runs: impl Iterator<Item = &'a String>) -> usize {
    let mut pipe = redis::pipe();
    for key in runs.flat_map(|run| keys(run)) {
        pipe.cmd("EXISTS").arg(key);
    }
    if pipe.is_empty() {
        return 0;
    }
    let there: Vec<usize> = pipe.query(&mut world.redis()).expect("asked");
    there.iter().sum()
}

fn pending(folder: &Path) -> usize {
    let files = OutboxFile::list(folder).expect("listed");
    files.iter().map(|file| file.records.len()).sum()
}

/// A child whose lines are collected while it lives.
struct Worker {
    child: Child,
    reader: Option<thread::JoinHandle<()>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Worker {
    fn start(test: &str, variables: &[(&str, String)]) -> Self {
        let mut child = child(test, variables).spawn().expect("a child");
        let said = Arc::<Mutex<Vec<String>>>::default();
        let (lines, heard) = (child.stdout.take().expect("piped"), said.clone());
        Self {
            child,
            reader: Some(thread::spawn(move || hear(lines, &heard))),
            said,
        }
    }

    fn is_done(&mut self) -> bool {
        self.child.try_wait().expect("asked").is_some()
    }

    /// What it said before its end.
    fn end(mut self, kill: bool) -> Vec<String> {
        if kill {
            self.child.kill().expect("killed");
        }
        self.child.wait().expect("ended");
        self.reader.take().map(thread::JoinHandle::join);
        std::mem::take(&mut *self.said.lock().expect("not poisoned"))
    }
}

/// Whole lines only: a killed child's last one may be cut.
fn hear(lines: ChildStdout, said: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(lines);
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
        if let Some(run) = line.strip_prefix("did ").and_then(|l| l.strip_suffix('\n')) {
            said.lock().expect("not poisoned").push(run.to_owned());
        }
        line.clear();
    }
}

fn say(run: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\ndid {run}")
        .and_then(|()| out.flush())
        .expect("heard");
}

/// Does what a crash of the file system may: half a record at the end of a dead process's file.
fn tear(folder: &Path) -> usize {
    let Ok(names) = fs::read_dir(folder) else {
        return 0;
    };
    let paths: Vec<PathBuf> = names.map(|entry| entry.expect("an entry").path()).collect();
    let outboxes = paths
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "outbox"));
    outboxes
        .filter(|path| {
            let Ok(mut file) = OpenOptions::new().append(true).open(path) else {
                return false;
            };
            let lock = rustix::fs::FlockOperation::NonBlockingLockExclusive;
            let dead = rustix::fs::flock(&file, lock).is_ok();
            dead && file
                .write_all(b"1 0123456789abcdef {\"kind\":\"def")
                .is_ok()
        })
        .count()
}

#[test]
fn no_record_is_lost_while_processes_record_replay_and_die() {
    let records = number("CACHETX_OUTBOX_RECORDS", 800);
    let (world, dir) = (World::start(), TempDir::new().expect("a folder"));
    let folder = dir.path().join("outbox");
    let run = |process: usize, n: usize| format!("run-{process}-{n}");
    let each = records.div_ceil(PROCESSES);
    let all: Vec<String> = (0..PROCESSES)
        .flat_map(|process| (0..each).map(move |n| run(process, n)))
        .collect();
    warm(&world, all.iter());

    let variables = |from: usize, process: usize| {
        [
            ("CACHETX_TEST_OUTBOX", folder.display().to_string()),
            ("CACHETX_TEST_PROCESS", process.to_string()),
            ("CACHETX_TEST_FROM", from.to_string()),
            ("CACHETX_TEST_TO", each.to_string()),
        ]
    };
    let replayer = || {
        Worker::start(
            "outbox_processes::replays",
            &[
                ("CACHETX_TEST_OUTBOX", folder.display().to_string()),
                ("CACHETX_TEST_URL", world.server.url()),
            ],
        )
    };
    let mut acknowledged = BTreeSet::new();
    let mut writers: Vec<Option<Worker>> = (0..PROCESSES)
        .map(|process| {
            Some(Worker::start(
                "outbox_processes::records",
                &variables(0, process),
            ))
        })
        .collect();
    let mut heir = replayer();
    let (mut killed, mut torn) = (0, 0);
    while writers.iter().any(Option::is_some) {
        for (process, slot) in writers.iter_mut().enumerate() {
            let Some(mut worker) = slot.take() else {
                continue;
            };
            let said = worker.said.lock().expect("not poisoned").len();
            // A kill for every 60 records or so, in the middle of whatever it does.
            let kill = said > 60;
            if !kill && !worker.is_done() {
                *slot = Some(worker);
                continue;
            }
            acknowledged.extend(worker.end(kill));
            killed += usize::from(kill);
            let done = (0..each).rposition(|n| acknowledged.contains(&run(process, n)));
            let next = done.map_or(0, |last| last + 1);
            if next < each {
                *slot = Some(Worker::start(
                    "outbox_processes::records",
                    &variables(next, process),
                ));
            }
            torn += tear(&folder);
            heir.end(true);
            heir = replayer();
        }
        thread::sleep(Duration::from_millis(1));
    }
    heir.end(true);
    eprintln!(
        "{} acknowledged, {killed} killed, {torn} tails torn",
        acknowledged.len()
    );
    assert_eq!(acknowledged.len(), all.len());
    assert!(killed >= PROCESSES && torn > 0);

    let cache = support::cache_builder()
        .url(world.server.url())
        .outbox(&folder)
        // Those that record name a port where no server is.
        .outbox_of_any_server()
        .open()
        .expect("a cache");
    let done = cache.close().expect("replayed");
    assert_eq!((done.left, done.cause.map(|e| e.to_string())), (0, None));
    assert_eq!((left(&world, all.iter()), pending(&folder)), (0, 0));
    assert_eq!(
        fs::read_dir(&folder).expect("there").count(),
        0,
        "no poison"
    );
    assert!(support::get(&mut world.redis(), BYSTANDER).is_some());
}

#[test]
#[ignore = "a child process of another test"]
fn records() {
    let Some(outbox) = given("CACHETX_TEST_OUTBOX") else {
        return;
    };
    let process = number("CACHETX_TEST_PROCESS", 0);
    let cache = support::cache_builder()
        .url("redis://127.0.0.1:1/")
        .outbox(outbox)
        .open_lazy()
        .expect("a cache");
    for n in number("CACHETX_TEST_FROM", 0)..number("CACHETX_TEST_TO", 0) {
        let run = format!("run-{process}-{n}");
        let params = Params::new().with("run_id", &run);
        let outcome = cache
            .invalidate(["build_climate"], &params)
            .expect("no mistake");
        assert!(
            matches!(outcome, CacheOutcome::Deferred { .. }),
            "{outcome:?}"
        );
        say(&run);
    }
}

#[test]
#[ignore = "a child process of another test"]
fn replays() {
    let (Some(outbox), Some(url)) = (given("CACHETX_TEST_OUTBOX"), given("CACHETX_TEST_URL"))
    else {
        return;
    };
    let cache = support::cache_builder()
        .url(url)
        .outbox(outbox)
        .outbox_of_any_server()
        .open()
        .expect("a cache");
    // It is killed, unless its parent is gone.
    let end = Instant::now() + Duration::from_secs(600);
    while Instant::now() < end {
        cache.replay_outbox().expect("replayed");
        thread::yield_now();
    }
}

#[test]
fn the_server_away_for_any_part_of_many_saves() {
    save_through_outages(Guarantee::BestEffort);
}

#[test]
fn the_server_away_for_any_part_of_many_crash_safe_saves() {
    save_through_outages(Guarantee::CrashSafe);
}

fn save_through_outages(guarantee: Guarantee) {
    let saves = number("CACHETX_OUTBOX_SAVES", 80);
    let world = World::start();
    let dir = TempDir::new().expect("a folder");
    let gate = Gate::new(&world, dir.path());
    let each = saves.div_ceil(PROCESSES);
    let all: Vec<String> = (0..PROCESSES)
        .flat_map(|process| (0..each).map(move |n| format!("run-{process}-{n}")))
        .collect();
    // The workers know the server by the gate's name.
    let cache = world.cache_builder().outbox_of_any_server();
    let store = Store::builder(cache.open().expect("a cache"));
    let store = store.root(world.root.path()).open().expect("a store");
    for run in &all {
        let document: Document<Climate> = store.document(run, "climate").expect("a document");
        document.create(&Climate::of(1)).expect("created");
    }
    warm(&world, all.iter());
    let mut workers: Vec<Worker> = (0..PROCESSES)
        .map(|process| {
            Worker::start(
                "outbox_processes::saves",
                &[
                    ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
                    ("CACHETX_TEST_URL", gate.url()),
                    ("CACHETX_TEST_PROCESS", process.to_string()),
                    ("CACHETX_TEST_TO", each.to_string()),
                    ("CACHETX_TEST_GUARANTEE", format!("{guarantee:?}")),
                ],
            )
        })
        .collect();
    let folder = world.root.path().join(".cachetx-outbox");
    let recorded = || folder.exists() && pending(&folder) > 0;
    let mut acknowledged = Vec::new();
    let (mut outages, mut slowest, mut killed) = (0, Duration::ZERO, false);
    while !workers.iter_mut().all(Worker::is_done) {
        thread::sleep(Duration::from_millis(40));
        gate.close(&world);
        thread::sleep(Duration::from_millis(60));
        if workers.len() == PROCESSES && recorded() {
            // Its records are another's now.
            acknowledged.extend(workers.swap_remove(0).end(true));
            killed = true;
        }
        let said = workers.iter().flat_map(|worker| {
            let said = worker.said.lock().expect("not poisoned");
            said.clone()
        });
        let so_far: Vec<String> = acknowledged.iter().cloned().chain(said).collect();
        gate.open();
        outages += 1;
        let start = Instant::now();
        until("every dependent so far is gone", || {
            left(&world, so_far.iter()) == 0
        });
        until("the outbox is empty", || !recorded());
        slowest = slowest.max(start.elapsed());
    }
    for worker in workers {
        acknowledged.extend(worker.end(false));
    }
    until("every dependent is gone", || {
        left(&world, acknowledged.iter()) == 0
    });
    until("the outbox is empty", || !recorded());
    if guarantee == Guarantee::CrashSafe {
        // The one that was killed may have written a file that it could not tell of.
        let written = all.iter().filter(|run| saved(&world, run));
        assert_eq!(left(&world, written), 0, "stale beside a new file");
    }
    eprintln!(
        "{guarantee:?}: {} saves in {outages} outages, one writer killed: {killed}; all right {slowest:?} after one, at most",
        acknowledged.len()
    );
    assert!(acknowledged.len() > saves / 2 && outages > 1 && killed);
    if given("CACHETX_OUTBOX_SAVES").is_some() {
        // Only where the run has the machine for itself.
        assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    }
    assert!(support::get(&mut world.redis(), BYSTANDER).is_some());
}

fn saved(world: &World, run: &str) -> bool {
    let file = world.root.path().join(run).join("climate.nodb");
    let text = fs::read(file).expect("the document is there");
    let climate: Climate = serde_json::from_slice(&text).expect("it is whole");
    climate.years == 2
}

#[test]
#[ignore = "a child process of another test"]
fn saves() {
    let (Some(root), Some(url)) = (given("CACHETX_TEST_ROOT"), given("CACHETX_TEST_URL")) else {
        return;
    };
    let guarantee = match given("CACHETX_TEST_GUARANTEE").as_deref() {
        Some("CrashSafe") => Guarantee::CrashSafe,
        _ => Guarantee::BestEffort,
    };
    let process = number("CACHETX_TEST_PROCESS", 0);
    let cache = support::cache_builder()
        .url(url)
        .open_lazy()
        .expect("a cache");
    let store = Store::builder(cache).root(root).guarantee(guarantee);
    let store = store.open().expect("a store");
    // Should the parent be gone, and the server with it.
    let end = Instant::now() + Duration::from_secs(120);
    for n in 0..number("CACHETX_TEST_TO", 0) {
        let run = format!("run-{process}-{n}");
        let document: Document<Climate> = store.document(&run, "climate").expect("a document");
        let mut held = loop {
            match document.lock() {
                Ok(held) => break held,
                Err(e) => assert!(e.is_unavailable() || e.is_lock_held(), "{e}"),
            }
            assert!(Instant::now() < end, "nobody lets this one save");
            thread::sleep(Duration::from_millis(5));
        };
        held.years = 2;
        // Some outages begin while the lock is held.
        thread::sleep(Duration::from_millis(5));
        let outcome = held
            .dump_and_unlock_with_transaction(["build_climate"])
            .expect("saved");
        assert!(
            !matches!(outcome.cache, CacheOutcome::Unrecorded { .. }),
            "{outcome:?}"
        );
        say(&run);
    }
}

#[test]
fn a_live_process_file_is_nobody_elses() {
    let dir = TempDir::new().expect("a folder");
    let cache = support::cache_builder()
        .url("redis://127.0.0.1:1/")
        .outbox(dir.path())
        .open_lazy()
        .expect("a cache");
    let params = Params::new().with("run_id", crate::support::RUN);
    cache
        .invalidate(["build_climate"], &params)
        .expect("recorded");
    let file = &OutboxFile::list(dir.path()).expect("listed")[0];
    assert!(file.alive);
    let opened = File::open(&file.path).expect("opened");
    assert!(opened.try_lock().is_err(), "its OS lock is held");
    drop(cache);
    // A child that another test starts has all files of this process for a moment.
    until("its OS lock is let go of", || opened.try_lock().is_ok());
}
