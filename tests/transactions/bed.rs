//! Stores that recover nothing unless told to, and children that are killed.

use crate::{
    support::trio::{
        self, MEMBERS, all_or_none, dependents, document, left_over, on_disk, set_all,
        store_builder, warm,
    },
    support::{self, RUN, World, child, get, given, key},
};
use cachetx::{Guarantee, Save, Store};
use std::{
    io::{BufRead, BufReader, Lines},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdout, ExitStatus},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

/// Long enough for a slow machine. A test that needs a dead holder's lock sooner clears it.
const LOCK_TTL: Duration = Duration::from_secs(20);

/// A store that recovers nothing in the background, and keeps no snapshots.
pub fn idle_store(world: &World) -> Store {
    traced(world, |_, _| {}).0
}

/// The same; once armed, calls `step` with the number and the name of each step.
pub fn traced(
    world: &World,
    step: impl Fn(usize, &str) + Send + Sync + 'static,
) -> (Store, Arc<AtomicBool>) {
    let armed = Arc::new(AtomicBool::new(false));
    let (on, count) = (armed.clone(), AtomicUsize::new(0));
    let store = store_builder(world)
        .lock_ttl(LOCK_TTL)
        .snapshot_entries(0)
        .trace(move |name| {
            if on.load(SeqCst) {
                step(count.fetch_add(1, SeqCst), name);
            }
        })
        .open()
        .expect("a store");
    store.cache().close().expect("its thread has ended");
    (store, armed)
}

pub fn save(guarantee: Guarantee) -> Save {
    Save::new().tasks(["build"]).guarantee(guarantee)
}

/// Waits, since within a tick of a file's change time a save reads the file again, which is an
/// extra step.
fn settle(world: &World) {
    for name in MEMBERS {
        support::settle(&world.run_folder().join(format!("{name}.nodb")));
    }
}

/// The steps of a transaction, as the library names them.
pub fn steps(world: &World, guarantee: Guarantee) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let (store, armed) = traced(world, move |_, step| {
        log.lock().expect("not poisoned").push(step.to_owned());
    });
    settle(world);
    armed.store(true, SeqCst);
    set_all(&store, RUN, 2, save(guarantee)).expect("saved");
    std::mem::take(&mut *seen.lock().expect("not poisoned"))
}

/// The number of the step that renames the first file.
pub fn first_rename(world: &World) -> usize {
    let steps = steps(world, Guarantee::BestEffort);
    let found = steps.iter().position(|step| step == "disk.rename");
    found.unwrap_or_else(|| panic!("nothing is renamed in {steps:?}"))
}

/// A child with its store open, which is killed before its step `step`.
pub struct Victim {
    child: Child,
    /// Its output; kept open, since the child fails without a reader.
    said: Lines<BufReader<ChildStdout>>,
}

impl Victim {
    pub fn new(world: &World, what: &str, guarantee: Guarantee, step: usize, n: u64) -> Self {
        settle(world);
        let safe = guarantee == Guarantee::CrashSafe;
        let variables = [
            ("CACHETX_TEST_URL", world.server.url()),
            ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
            ("CACHETX_TEST_WHAT", what.to_owned()),
            ("CACHETX_TEST_STEP", step.to_string()),
            ("CACHETX_TEST_N", n.to_string()),
            ("CACHETX_TEST_SAFE", safe.to_string()),
        ];
        let mut child = child("bed::killed_victim", &variables)
            .spawn()
            .expect("a child");
        let mut said = BufReader::new(child.stdout.take().expect("piped")).lines();
        assert!(said.any(|line| line.expect("text").ends_with("READY")));
        Self { child, said }
    }

    /// Lets it act until its end.
    pub fn end(mut self) -> ExitStatus {
        drop(self.child.stdin.take());
        self.said.for_each(drop);
        self.child.wait().expect("it ends")
    }
}

#[test]
#[ignore = "a child process of other tests"]
fn killed_victim() {
    let (Some(url), Some(root), Some(what), Some(step), Some(n), Some(safe)) = (
        given("CACHETX_TEST_URL"),
        given("CACHETX_TEST_ROOT"),
        given("CACHETX_TEST_WHAT"),
        given("CACHETX_TEST_STEP"),
        given("CACHETX_TEST_N"),
        given("CACHETX_TEST_SAFE"),
    ) else {
        return;
    };
    let last: usize = step.parse().expect("a number");
    let armed = Arc::new(AtomicBool::new(what == "open"));
    let (on, reached) = (armed.clone(), AtomicUsize::new(0));
    let cache = crate::support::cache_of(trio::rules()).url(url);
    let cache = cache.open().expect("a cache");
    cache.close().expect("without its thread");
    let builder = Store::builder(cache)
        .root(root)
        .lock_ttl(LOCK_TTL)
        .trace(move |_| {
            if on.load(SeqCst) && reached.fetch_add(1, SeqCst) == last {
                let own = rustix::process::getpid();
                rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("killed");
                thread::park();
            }
        });
    let told = || {
        println!("\nREADY");
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).expect("told");
    };
    if what == "open" {
        told();
        builder.open().expect("a store");
        return;
    }
    let store = builder.open().expect("a store");
    told();
    armed.store(true, SeqCst);
    match &*what {
        "commit" => {
            let guarantee = match &*safe {
                "true" => Guarantee::CrashSafe,
                _ => Guarantee::BestEffort,
            };
            let n = n.parse().expect("a number");
            set_all(&store, RUN, n, save(guarantee)).expect("saved");
        }
        "read" => drop(document(&store, RUN, "soils").read().expect("read")),
        "lock" => drop(document(&store, RUN, "climate").lock().expect("locked")),
        _ => unreachable!("nothing else"),
    }
}

/// Saves `old`, then dies while saving `old + 1`: one file is renamed and two are not.
pub fn die_in_the_middle(world: &World, store: &Store, first_rename: usize, old: u64) {
    store.clear_locks(RUN).expect("cleared");
    set_all(store, RUN, old, Save::new()).expect("saved");
    let second = first_rename + 1;
    let end = Victim::new(world, "commit", Guarantee::BestEffort, second, old + 1).end();
    assert_eq!(end.signal(), Some(9));
    all_or_none(on_disk(world.root.path(), RUN)).expect_err("the middle");
    warm(&mut world.redis());
}

pub fn locks(world: &World) -> usize {
    let mut redis = world.redis();
    let mut held = |controller: &str| get(&mut redis, &(key(controller) + ":lock")).is_some();
    MEMBERS.into_iter().filter(|it| held(it)).count()
}

pub fn journals(world: &World) -> Vec<String> {
    let mut left = left_over(world.root.path(), RUN);
    left.retain(|name| name.ends_with(".journal"));
    left
}

/// No reader takes an old entry on the server for a current one: a read returns what the file has.
pub fn entries_are_right(world: &World, store: &Store, at: &str) {
    let files = on_disk(world.root.path(), RUN);
    for (controller, n) in MEMBERS.iter().zip(files) {
        let read = document(store, RUN, controller).read().expect("read");
        assert_eq!(read.n, n, "{controller} {at}");
    }
}

pub fn is_finished(world: &World, store: &Store, new: u64, at: &str) {
    assert_eq!(
        all_or_none(on_disk(world.root.path(), RUN)),
        Ok(new),
        "{at}"
    );
    assert_eq!(dependents(&mut world.redis()), 0, "{at}");
    assert_eq!(locks(world), 0, "{at}");
    let left = left_over(world.root.path(), RUN);
    assert_eq!(left, Vec::<String>::new(), "{at}");
    entries_are_right(world, store, at);
}
