//! 64 threads in 4 processes increment a counter in one document 2,000 times under its lock: there
//! is one holder at any time, and no update is lost. `update`, which has no lock, loses none
//! either. The naive way, without the lock, loses some.

use crate::support::{self, Climate, RUN, World, child, given};
use cachetx::Store;
use std::{
    fs::{File, OpenOptions},
    path::Path,
    process::Child,
    thread,
    time::Duration,
};

const PROCESSES: u64 = 4;
const THREADS: u64 = 16;
const INCREMENTS: u64 = 2_000;

fn count(world: &World, way: &str) -> Vec<Child> {
    (0..PROCESSES)
        .map(|n| {
            let variables = [
                ("CACHETX_TEST_URL", world.server.url()),
                ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
                ("CACHETX_TEST_WAY", way.to_owned()),
                ("CACHETX_TEST_PROCESS", n.to_string()),
            ];
            child("counter::counting_process", &variables)
                .spawn()
                .expect("a child")
        })
        .collect()
}

fn all_succeed(children: Vec<Child>) -> bool {
    let ends: Vec<_> = children
        .into_iter()
        .map(|mut child| child.wait().expect("it ends").success())
        .collect();
    ends.into_iter().all(|success| success)
}

#[test]
fn no_update_is_lost_and_there_is_one_holder_at_any_time() {
    let world = World::start();
    let document = world.climate(&world.store());
    document.create(&Climate::of(0)).expect("created");
    assert!(
        all_succeed(count(&world, "locked")),
        "a holder met another one"
    );
    assert_eq!(world.on_disk().years, INCREMENTS);
    assert_eq!(document.read().expect("read").years, INCREMENTS);
    assert!(world.temporary_files().is_empty());
}

#[test]
fn no_update_is_lost_without_a_holder() {
    for way in ["updated", "updated alone"] {
        let world = World::start();
        let document = world.climate(&world.store());
        document.create(&Climate::of(0)).expect("created");
        assert!(all_succeed(count(&world, way)), "{way}");
        let years = world.on_disk().years;
        assert_eq!(years, INCREMENTS, "updates were lost: {way}");
        assert_eq!(document.read().expect("read").years, INCREMENTS);
        assert!(world.temporary_files().is_empty());
    }
}

#[test]
fn negative_control_the_naive_way_loses_updates() {
    let world = World::start();
    let document = world.climate(&world.store());
    document.create(&Climate::of(0)).expect("created");
    assert!(all_succeed(count(&world, "naive")));
    assert!(
        world.on_disk().years < INCREMENTS,
        "the checker would notice"
    );
}

/// A quarter of the work.
#[test]
#[ignore = "a child process of another test"]
fn counting_process() {
    let (Some(url), Some(root), Some(way)) = (
        given("CACHETX_TEST_URL"),
        given("CACHETX_TEST_ROOT"),
        given("CACHETX_TEST_WAY"),
    ) else {
        return;
    };
    let cache = support::cache_builder()
        .url(url)
        .response_timeout(Duration::from_secs(20))
        .open()
        .expect("a cache");
    let mut store = Store::builder(cache)
        .root(&root)
        .lock_wait(Duration::from_secs(500));
    if way == "updated alone" {
        store = store.without_locks();
    }
    let store = store.open().expect("a store");
    let share = INCREMENTS / PROCESSES / THREADS;
    let rest = INCREMENTS / PROCESSES % THREADS;
    thread::scope(|scope| {
        for n in 0..THREADS {
            let (store, root, way) = (&store, Path::new(&root), &way);
            scope.spawn(move || {
                for _ in 0..share + u64::from(n < rest) {
                    match way.as_str() {
                        "locked" => locked(store, root),
                        "updated" | "updated alone" => updated(store),
                        _ => naive(root),
                    }
                }
            });
        }
    });
}

fn locked(store: &Store, root: &Path) {
    let document = store
        .document::<Climate>(RUN, "climate")
        .expect("a document");
    let witness = root.join("held");
    let change = |climate: &mut Climate| {
        // Fails if somebody else holds the lock too: the operating system is the witness, not the
        // library.
        let held = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&witness);
        held.expect("the only holder");
        climate.years += 1;
        std::fs::remove_file(&witness).expect("still there");
        Ok(())
    };
    document.locked(change).expect("saved");
}

/// Retries if others were faster each time, or held the OS lock for too long.
fn updated(store: &Store) {
    let document = store
        .document::<Climate>(RUN, "climate")
        .expect("a document");
    let add = |climate: &mut Climate| {
        climate.years += 1;
        Ok(())
    };
    while let Err(e) = document.update(["build_climate"], add) {
        assert!(e.is_conflict() || e.is_busy(), "{e}");
    }
}

/// Read, change, write to a temporary file, rename: durable, whole, and wrong.
fn naive(root: &Path) {
    let path = root.join(RUN).join("climate.nodb");
    let mut climate: Climate =
        serde_json::from_reader(File::open(&path).expect("there")).expect("whole");
    climate.years += 1;
    let temporary = tempfile::NamedTempFile::new_in(root).expect("a file");
    serde_json::to_writer(&temporary, &climate).expect("written");
    temporary.persist(path).expect("renamed");
}
