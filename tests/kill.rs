//! `kill -9` of the writer at each step of a save: the file is the old or the new one, whole; the next save removes what
//! was left; and the next writer gets in once the TTL is over.
#![cfg(all(feature = "testing", unix))]

mod support;

use cachetx::{Cache, Save, Store};
use std::{
    os::unix::process::ExitStatusExt,
    sync::{Arc, Mutex},
    time::Duration,
};
use support::{Climate, RUN, World, child, given};

const LOCK_TTL: Duration = Duration::from_millis(300);

/// The steps of one lock and save, as the library names them.
fn steps(world: &World) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let store = world
        .store_builder()
        .trace(move |step| log.lock().expect("not poisoned").push(step.to_owned()))
        .open()
        .expect("a store");
    change(&store, 2);
    std::mem::take(&mut *seen.lock().expect("not poisoned"))
}

fn change(store: &Store, years: u64) {
    let document = store
        .document::<Climate>(RUN, "climate")
        .expect("a document");
    let save = Save::new().tasks(["build_climate"]);
    let outcome = document.locked_with(save, |climate| {
        climate.years = years;
        Ok(())
    });
    outcome.expect("saved");
}

#[test]
fn at_every_step_the_file_is_whole_and_the_next_writer_gets_in() {
    let world = World::start();
    let store = world
        .store_builder()
        .lock_ttl(LOCK_TTL)
        .open()
        .expect("a store");
    world
        .climate(&store)
        .create(&Climate::of(1))
        .expect("created");
    let steps = steps(&world);
    for needed in [
        "server.Acquire",
        "disk.write-temp",
        "disk.sync-temp",
        "disk.rename",
        "disk.sync-folder",
        "server.Commit",
    ] {
        assert!(
            steps.iter().any(|step| step == needed),
            "{needed} is missing in {steps:?}"
        );
    }
    let renamed = steps
        .iter()
        .position(|step| step == "disk.rename")
        .expect("renamed");
    let mut left_temporary_files = 0;
    for (n, step) in steps.iter().enumerate() {
        let old = 10 + 3 * n as u64;
        change(&store, old);
        world.warm();
        let variables = [
            ("CACHETX_TEST_URL", world.server.url()),
            ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
            ("CACHETX_TEST_STEP", n.to_string()),
            ("CACHETX_TEST_YEARS", (old + 1).to_string()),
        ];
        let end = child("killed_writer", &variables)
            .status()
            .expect("a child");
        assert_eq!(end.signal(), Some(9), "killed before step {n}, {step}");

        // Killed before the step was taken: the rename itself is done only where a later one was reached.
        let expected = if n > renamed { old + 1 } else { old };
        assert_eq!(
            world.on_disk().years,
            expected,
            "after a kill before {step}"
        );
        let document = world.climate(&store);
        assert_eq!(
            document.read().expect("read").years,
            expected,
            "a reader after a kill before {step}"
        );
        left_temporary_files += world.temporary_files().len();

        change(&store, old + 2);
        assert_eq!(world.on_disk().years, old + 2);
        assert_eq!(
            world.temporary_files(),
            Vec::<String>::new(),
            "after a kill before {step}"
        );
    }
    assert!(
        left_temporary_files > 0,
        "some kill left a temporary file, so that the sweep was needed"
    );
}

#[test]
#[ignore = "a child process of another test"]
fn killed_writer() {
    let (Some(url), Some(root), Some(step), Some(years)) = (
        given("CACHETX_TEST_URL"),
        given("CACHETX_TEST_ROOT"),
        given("CACHETX_TEST_STEP"),
        given("CACHETX_TEST_YEARS"),
    ) else {
        return;
    };
    let last: usize = step.parse().expect("a number");
    let reached = Mutex::new(0);
    let cache = Cache::builder(support::rules())
        .url(url)
        .open()
        .expect("a cache");
    let store = Store::builder(cache)
        .root(root)
        .lock_ttl(LOCK_TTL)
        .trace(move |_| {
            let mut reached = reached.lock().expect("not poisoned");
            if *reached == last {
                let own = rustix::process::getpid();
                rustix::process::kill_process(own, rustix::process::Signal::KILL).expect("killed");
                std::thread::park();
            }
            *reached += 1;
        })
        .open()
        .expect("a store");
    change(&store, years.parse().expect("a number"));
    unreachable!("killed before that");
}
