//! Every server dead, and callers that never pause: what a process has of threads, descriptors and memory stays as it was.
//!
//! The callers live in a process of their own, which may have 100 threads where this one is root. `CACHETX_SOAK` makes it 60 s.

use crate::support::{self, Climate, any_binary, child, given, skipped};
use cachetx::{
    Params, Store,
    testing::{Cluster, SentinelTrio},
};
use rustix::process::{Resource, Rlimit};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    process::{Child, Stdio},
    sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const CALLERS: usize = 64;
const THREADS: u32 = 100;
const CALLS: &str = "all_dead::calls_without_pause";
const NO_THREAD: &str = "all_dead::nothing_needs_a_thread";

/// How long the servers are dead.
fn time() -> Duration {
    match given("CACHETX_SOAK") {
        Some(_) => Duration::from_secs(60),
        None => Duration::from_secs(4),
    }
}

/// A child that may have `THREADS` threads; `None` where this process cannot see to that.
fn limited(test: &str, variables: &[(&str, String)]) -> Option<Child> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    // The system counts a user's threads, and binds anybody but root: each child is a user of its own.
    static CHILDREN: AtomicU32 = AtomicU32::new(0);
    let children = CHILDREN.fetch_add(1, SeqCst);
    let nobody = 100_000 + 4 * std::process::id() + children % 4;
    let mut child = child(test, variables);
    child
        .env("CACHETX_THREADS", THREADS.to_string())
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .uid(nobody)
        .gid(nobody)
        .stderr(Stdio::inherit());
    // The test binary may be where only its owner gets.
    child.spawn().ok()
}

/// What a limited child does first.
fn obey() {
    if let Some(threads) = given("CACHETX_THREADS") {
        let limit = threads.parse().ok();
        let limit = Rlimit {
            current: limit,
            maximum: limit,
        };
        rustix::process::setrlimit(Resource::Nproc, limit).expect("lowered");
    }
}

/// What a process has.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    threads: u64,
    descriptors: u64,
    /// In MiB.
    memory: u64,
}

impl Used {
    fn now() -> Self {
        let status = fs::read_to_string("/proc/self/status").expect("Linux");
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let word = line.and_then(|line| line.split_whitespace().next());
            word.and_then(|word| word.parse().ok()).expect("a number")
        };
        Self {
            threads: field("Threads:"),
            descriptors: fs::read_dir("/proc/self/fd").expect("Linux").count() as u64,
            memory: field("VmRSS:") / 1_024,
        }
    }

    /// The most of each that is seen for so long.
    fn most(time: Duration) -> Self {
        let until = Instant::now() + time;
        let mut most = Self::now();
        while Instant::now() < until {
            thread::sleep(Duration::from_millis(20));
            let now = Self::now();
            most.threads = most.threads.max(now.threads);
            most.descriptors = most.descriptors.max(now.descriptors);
            most.memory = most.memory.max(now.memory);
        }
        most
    }

    fn say(&self) {
        println!(
            "\nused {} {} {}",
            self.threads, self.descriptors, self.memory
        );
    }
}

/// The process of the callers.
struct Callers {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Callers {
    fn start(way: &str, urls: &[String]) -> Self {
        let variables = [
            ("CACHETX_WAY", way.to_owned()),
            ("CACHETX_URLS", urls.join(" ")),
            ("CACHETX_MS", (time().as_millis() / 2).to_string()),
        ];
        let mut child = limited(CALLS, &variables).unwrap_or_else(|| {
            skipped("a limit of threads", "it needs root");
            child(CALLS, &variables).spawn().expect("a child")
        });
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Self { child, lines }
    }

    /// What it says next.
    fn used(&mut self) -> [u64; 3] {
        let mut line = String::new();
        loop {
            line.clear();
            let read = self.lines.read_line(&mut line).expect("heard");
            assert!(read > 0, "the callers have ended: {:?}", self.child.wait());
            if let Some(numbers) = line.strip_prefix("used ") {
                let numbers: Vec<u64> = numbers
                    .split_whitespace()
                    .map(|number| number.parse().expect("a number"))
                    .collect();
                return numbers.try_into().expect("three");
            }
        }
    }

    fn go_on(&mut self) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        stdin.write_all(b"go on\n").expect("it listens");
    }

    /// Tells it to look, and holds what it says against what was.
    fn stay_as(&mut self, before: [u64; 3], what: &str) {
        self.go_on();
        let after = self.used();
        eprintln!("{what}: threads, descriptors, MiB {before:?}, then {after:?}");
        for (before, after) in before.into_iter().zip(after) {
            assert!(
                after * 10 <= before * 12 + 200,
                "{what}: {after} after {before}"
            );
        }
    }

    fn end(mut self) {
        self.go_on();
        let status = self.child.wait().expect("ended");
        assert!(status.success(), "no caller panics: {status}");
    }
}

#[test]
fn behind_sentinel_nothing_grows_while_all_are_dead() {
    let mut trio = SentinelTrio::start(any_binary()).expect("a trio");
    let mut callers = Callers::start(trio.name(), &trio.urls());
    let before = callers.used();
    for n in 0..2 {
        trio.sentinel_mut(n).kill();
    }
    for n in 0..3 {
        trio.server_mut(n).kill();
    }
    callers.stay_as(before, "one sentinel left, which names a dead primary");
    trio.sentinel_mut(2).kill();
    callers.stay_as(before, "all dead");
    callers.end();
}

#[test]
fn in_a_cluster_nothing_grows_while_all_are_dead() {
    let mut cluster = Cluster::start(any_binary()).expect("a Cluster");
    let mut callers = Callers::start("cluster", &cluster.urls());
    let before = callers.used();
    for n in 1..6 {
        cluster.node_mut(n).kill();
    }
    callers.stay_as(before, "one node left");
    cluster.node_mut(0).kill();
    callers.stay_as(before, "all dead");
    callers.end();
}

fn store(root: &TempDir) -> Store {
    let (way, urls) = (given("CACHETX_WAY"), given("CACHETX_URLS").expect("given"));
    let urls: Vec<&str> = urls.split(' ').collect();
    let builder = support::cache_builder();
    let builder = match way.as_deref().expect("given") {
        "single" => builder.url(urls[0]),
        "cluster" => builder.cluster(urls),
        name => builder.sentinel(name, urls),
    };
    let cache = builder.open().expect("the cache opens");
    let store = Store::builder(cache).root(root.path());
    store.open().expect("the store opens")
}

/// Many read, and one of eight writes; over different slots.
fn call(store: &Store, n: usize, done: &AtomicBool) {
    let run = format!("run-{n}");
    let params = Params::new().with("run_id", run.as_str());
    let document = store
        .document::<Climate>(&run, "climate")
        .expect("a document");
    while !done.load(SeqCst) {
        let _ = store.cache().get("ash", &params);
        if n.is_multiple_of(8) {
            let _ = document.lock();
        }
    }
}

#[test]
#[ignore = "a child of the tests above"]
fn calls_without_pause() {
    let Some(ms) = given("CACHETX_MS") else {
        return;
    };
    obey();
    let time = Duration::from_millis(ms.parse().expect("a number"));
    let root = TempDir::new().expect("a temporary folder");
    let store = store(&root);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let ending = support::SetOnDrop(&done);
        let (store, done) = (&store, &done);
        for n in 0..CALLERS {
            scope.spawn(move || call(store, n, done));
        }
        Used::most(Duration::from_millis(500)).say();
        let mut line = String::new();
        for _ in 0..2 {
            std::io::stdin().read_line(&mut line).expect("told");
            Used::most(time).say();
        }
        std::io::stdin().read_line(&mut line).expect("told");
        drop(ending);
    });
}

#[test]
#[cfg_attr(cachetx_by_tasks, ignore = "a runtime needs threads")]
fn a_process_without_a_thread_left_saves_and_reads() {
    let world = support::World::start();
    let variables = [
        ("CACHETX_WAY", "single".to_owned()),
        ("CACHETX_URLS", world.server.url()),
    ];
    let Some(mut child) = limited(NO_THREAD, &variables) else {
        skipped("a_process_without_a_thread_left", "it needs root");
        return;
    };
    assert!(child.wait().expect("it ran").success(), "nothing panics");
}

#[test]
#[ignore = "a child of the test above"]
fn nothing_needs_a_thread() {
    if given("CACHETX_WAY").is_none() {
        return;
    }
    obey();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let ending = support::SetOnDrop(&done);
        let parked = || {
            while !done.load(SeqCst) {
                thread::park_timeout(Duration::from_millis(50));
            }
        };
        while thread::Builder::new().spawn_scoped(scope, parked).is_ok() {}
        let root = TempDir::new().expect("a temporary folder");
        let store = store(&root);
        let document = store
            .document::<Climate>(support::RUN, "climate")
            .expect("a document");
        document.create(&Climate::of(1)).expect("created");
        let mut held = document.lock().expect("locked");
        held.years = 2;
        held.dump_and_unlock().expect("saved");
        assert_eq!(document.read().expect("read").years, 2);
        drop(ending);
    });
}
