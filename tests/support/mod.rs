//! What the tests share: a rules file, a private server with a store on it, and child processes of the test binary itself.
#![allow(dead_code)] // each test binary uses its own part

pub mod account;
pub mod failover;
pub mod gate;
pub mod nodes;
pub mod rotation;
pub mod trio;
pub mod warnings;

use cachetx::{
    Cache, CacheBuilder, Document, Rules, Store, StoreBuilder,
    testing::{Server, ServerBinary},
};
use serde::{Deserialize, Serialize};
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

pub const RUN: &str = "copacetic-sled";

/// `climate` has a dependent by `depends_on` (wepp); the task adds two (ash, soils).
pub const RULES: &str = r#"{
  "version": "1.1",
  "cache_keys": {
    "climate": { "key": "nodb_cache:{{{run_id}}}:climate", "ttl_seconds": 1000 },
    "wepp": "nodb_cache:{{{run_id}}}:wepp",
    "ash": "nodb_cache:{{{run_id}}}:ash",
    "soils": "nodb_cache:{{{run_id}}}:soils"
  },
  "depends_on": { "wepp": ["climate"] },
  "rules": { "build_climate": { "invalidates_cache": ["ash", "soils"] } }
}"#;

pub fn key(controller: &str) -> String {
    format!("nodb_cache:{{{RUN}}}:{controller}")
}

pub fn rules() -> Rules {
    Rules::from_json(RULES).expect("the tests' rules compile")
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Climate {
    pub years: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Climate {
    pub fn of(years: u64) -> Self {
        Self {
            years,
            ..Self::default()
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("it serializes")
    }
}

/// Any server; the tests need at least one.
pub fn any_binary() -> &'static ServerBinary {
    ServerBinary::any().expect("no server found: run `make servers`")
}

/// Its time-outs are too long for a busy machine to exceed.
pub fn cache_builder() -> CacheBuilder {
    cache_of(rules())
}

/// The same with other rules.
pub fn cache_of(rules: Rules) -> CacheBuilder {
    const LONG: Duration = Duration::from_secs(10);
    warnings::listen();
    Cache::builder(rules)
        .connect_timeout(LONG)
        .response_timeout(LONG)
}

/// A server, and a folder for this test.
pub struct World {
    pub server: Server,
    pub root: TempDir,
}

impl World {
    pub fn start() -> Self {
        Self::on(any_binary())
    }

    pub fn on(binary: &ServerBinary) -> Self {
        warnings::listen();
        Self {
            server: Server::start(binary).expect("the server starts"),
            root: TempDir::new().expect("a temporary folder"),
        }
    }

    pub fn cache_builder(&self) -> CacheBuilder {
        cache_builder().url(self.server.url())
    }

    pub fn cache(&self) -> Cache {
        self.cache_builder().open().expect("the cache opens")
    }

    pub fn store_builder(&self) -> StoreBuilder {
        Store::builder(self.cache()).root(self.root.path())
    }

    pub fn store(&self) -> Store {
        self.store_builder().open().expect("the store opens")
    }

    pub fn climate(&self, store: &Store) -> Document<Climate> {
        store.document(RUN, "climate").expect("a document")
    }

    /// A plain client.
    pub fn redis(&self) -> redis::Connection {
        connect(&self.server)
    }

    pub fn run_folder(&self) -> PathBuf {
        self.root.path().join(RUN)
    }

    pub fn file(&self) -> PathBuf {
        self.run_folder().join("climate.nodb")
    }

    pub fn on_disk(&self) -> Climate {
        on_disk(self.root.path())
    }

    /// Waits until a later change of the document's file must have another change time.
    pub fn settle(&self) {
        settle(&self.file());
    }

    /// The temporary files of dead writers.
    pub fn temporary_files(&self) -> Vec<String> {
        std::fs::read_dir(self.run_folder())
            .expect("the run folder")
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .filter(|name| name.ends_with(".tmp"))
            .collect()
    }

    /// Sets each dependent, as programs that derive values do.
    pub fn warm(&self) {
        warm(&mut self.redis());
    }

    pub fn dependents(&self) -> usize {
        dependents(&mut self.redis())
    }
}

/// Measures until the result is as expected, at most five times, and returns the last one. A server
/// without requests for five seconds, as happens on a busy machine, is asked for its identity in
/// the background.
pub fn undisturbed<T>(mut measure: impl FnMut() -> T, expected: impl Fn(&T) -> bool) -> T {
    for _ in 0..4 {
        let measured = measure();
        if expected(&measured) {
            return measured;
        }
    }
    measure()
}

/// Waits until a later change of the file must have another change time.
pub fn settle(file: &Path) {
    until("the tick of its change time is over", || {
        let file = std::fs::metadata(file).expect("it is there");
        let changed = std::os::unix::fs::MetadataExt::ctime(&file);
        let ns = std::os::unix::fs::MetadataExt::ctime_nsec(&file);
        let tick = Duration::from_millis(if ns == 0 { 2_100 } else { 100 });
        let changed = Duration::new(
            changed.unsigned_abs(),
            u32::try_from(ns).expect("below 10^9"),
        );
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.expect("after 1970") >= changed + tick
    });
}

/// A plain client of a server.
pub fn connect(server: &Server) -> redis::Connection {
    redis::Client::open(server.url())
        .and_then(|client| client.get_connection())
        .expect("a connection")
}

/// The document of the tests' run in a store under `root`.
pub fn on_disk(root: &Path) -> Climate {
    let file = root.join(RUN).join("climate.nodb");
    let text = std::fs::read(file).expect("the document is there");
    serde_json::from_slice(&text).expect("it is whole")
}

const DEPENDENTS: [&str; 3] = ["wepp", "ash", "soils"];

/// Sets each dependent.
pub fn warm(redis: &mut redis::Connection) {
    for controller in DEPENDENTS {
        set(redis, &key(controller), b"derived");
    }
}

/// How many dependents exist.
pub fn dependents(redis: &mut redis::Connection) -> usize {
    let found = DEPENDENTS
        .iter()
        .filter(|controller| get(redis, &key(controller)).is_some());
    found.count()
}

/// The number of dependents that a save deleted; the save must be committed and synced.
pub fn committed(outcome: &cachetx::Outcome) -> u64 {
    assert_eq!(outcome.durability, cachetx::Durability::Synced);
    match outcome.cache {
        cachetx::CacheOutcome::Committed { removed } => removed,
        ref other => panic!("not committed: {other:?}"),
    }
}

pub fn get(redis: &mut redis::Connection, key: &str) -> Option<Vec<u8>> {
    redis::cmd("GET").arg(key).query(redis).expect("GET")
}

pub fn set(redis: &mut redis::Connection, key: &str, value: &[u8]) {
    redis::cmd("SET")
        .arg(key)
        .arg(value)
        .exec(redis)
        .expect("SET");
}

pub fn pttl(redis: &mut redis::Connection, key: &str) -> i64 {
    redis::cmd("PTTL").arg(key).query(redis).expect("PTTL")
}

/// How often the server has run a command.
pub fn calls(redis: &mut redis::Connection, command: &str) -> u64 {
    let info: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(redis)
        .expect("INFO");
    let name = format!("cmdstat_{command}:");
    let line = info.lines().find(|line| line.starts_with(&name));
    let calls = line.and_then(|line| line.split(['=', ',']).nth(1));
    calls.map_or(0, |calls| calls.parse().expect("a number"))
}

/// Runs `test` in a new world for every server found, and prints which.
pub fn on_every_server(test: impl Fn(&World)) {
    let binaries = ServerBinary::all();
    assert!(!binaries.is_empty(), "no server found: run `make servers`");
    for binary in binaries {
        eprintln!("on {binary}");
        test(&World::on(binary));
    }
}

/// Reports a test that cannot run here, and why. Writes past the harness, which shows `eprintln!`
/// output only for failures.
pub fn skipped(test: &str, why: &str) {
    let _ = std::io::stderr().write_all(format!("SKIPPED {test}: {why}\n").as_bytes());
}

/// Waits until `done`, for a bounded time.
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    // Sentinels whose clock jumps, on a machine that stalled, do nothing for 30 s (TILT).
    let end = Instant::now() + Duration::from_secs(120);
    while !done() {
        assert!(Instant::now() < end, "waited too long until {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Runs this test binary again, with one of its ignored tests and these variables.
pub fn child(test: &str, variables: &[(&str, String)]) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test binary"));
    command
        .args([
            "--exact",
            test,
            "--ignored",
            "--nocapture",
            "--test-threads=1",
        ])
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
}

/// A variable set by the parent; `None` if no parent started the test.
pub fn given(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Ends the loops of other threads, even if the test panics.
pub struct SetOnDrop<'a>(pub &'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
