//! `kill -9` of a transaction, and of whoever finishes it, at each of their steps; and a pause there while others save the same
//! documents: all of them are saved or none, nothing newer is overwritten, and nothing is left lying about.
#![cfg(all(feature = "testing", unix))]

mod support;
#[path = "support/trio.rs"]
mod trio;

use cachetx::{Guarantee, Locked, Save, Store};
use std::{
    os::unix::process::ExitStatusExt,
    process::ExitStatus,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};
use support::{RUN, World, child, get, given, key, until};
use trio::{
    MEMBERS, all_or_none, begin, create, dependents, document, left_over, on_disk, set_all,
    store_builder, warm,
};

/// Long enough for a slow machine; whoever needs a dead holder's lock sooner clears it.
const LOCK_TTL: Duration = Duration::from_secs(5);

/// A store that recovers nothing by itself, and keeps no snapshot.
fn idle_store(world: &World) -> Store {
    let store = store_builder(world).lock_ttl(LOCK_TTL).snapshot_entries(0);
    let store = store.open().expect("a store");
    store.cache().close().expect("its thread has ended");
    store
}

/// A store that calls `step` with the number and the name of each step from when it is armed.
fn traced(
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

fn save(guarantee: Guarantee) -> Save {
    Save::new().tasks(["build"]).guarantee(guarantee)
}

/// What is done, step by step.
fn steps(world: &World, act: impl Fn(&Store)) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let (store, armed) = traced(world, move |_, step| {
        log.lock().expect("not poisoned").push(step.to_owned());
    });
    armed.store(true, SeqCst);
    act(&store);
    std::mem::take(&mut *seen.lock().expect("not poisoned"))
}

fn position(steps: &[String], name: &str) -> usize {
    let found = steps.iter().position(|step| step == name);
    found.unwrap_or_else(|| panic!("{name} is missing in {steps:?}"))
}

/// Runs a child that is killed before its step `step`.
fn killed(world: &World, what: &str, guarantee: Guarantee, step: usize, n: u64) -> ExitStatus {
    let variables = [
        ("CACHETX_TEST_URL", world.server.url()),
        ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
        ("CACHETX_TEST_WHAT", what.to_owned()),
        ("CACHETX_TEST_STEP", step.to_string()),
        ("CACHETX_TEST_N", n.to_string()),
        (
            "CACHETX_TEST_SAFE",
            u8::from(guarantee == Guarantee::CrashSafe).to_string(),
        ),
    ];
    child("killed_victim", &variables)
        .status()
        .expect("a child")
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
    let cache = cachetx::Cache::builder(trio::rules()).url(url);
    let cache = cache.open().expect("a cache");
    cache.close().expect("without its thread");
    let store = Store::builder(cache)
        .root(root)
        .lock_ttl(LOCK_TTL)
        .trace(move |_| {
            if on.load(SeqCst) && reached.fetch_add(1, SeqCst) == last {
                let own = rustix::process::getpid();
                rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("killed");
                thread::park();
            }
        })
        .open()
        .expect("a store");
    armed.store(true, SeqCst);
    match &*what {
        "commit" => {
            let guarantee = match &*safe {
                "1" => Guarantee::CrashSafe,
                _ => Guarantee::BestEffort,
            };
            let n = n.parse().expect("a number");
            set_all(&store, RUN, n, save(guarantee)).expect("saved");
        }
        "read" => drop(document(&store, RUN, "soils").read().expect("read")),
        "lock" => drop(document(&store, RUN, "climate").lock().expect("locked")),
        _ => {}
    }
}

/// Who comes first after somebody died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Visitor {
    Reader,
    Saver,
    Locker,
    Opener,
    Background,
}

const VISITORS: [Visitor; 5] = [
    Visitor::Reader,
    Visitor::Saver,
    Visitor::Locker,
    Visitor::Opener,
    Visitor::Background,
];

fn locks(world: &World) -> usize {
    let mut redis = world.redis();
    let mut held = |controller: &str| get(&mut redis, &(key(controller) + ":lock")).is_some();
    MEMBERS.into_iter().filter(|it| held(it)).count()
}

fn journals(world: &World) -> Vec<String> {
    let mut left = left_over(world.root.path(), RUN);
    left.retain(|name| name.ends_with(".journal"));
    left
}

/// No reader of the server's copies may take an old one for a current one: what is there is what the file says.
fn entries_are_right(world: &World, store: &Store, at: &str) {
    let files = on_disk(world.root.path(), RUN);
    for (controller, n) in MEMBERS.iter().zip(files) {
        let read = document(store, RUN, controller).read().expect("read");
        assert_eq!(read.n, n, "{controller} {at}");
    }
}

fn kill_at_every_step(guarantee: Guarantee) {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let steps = steps(&world, |store| {
        set_all(store, RUN, 2, save(guarantee)).expect("saved");
    });
    // Without a journal there is no such step, and the checks below have to find that out.
    let written = match cfg!(cachetx_without_journal) {
        true => position(&steps, "disk.rename"),
        false => position(&steps, "disk.write-journal"),
    };
    assert_eq!(
        steps.iter().filter(|step| *step == "disk.rename").count(),
        3
    );
    let mut journalled = 0;
    for (n, step) in steps.iter().enumerate() {
        let visitor = VISITORS[n % VISITORS.len()];
        let at = format!("after a kill before step {n}, {step}, seen by a {visitor:?}");
        let old = 10 + 10 * n as u64;
        let new = old + 1;
        store.clear_locks(RUN).expect("cleared");
        set_all(&store, RUN, old, Save::new()).expect("the last one's locks are gone");
        assert_eq!(
            left_over(world.root.path(), RUN),
            Vec::<String>::new(),
            "{at}"
        );
        warm(&mut world.redis());
        // Its lock is cleared, so that the one that is killed gets it.
        let saver = (visitor == Visitor::Saver).then(|| {
            let guard = document(&store, RUN, "ash").lock().expect("locked");
            store.clear_locks(RUN).expect("cleared");
            guard
        });
        let background = (visitor == Visitor::Background).then(|| trio::store(&world));

        let end = killed(&world, "commit", guarantee, n, new);
        assert_eq!(end.signal(), Some(9), "{at}");
        journalled += journals(&world).len();

        let committed = n > written;
        let expected = if committed { new } else { old };
        let mut expected = [expected; 3];
        match visitor {
            Visitor::Reader => {
                let read = document(&store, RUN, "soils").read().expect("read");
                assert_eq!(read.n, expected[2], "{at}");
            }
            Visitor::Saver => {
                let mut guard = saver.expect("locked before");
                guard.n = old + 5;
                match guard.dump_and_unlock() {
                    Ok(_) => {
                        assert!(!committed, "{at}: it has not seen what is committed");
                        expected[1] = old + 5;
                    }
                    Err(e) => {
                        let error = e.error();
                        assert!(error.is_conflict() || error.is_fenced(), "{at}: {error}");
                    }
                }
            }
            Visitor::Locker => {
                // Whoever died before the commit point has left its lock to its TTL.
                if !committed {
                    store.clear_locks(RUN).expect("cleared");
                }
                let guard = document(&store, RUN, "climate").lock().expect("locked");
                assert_eq!(guard.n, expected[0], "{at}");
                Locked::unlock(guard);
            }
            Visitor::Opener => drop(idle_store(&world)),
            Visitor::Background => {
                until("the background has looked", || journals(&world).is_empty())
            }
        }
        assert_eq!(journals(&world), Vec::<String>::new(), "{at}");
        let files = on_disk(world.root.path(), RUN);
        if expected[1] != old + 5 {
            all_or_none(files).unwrap_or_else(|e| panic!("{at}: {e}"));
        }
        assert_eq!(files, expected, "{at}");
        entries_are_right(&world, &store, &at);
        if committed {
            assert_eq!(dependents(&mut world.redis()), 0, "{at}");
            assert_eq!(locks(&world), 0, "{at}");
        } else if guarantee == Guarantee::BestEffort && expected[1] == old {
            assert_eq!(
                dependents(&mut world.redis()),
                2,
                "{at}: nothing was changed"
            );
        }
        drop(background);
    }
    assert!(
        journalled > 0,
        "some kill left a journal, so that recovery was needed"
    );
}

#[test]
fn killed_at_every_step_all_documents_are_saved_or_none() {
    kill_at_every_step(Guarantee::BestEffort);
}

#[test]
fn killed_at_every_step_of_a_crash_safe_one_all_documents_are_saved_or_none() {
    kill_at_every_step(Guarantee::CrashSafe);
}

/// Saves `old`, then dies in the middle of saving `new`: one file is renamed and two are not.
fn die_in_the_middle(world: &World, store: &Store, old: u64) {
    store.clear_locks(RUN).expect("cleared");
    set_all(store, RUN, old, Save::new()).expect("saved");
    let steps = steps(world, |store| {
        set_all(store, RUN, old, save(Guarantee::BestEffort)).expect("saved");
    });
    let second = position(&steps, "disk.rename") + 1;
    let end = killed(world, "commit", Guarantee::BestEffort, second, old + 1);
    assert_eq!(end.signal(), Some(9));
    all_or_none(on_disk(world.root.path(), RUN)).expect_err("the middle");
    warm(&mut world.redis());
}

fn is_finished(world: &World, store: &Store, new: u64, at: &str) {
    let files = on_disk(world.root.path(), RUN);
    assert_eq!(all_or_none(files), Ok(new), "{at}");
    assert_eq!(dependents(&mut world.redis()), 0, "{at}");
    assert_eq!(locks(world), 0, "{at}");
    assert_eq!(
        left_over(world.root.path(), RUN),
        Vec::<String>::new(),
        "{at}"
    );
    entries_are_right(world, store, at);
}

#[test]
fn whoever_finishes_it_may_be_killed_at_every_step_too() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    for what in ["read", "lock", "open"] {
        let mut step = 0;
        loop {
            let old = 100 + 10 * step as u64;
            die_in_the_middle(&world, &store, old);
            let end = killed(&world, what, Guarantee::BestEffort, step, 0);
            if end.signal() != Some(9) {
                assert!(end.success(), "{what}: {end}");
                assert!(step > 10, "{what} has taken {step} steps");
                break;
            }
            let at = format!("{what} was killed before its step {step}");
            let read = document(&store, RUN, "ash").read().expect("read");
            assert_eq!(read.n, old + 1, "{at}");
            if what == "lock" {
                // The second one may have died with a lock of its own.
                store.clear_locks(RUN).expect("cleared");
            }
            is_finished(&world, &store, old + 1, &at);
            step += 1;
        }
    }
}

#[test]
fn many_may_come_at_once() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    for round in 0..5 {
        let old = 10 + 10 * round;
        die_in_the_middle(&world, &store, old);
        let stores: Vec<Store> = thread::scope(|scope| {
            let opened: Vec<_> = (0..3).map(|_| scope.spawn(|| idle_store(&world))).collect();
            let came: Vec<_> = (0..3)
                .map(|n| {
                    let store = &store;
                    scope.spawn(move || match n {
                        0 => document(store, RUN, "ash").read().map(|read| read.n),
                        1 => begin(store, RUN).map(|guard| guard.2.n),
                        _ => document(store, RUN, "soils").lock().map(|guard| guard.n),
                    })
                })
                .collect();
            for seen in came {
                assert_eq!(seen.join().expect("it ends").expect("seen"), old + 1);
            }
            opened
                .into_iter()
                .map(|it| it.join().expect("it ends"))
                .collect()
        });
        drop(stores);
        is_finished(&world, &store, old + 1, "after many came at once");
    }
}

/// Stops a run at one of its steps until it is told to go on.
#[derive(Default)]
struct Stop {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Stop {
    fn here(&self) {
        let mut state = self.state.lock().expect("not poisoned");
        state.0 = true;
        self.changed.notify_all();
        while !state.1 {
            state = self.changed.wait(state).expect("not poisoned");
        }
    }

    /// Waits until somebody has stopped, or `ended` says that nobody will.
    fn wait(&self, ended: impl Fn() -> bool) {
        until("it has stopped", || {
            self.state.lock().expect("not poisoned").0 || ended()
        });
    }

    fn go_on(&self) {
        self.state.lock().expect("not poisoned").1 = true;
        self.changed.notify_all();
    }
}

/// Pauses `act` before each of its steps while somebody else, who does not mind locks, saves one document; `check` gets what the two
/// came to, and the value that stood there before. Ends with the step that is not reached.
fn paused_at_every_step<R: Send>(
    world: &World,
    prepare: impl Fn(u64),
    act: impl Fn(&Store, u64) -> R + Sync,
    check: impl Fn(u64, R, Option<u64>, &str),
) -> usize {
    let other = idle_store(world);
    for step in 0.. {
        let old = 1_000 + 10 * step as u64;
        prepare(old);
        let stop = Arc::new(Stop::default());
        let (here, name) = (stop.clone(), Arc::new(Mutex::new(String::new())));
        let named = name.clone();
        let (store, armed) = traced(world, move |n, step| {
            if n == step_of(&named, n, step, old) {
                here.here();
            }
        });
        armed.store(true, SeqCst);
        let (done, saved) = thread::scope(|scope| {
            let acting = scope.spawn(|| act(&store, old + 1));
            stop.wait(|| acting.is_finished());
            // Its holder may be paused, or dead.
            other.clear_locks(RUN).expect("cleared");
            let waits = Arc::new(AtomicBool::new(false));
            let waiting = waits.clone();
            let (writer, writing) = traced(world, move |_, step| {
                waiting.fetch_or(step == "sleep", SeqCst);
            });
            writing.store(true, SeqCst);
            let saving = scope.spawn(move || {
                let mut guard = document(&writer, RUN, "ash").lock().ok()?;
                guard.n += 5;
                let n = guard.n;
                guard.dump_and_unlock().ok().map(|_| n)
            });
            until("the other one is through, or waits", || {
                saving.is_finished() || waits.load(SeqCst)
            });
            stop.go_on();
            (
                acting.join().expect("it ends"),
                saving.join().expect("it ends"),
            )
        });
        let name = name.lock().expect("not poisoned").clone();
        if name.is_empty() {
            return step;
        }
        check(
            old,
            done,
            saved,
            &format!("paused before step {step}, {name}"),
        );
    }
    unreachable!("it has an end")
}

/// The step to stop at; notes its name when it is this one.
fn step_of(name: &Mutex<String>, n: usize, step: &str, old: u64) -> usize {
    let wanted = (old as usize - 1_000) / 10;
    if n == wanted {
        step.clone_into(&mut name.lock().expect("not poisoned"));
    }
    wanted
}

#[test]
fn a_transaction_that_is_paused_at_any_step_overwrites_nothing_newer() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let (fenced_out, both) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let steps = paused_at_every_step(
        &world,
        |old| {
            store.clear_locks(RUN).expect("cleared");
            set_all(&store, RUN, old, Save::new()).expect("saved");
        },
        |store, new| set_all(store, RUN, new, save(Guarantee::BestEffort)),
        |old, committed, saved, at| {
            let files = on_disk(world.root.path(), RUN);
            let base = if committed.is_ok() { old + 1 } else { old };
            // In the members' order, the other one's is the second.
            let expected = match saved {
                Some(n) => [base, n, base],
                None => [base; 3],
            };
            assert_eq!(files, expected, "{at}: {committed:?} {saved:?}");
            if let (Ok(_), Some(n)) = (&committed, saved) {
                both.fetch_add(1, SeqCst);
                assert!(
                    n == old + 6 || n == old + 5,
                    "{at}: the other one had seen the file"
                );
                assert_eq!(n, old + 6, "{at}: what it had not seen was overwritten");
            }
            if let Err(e) = committed {
                fenced_out.fetch_add(1, SeqCst);
                assert!(
                    e.is_conflict() || e.is_fenced() || e.is_lock_lost() || e.is_lock_held(),
                    "{at}: {e}"
                );
                assert!(saved.is_some(), "{at}: somebody gets on");
            }
            store.clear_locks(RUN).expect("cleared");
            assert_eq!(
                left_over(world.root.path(), RUN),
                Vec::<String>::new(),
                "{at}"
            );
            entries_are_right(&world, &store, at);
        },
    );
    assert!(steps > 40, "{steps} steps");
    assert!(fenced_out.load(SeqCst) > 0 && both.load(SeqCst) > 0);
}

#[test]
fn a_recovery_that_is_paused_at_any_step_overwrites_nothing_newer() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let steps = paused_at_every_step(
        &world,
        |old| die_in_the_middle(&world, &store, old),
        |store, _| document(store, RUN, "soils").read().expect("read").n,
        |old, _, saved, at| {
            let files = on_disk(world.root.path(), RUN);
            let new = old + 1;
            match saved {
                Some(n) => assert_eq!((files, n), ([new, n, new], new + 5), "{at}"),
                None => assert_eq!(files, [new; 3], "{at}"),
            }
            store.clear_locks(RUN).expect("cleared");
            assert_eq!(dependents(&mut world.redis()), 0, "{at}");
            assert_eq!(
                left_over(world.root.path(), RUN),
                Vec::<String>::new(),
                "{at}"
            );
            entries_are_right(&world, &store, at);
        },
    );
    assert!(steps > 10, "{steps} steps");
}

/// A program that asks for no lock writes one of the documents before the transaction is finished.
#[test]
fn what_a_foreign_program_wrote_is_not_overwritten() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let write = |controller: &str| {
        let file = world.run_folder().join(format!("{controller}.nodb"));
        std::fs::write(file, r#"{"n":999}"#).expect("written");
    };
    // Two of the three are still to be renamed: climate and soils.
    die_in_the_middle(&world, &store, 10);
    write("soils");
    assert_eq!(document(&store, RUN, "climate").read().expect("read").n, 11);
    assert_eq!(
        on_disk(world.root.path(), RUN),
        [11, 11, 999],
        "the rest is finished"
    );
    assert_eq!((journals(&world).len(), locks(&world)), (0, 0));
    assert_eq!(dependents(&mut world.redis()), 0);

    // None is renamed yet: it is given up as a whole.
    store.clear_locks(RUN).expect("cleared");
    set_all(&store, RUN, 20, Save::new()).expect("saved");
    let steps = steps(&world, |store| {
        set_all(store, RUN, 20, save(Guarantee::BestEffort)).expect("saved");
    });
    let first = position(&steps, "disk.rename");
    let end = killed(&world, "commit", Guarantee::BestEffort, first, 21);
    assert_eq!(end.signal(), Some(9));
    write("soils");
    assert_eq!(document(&store, RUN, "climate").read().expect("read").n, 20);
    assert_eq!(on_disk(world.root.path(), RUN), [20, 20, 999]);
    assert_eq!(
        (left_over(world.root.path(), RUN).len(), locks(&world)),
        (0, 0)
    );
}
