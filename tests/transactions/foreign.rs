//! A program that takes no lock writes one of the documents before the transaction is finished.

use crate::{
    bed::*,
    support::trio::{self, create, dependents, document, left_over, on_disk, set_all},
    support::{RUN, World},
};
use cachetx::{Guarantee, Save};
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::Ordering::SeqCst,
};

#[test]
fn what_a_foreign_program_wrote_is_not_overwritten() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let first = first_rename(&world);
    let write = || {
        let file = world.run_folder().join("soils.nodb");
        fs::write(file, r#"{"n":999}"#).expect("written");
    };
    let nothing_is_left = || {
        let left = left_over(world.root.path(), RUN);
        assert_eq!((left, locks(&world)), (Vec::new(), 0));
    };
    // One is renamed, two are not.
    die_in_the_middle(&world, &store, first, 10);
    write();
    let read = document(&store, RUN, "climate").read().expect("read");
    assert_eq!(read.n, 11);
    let files = on_disk(world.root.path(), RUN);
    assert_eq!(files, [11, 11, 999], "the rest is finished");
    assert_eq!(dependents(&mut world.redis()), 0);
    nothing_is_left();

    // None is renamed yet: the transaction is given up as a whole.
    set_all(&store, RUN, 20, Save::new()).expect("saved");
    let end = Victim::new(&world, "commit", Guarantee::BestEffort, first, 21).end();
    assert_eq!(end.signal(), Some(9));
    write();
    let read = document(&store, RUN, "climate").read().expect("read");
    assert_eq!(read.n, 20);
    assert_eq!(on_disk(world.root.path(), RUN), [20, 20, 999]);
    nothing_is_left();
}

#[test]
fn a_folder_that_is_gone_keeps_nobody_from_the_others_documents() {
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let first = first_rename(&world);
    die_in_the_middle(&world, &store, first, 10);
    let aside = world.root.path().join("aside");
    fs::rename(world.run_folder(), &aside).expect("moved");
    drop(idle_store(&world));
    assert_eq!((journals(&world), locks(&world)), (Vec::new(), 0));
    // Moved back, the folder is as it was; its sidecars name a journal that is gone, and forget it.
    fs::rename(&aside, world.run_folder()).expect("moved back");
    set_all(&store, RUN, 20, Save::new()).expect("saved");
    is_finished(&world, &store, 20, "after the folder came back");
}

#[test]
fn a_folder_that_became_a_link_keeps_nobody_from_the_others_documents() {
    let world = World::start();
    let store = idle_store(&world);
    let ash = |run: &str| document(&store, run, "ash");
    for run in ["here", "away"] {
        ash(run).create(&trio::Count { n: 1 }).expect("created");
    }
    let (dying, armed) = traced(&world, |_, step| assert_ne!(step, "disk.rename", "dies"));
    armed.store(true, SeqCst);
    let here = document(&dying, "here", "ash");
    let away = document(&dying, "away", "ash");
    let mut both = dying.transaction((&here, &away)).expect("locked");
    (both.0.n, both.1.n) = (2, 2);
    let died = catch_unwind(AssertUnwindSafe(|| {
        both.commit(cachetx::NO_TASKS).map(drop)
    }));
    died.expect_err("in the middle");
    // An operator moves a run elsewhere.
    let (folder, elsewhere) = (
        world.root.path().join("away"),
        world.root.path().join("old"),
    );
    fs::rename(&folder, &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, &folder).expect("linked");

    let mut locked = ash("here").lock().expect("nobody is kept out");
    assert_eq!(locked.n, 1, "none was shown, so none is");
    locked.n = 3;
    locked.dump_and_unlock().expect("saved");
    assert_eq!(journals(&world), Vec::<String>::new());
    let refused = ash("away").lock().map(drop).expect_err("a link");
    assert!(refused.is_invalid_name(), "{refused}");
}
