//! A transaction that cannot be finished now: what happens to its documents meanwhile, and to
//! processes that try.

use crate::{
    bed::*,
    support::trio::{self, create, document, on_disk},
    support::{RUN, World, until, warnings},
};
use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

/// Waits until the background has looked for journals this many times.
fn looks(root: &Path, times: usize) {
    for _ in 0..times {
        // Nobody holds it and it is empty, so it is removed.
        let journal = root.join(".cachetx-journal/00000000000000ff.journal");
        fs::write(&journal, "").expect("written");
        until("the background has looked", || !journal.exists());
    }
}

#[test]
fn one_that_cannot_be_finished_is_complained_of_once_and_keeps_savers_out_but_no_readers() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let first = first_rename(&world);
    die_in_the_middle(&world, &store, first, 10);
    let journal = journals(&world).pop().expect("one is left");
    let id = journal.trim_end_matches(".journal");
    // Not even root can lock it.
    let sidecar = world.run_folder().join(".soils.nodb.cachetx");
    let aside = world.root.path().join("aside");
    fs::rename(&sidecar, &aside).expect("moved");
    fs::create_dir(&sidecar).expect("a folder in its place");

    let background = trio::store(&world);
    looks(world.root.path(), 4);
    assert_eq!(warnings::with(id), 1);

    let read = document(&store, RUN, "climate").read();
    assert_eq!(read.expect("a reader goes on").n, 10);
    store.clear_locks(RUN).expect("cleared");
    let refused = document(&store, RUN, "climate").lock().map(drop);
    let refused = refused.expect_err("it would save over what is committed");
    assert!(refused.to_string().contains("soils"), "{refused}");
    assert_eq!(locks(&world), 0, "nothing is left locked");
    assert_eq!(on_disk(world.root.path(), RUN), [10, 11, 10]);

    fs::remove_dir(&sidecar).expect("removed");
    fs::rename(&aside, &sidecar).expect("moved back");
    until("the background has finished it", || {
        journals(&world).is_empty()
    });
    is_finished(&world, &store, 11, "after it could be finished");
    drop(background);
}

#[test]
fn an_operator_who_removes_the_journal_gives_the_transaction_up() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let first = first_rename(&world);
    die_in_the_middle(&world, &store, first, 10);
    let journal = journals(&world).pop().expect("one is left");
    let folder = world.root.path().join(".cachetx-journal");
    fs::remove_file(folder.join(journal)).expect("removed");
    store.clear_locks(RUN).expect("cleared");
    for (controller, n) in [("climate", 10), ("ash", 11), ("soils", 10)] {
        let mut locked = document(&store, RUN, controller).lock().expect("locked");
        assert_eq!(locked.n, n);
        locked.n = 20;
        locked.dump_and_unlock().expect("saved");
    }
    is_finished_but_for_dependents(&world);
}

fn is_finished_but_for_dependents(world: &World) {
    assert_eq!(on_disk(world.root.path(), RUN), [20; 3]);
    let left = trio::left_over(world.root.path(), RUN);
    assert_eq!((left, locks(world)), (Vec::new(), 0));
}

/// A halted process holds the OS lock of another of its documents.
#[test]
fn a_reader_does_not_wait_for_whoever_has_a_document_that_it_does_not_read() {
    let world = World::start();
    create(&idle_store(&world), RUN, 1);
    let slept = Arc::new(AtomicUsize::new(0));
    let count = slept.clone();
    let (store, armed) = traced(&world, move |_, step| {
        count.fetch_add(usize::from(step == "sleep"), SeqCst);
    });
    let first = first_rename(&world);
    die_in_the_middle(&world, &store, first, 10);
    let sidecar = world.run_folder().join(".climate.nodb.cachetx");
    let sidecar = fs::File::open(sidecar).expect("there");
    sidecar.lock().expect("locked");
    armed.store(true, SeqCst);
    let read = document(&store, RUN, "soils").read().expect("read");
    assert_eq!(read.n, 10, "it is not finished yet");
    // A sleep takes at least 1 ms.
    assert!((1..=100).contains(&slept.load(SeqCst)), "{slept:?}");
    drop(sidecar);
    let read = document(&store, RUN, "soils").read().expect("read");
    assert_eq!(read.n, 11);
    is_finished(&world, &store, 11, "after the lock was free");
}
