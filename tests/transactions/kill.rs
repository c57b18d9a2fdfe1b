//! Killed at every step.

use crate::{
    bed::*,
    support::trio::{
        self, all_or_none, begin, create, dependents, document, left_over, on_disk, set_all, warm,
    },
    support::{RUN, World, until},
};
use cachetx::{Guarantee, Locked, Save, Store};
use std::{os::unix::process::ExitStatusExt, thread};

/// Who comes first after a process died.
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

/// One visitor comes after each kill, the next one after the next; `shift` decides who begins.
fn kill_at_every_step(guarantee: Guarantee, shift: usize) {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    // The same start as before each kill: without a journal nothing vouches for what was saved, and
    // it is read again, which is an extra step.
    set_all(&store, RUN, 1, Save::new()).expect("saved");
    let steps = steps(&world, guarantee);
    let position = |name: &str| steps.iter().position(|step| step == name);
    // Once whole, the journal is the commit point for the next process; once synced, for the
    // caller.
    let written = position("disk.write-journal")
        .or(position("disk.rename"))
        .expect("there is a commit point");
    let mut journalled = 0;
    for (n, step) in steps.iter().enumerate() {
        let visitor = VISITORS[(n + shift) % VISITORS.len()];
        let at = format!("after a kill before step {n}, {step}, seen by a {visitor:?}");
        let old = 10 + 10 * n as u64;
        let new = old + 1;
        store.clear_locks(RUN).expect("cleared");
        set_all(&store, RUN, old, Save::new()).expect("saved");
        let left = left_over(world.root.path(), RUN);
        assert_eq!(left, Vec::<String>::new(), "{at}");
        warm(&mut world.redis());
        // Its lock is cleared, so that the process to be killed gets it.
        let saver = (visitor == Visitor::Saver).then(|| {
            let guard = document(&store, RUN, "ash").lock().expect("locked");
            store.clear_locks(RUN).expect("cleared");
            guard
        });
        let background = (visitor == Visitor::Background).then(|| trio::store(&world));

        let end = Victim::new(&world, "commit", guarantee, n, new).end();
        assert_eq!(end.signal(), Some(9), "{at}");
        journalled += journals(&world).len();
        if position("server.Prepare").is_some_and(|marked| n > marked) {
            let there = dependents(&mut world.redis());
            assert_eq!(there, 0, "{at}: deleted before anything is shown");
        }

        let committed = n > written;
        let mut expected = [if committed { new } else { old }; 3];
        // Checked first: it is the purpose of a transaction.
        let whole = || {
            let files = on_disk(world.root.path(), RUN);
            all_or_none(files).unwrap_or_else(|e| panic!("{at}: {e}"))
        };
        match visitor {
            Visitor::Reader => {
                let read = document(&store, RUN, "soils").read().expect("read");
                whole();
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
                        whole();
                        let error = e.error();
                        assert!(error.is_conflict() || error.is_fenced(), "{at}: {error}");
                    }
                }
            }
            Visitor::Locker => {
                // A process that died before the commit point leaves its locks to their TTL.
                if !committed {
                    store.clear_locks(RUN).expect("cleared");
                }
                let guard = document(&store, RUN, "climate").lock().expect("locked");
                whole();
                assert_eq!(guard.n, expected[0], "{at}");
                Locked::unlock(guard);
            }
            Visitor::Opener => drop(idle_store(&world)),
            Visitor::Background => {
                until("the background has looked", || journals(&world).is_empty())
            }
        }
        if expected[1] != old + 5 {
            whole();
        }
        assert_eq!(on_disk(world.root.path(), RUN), expected, "{at}");
        if committed {
            let mut left = left_over(world.root.path(), RUN);
            left.retain(|name| name.ends_with(".tmp"));
            assert_eq!(left, Vec::<String>::new(), "{at}");
            assert_eq!(dependents(&mut world.redis()), 0, "{at}");
            assert_eq!(locks(&world), 0, "{at}");
        } else if guarantee == Guarantee::BestEffort && expected[1] == old {
            let there = dependents(&mut world.redis());
            assert_eq!(there, 2, "{at}: nothing was changed");
        }
        entries_are_right(&world, &store, &at);
        // A journal that no sidecar names, not yet or no longer, is found by a process that looks
        // for journals.
        drop(idle_store(&world));
        assert_eq!(journals(&world), Vec::<String>::new(), "{at}");
        assert_eq!(on_disk(world.root.path(), RUN), expected, "{at}");
        drop(background);
    }
    assert!(journalled > 0, "some kill left a journal to be finished");
}

#[test]
fn at_every_step_all_documents_are_saved_or_none() {
    kill_at_every_step(Guarantee::BestEffort, 0);
}

#[test]
fn at_every_step_of_a_crash_safe_one_too() {
    kill_at_every_step(Guarantee::CrashSafe, 2);
}

#[test]
fn whoever_finishes_it_may_be_killed_at_every_step_too() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let first = first_rename(&world);
    // Each kind of process takes other steps before the common ones.
    let heirs = ["read", "lock", "open"];
    let mut survivors = 0;
    for step in 0.. {
        let what = heirs[step % heirs.len()];
        let old = 100 + 10 * step as u64;
        let heir = Victim::new(&world, what, Guarantee::BestEffort, step, 0);
        die_in_the_middle(&world, &store, first, old);
        let end = heir.end();
        let at = format!("{what} before its step {step}");
        if end.signal() == Some(9) {
            survivors = 0;
        } else {
            assert!(end.success(), "{at}: {end}");
            survivors += 1;
        }
        let read = document(&store, RUN, "ash").read().expect("read");
        assert_eq!(read.n, old + 1, "{at}");
        // Names are removed before the journal, which is then found by a process that looks for
        // journals.
        drop(idle_store(&world));
        // That process may have died with a lock of its own.
        store.clear_locks(RUN).expect("cleared");
        is_finished(&world, &store, old + 1, &at);
        if survivors == heirs.len() {
            assert!(step > 30, "{step} steps");
            return;
        }
    }
}

#[test]
fn many_may_come_at_once() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let first = first_rename(&world);
    for round in 0..5 {
        let old = 10 + 10 * round;
        die_in_the_middle(&world, &store, first, old);
        thread::scope(|scope| {
            let opening: Vec<_> = (0..3).map(|_| scope.spawn(|| idle_store(&world))).collect();
            let come = |n| {
                let store = &store;
                scope.spawn(move || match n {
                    // A reader does not wait for the process that is finishing it.
                    0 => document(store, RUN, "ash")
                        .read()
                        .map(|read| read.n + u64::from(read.n == old)),
                    1 => begin(store, RUN).map(|guard| guard.2.n),
                    _ => document(store, RUN, "soils").lock().map(|guard| guard.n),
                })
            };
            let came: Vec<_> = (0..3).map(come).collect();
            for seen in came {
                assert_eq!(seen.join().expect("it ends").expect("seen"), old + 1);
            }
            let opened = opening.into_iter().map(|it| it.join().expect("it ends"));
            drop(opened.collect::<Vec<Store>>());
        });
        is_finished(&world, &store, old + 1, "after many came at once");
    }
}
