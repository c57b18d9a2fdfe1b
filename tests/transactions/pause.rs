//! Paused at every step, while another writer saves one of the documents.

use crate::{
    bed::*,
    support::trio::{begin, create, dependents, document, left_over, on_disk, set_all},
    support::{RUN, World, until},
};
use cachetx::{Save, Store};
use std::{
    fs,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
};

/// Stops a run at one of its steps until told to continue.
#[derive(Default)]
struct Stop {
    /// The step's name, once it has stopped there.
    at: Mutex<Option<String>>,
    told: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    fn here(&self, step: &str) {
        *self.at.lock().expect("not poisoned") = Some(step.to_owned());
        let mut told = self.told.lock().expect("not poisoned");
        while !*told {
            told = self.changed.wait(told).expect("not poisoned");
        }
    }

    fn at(&self) -> Option<String> {
        self.at.lock().expect("not poisoned").clone()
    }

    fn go_on(&self) {
        *self.told.lock().expect("not poisoned") = true;
        self.changed.notify_all();
    }
}

/// Pauses `act` before each of its steps while another writer, which ignores locks, adds 5 to `ash`
/// and saves it, after `meddle`. `check` gets the value before, the result of `act`, and whether
/// the other writer has saved. Returns the number of steps.
fn pause_at_every_step<R: Send>(
    world: &World,
    prepare: impl Fn(u64),
    meddle: impl Fn() + Sync,
    act: impl Fn(&Store) -> R + Sync,
    check: impl Fn(u64, R, bool, &str),
) -> usize {
    let operator = idle_store(world);
    for step in 0.. {
        let old = 1_000 + 10 * step as u64;
        let stop = Arc::new(Stop::default());
        let here = stop.clone();
        let (store, armed) = traced(world, move |n, name| {
            if n == step {
                here.here(name);
            }
        });
        let waits = Arc::new(AtomicBool::new(false));
        let waiting = waits.clone();
        let (other, others_armed) = traced(world, move |_, step| {
            waiting.fetch_or(step == "sleep", SeqCst);
        });
        prepare(old);
        armed.store(true, SeqCst);
        others_armed.store(true, SeqCst);
        let (done, saved) = thread::scope(|scope| {
            let acting = scope.spawn(|| act(&store));
            until("it has stopped", || {
                stop.at().is_some() || acting.is_finished()
            });
            meddle();
            operator.clear_locks(RUN).expect("cleared");
            let saving = scope.spawn(|| {
                let mut guard = document(&other, RUN, "ash").lock()?;
                guard.n += 5;
                guard
                    .dump_and_unlock()
                    .map(drop)
                    .map_err(cachetx::Error::from)
            });
            until("the other one is through, or waits", || {
                saving.is_finished() || waits.load(SeqCst)
            });
            stop.go_on();
            let done = acting.join().expect("it ends");
            (done, saving.join().expect("it ends").is_ok())
        });
        let Some(name) = stop.at() else {
            return step;
        };
        let at = format!("paused before step {step}, {name}");
        check(old, done, saved, &at);
        operator.clear_locks(RUN).expect("cleared");
        let left = left_over(world.root.path(), RUN);
        assert_eq!(left, Vec::<String>::new(), "{at}");
        entries_are_right(world, &operator, &at);
    }
    unreachable!("it has an end")
}

#[test]
fn a_paused_transaction_overwrites_nothing_newer() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let (refused, both) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let steps = pause_at_every_step(
        &world,
        |old| {
            store.clear_locks(RUN).expect("cleared");
            set_all(&store, RUN, old, Save::new()).expect("saved");
        },
        || {},
        |store| {
            let mut transaction = begin(store, RUN)?;
            let (a, b, c) = &mut *transaction;
            a.n += 1;
            b.n += 1;
            c.n += 1;
            transaction.commit(["build"]).map_err(cachetx::Error::from)
        },
        |old, committed, saved, at| {
            let base = old + u64::from(committed.is_ok());
            // Each has seen what was there when it saved, so neither save is lost.
            let expected = [base, base + if saved { 5 } else { 0 }, base];
            let files = on_disk(world.root.path(), RUN);
            assert_eq!(files, expected, "{at}: {committed:?}");
            match committed {
                Ok(_) => both.fetch_add(usize::from(saved), SeqCst),
                Err(e) => {
                    assert!(saved, "{at}: somebody gets on: {e}");
                    assert!(
                        e.is_conflict() || e.is_fenced() || e.is_lock_held(),
                        "{at}: {e}"
                    );
                    refused.fetch_add(1, SeqCst)
                }
            };
        },
    );
    assert!(steps > 40, "{steps} steps");
    assert!(refused.load(SeqCst) > 0 && both.load(SeqCst) > 0);
}

/// Without the sidecars nobody is kept out. Still, what another writer saves meanwhile is not
/// overwritten, by the transaction or by its recovery.
#[test]
fn a_paused_transaction_whose_sidecars_are_deleted_overwrites_nothing_newer() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let sidecars = ["ash", "climate", "soils"]
        .map(|name| world.run_folder().join(format!(".{name}.nodb.cachetx")));
    let refused = AtomicUsize::new(0);
    let steps = pause_at_every_step(
        &world,
        |old| {
            store.clear_locks(RUN).expect("cleared");
            set_all(&store, RUN, old, Save::new()).expect("saved");
        },
        || sidecars.iter().for_each(|it| drop(fs::remove_file(it))),
        |store| {
            let mut transaction = begin(store, RUN)?;
            let (a, b, c) = &mut *transaction;
            a.n += 1;
            b.n += 1;
            c.n += 1;
            transaction.commit(["build"]).map_err(cachetx::Error::from)
        },
        |old, committed, saved, at| {
            // Finishes what was left half done.
            drop(idle_store(&world));
            let files = on_disk(world.root.path(), RUN);
            assert!(saved, "{at}: nobody keeps the other one out");
            let others = [old + 5, old + 6];
            assert!(others.contains(&files[1]), "{at}: overwritten: {files:?}");
            if let Err(e) = committed {
                assert_eq!(files, [old, old + 5, old], "{at}: {e}");
                refused.fetch_add(1, SeqCst);
            }
        },
    );
    assert!(steps > 40 && refused.load(SeqCst) > 10, "{steps} steps");
}

#[test]
fn a_paused_recovery_overwrites_nothing_newer() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let first = first_rename(&world);
    let steps = pause_at_every_step(
        &world,
        |old| die_in_the_middle(&world, &store, first, old),
        || {},
        |store| document(store, RUN, "soils").read().expect("read").n,
        |old, _, saved, at| {
            let new = old + 1;
            let expected = [new, new + if saved { 5 } else { 0 }, new];
            assert_eq!(on_disk(world.root.path(), RUN), expected, "{at}");
            assert_eq!(dependents(&mut world.redis()), 0, "{at}");
        },
    );
    assert!(steps > 20, "{steps} steps");
}

#[test]
fn a_copy_of_a_sidecar_takes_no_journal_away_from_its_owner() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let stop = Arc::new(Stop::default());
    let here = stop.clone();
    // The journal is named and still empty.
    let (paused, armed) = traced(&world, move |_, step| {
        if step == "disk.write-journal" {
            here.here(step);
        }
    });
    armed.store(true, SeqCst);
    thread::scope(|scope| {
        let saving = scope.spawn(|| set_all(&paused, RUN, 2, Save::new()));
        until("it has stopped", || {
            stop.at().is_some() || saving.is_finished()
        });
        // Somebody copies the run, including hidden files.
        let copy = world.root.path().join("copy");
        fs::create_dir(&copy).expect("made");
        for entry in fs::read_dir(world.run_folder()).expect("listed") {
            let entry = entry.expect("an entry");
            fs::copy(entry.path(), copy.join(entry.file_name())).expect("copied");
        }
        let ash = document(&store, "copy", "ash");
        assert_eq!(ash.read().expect("read").n, 1);
        drop(ash.lock().expect("locked"));
        let left = journals(&world);
        stop.go_on();
        saving.join().expect("it ends").expect("saved");
        assert_eq!(left.len(), 1, "the journal is there: {left:?}");
    });
    is_finished(&world, &store, 2, "after the copy was looked at");
}
