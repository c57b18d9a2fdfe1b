//! `kill -9` of the writer at each step of a save, under the lock or by an update: the file is the
//! old or the new one, whole; the next save removes what was left; and the next writer gets the
//! lock once the TTL is over. A crash-safe writer leaves nothing stale; a best-effort one does, at
//! the steps that the guarantees name.

use crate::support::{self, Climate, RUN, World, child, given, until};
use cachetx::{Cache, Guarantee, OnBusy, OutboxFile, Params, Save, Store};
use std::{
    os::unix::process::ExitStatusExt,
    sync::{Arc, Mutex},
    time::Duration,
};

const LOCK_TTL: Duration = Duration::from_millis(300);
/// A step of the background; on a slow machine it occurs in the middle of a save.
const RENEWAL: &str = "server.Renew";

/// How the victim saves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Lock,
    Update,
}

/// The steps of one save, as the library names them.
fn steps(world: &World, guarantee: Guarantee, way: Way) -> Vec<String> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let store = world
        .store_builder()
        .guarantee(guarantee)
        .trace(move |step| {
            if step != RENEWAL {
                log.lock().expect("not poisoned").push(step.to_owned());
            }
        })
        .open()
        .expect("a store");
    change(&store, 2, way);
    std::mem::take(&mut *seen.lock().expect("not poisoned"))
}

fn change(store: &Store, years: u64, way: Way) {
    let document = store
        .document::<Climate>(RUN, "climate")
        .expect("a document");
    let save = Save::new().tasks(["build_climate"]);
    let set = |climate: &mut Climate| {
        climate.years = years;
        Ok(())
    };
    let outcome = match way {
        Way::Lock => document.locked_with(save, set),
        Way::Update => document.update_with(save, set),
    };
    outcome.expect("saved");
}

/// The value for a reader that derives `ash` from the document and keeps it in the cache.
fn derived(world: &World, cache: &Cache) -> u64 {
    let params = Params::new().with("run_id", RUN);
    let loaded = cache.get_or_load_json("ash", &params, || Ok(world.on_disk().years));
    loaded.expect("loaded")
}

/// Kills a writer before each of its steps. Returns the number of dependents after each kill, with
/// the name of the step.
fn kill_everywhere(guarantee: Guarantee, way: Way) -> Vec<(String, usize)> {
    let world = World::start();
    let cache = world
        .cache_builder()
        .on_busy(OnBusy::LoadWithoutFilling)
        .open()
        .expect("a cache");
    let store = Store::builder(&cache)
        .root(world.root.path())
        .lock_ttl(LOCK_TTL)
        .open()
        .expect("a store");
    world
        .climate(&store)
        .create(&Climate::of(1))
        .expect("created");
    // Within a tick of the file's change time a save reads the file again, which is an extra step.
    world.settle();
    let steps = steps(&world, guarantee, way);
    let asks_for_the_lock = match way {
        Way::Lock => "server.Acquire",
        Way::Update => "server.Holders",
    };
    for needed in [
        asks_for_the_lock,
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
    let (mut left_temporary_files, mut dependents) = (0, Vec::new());
    for (n, step) in steps.iter().enumerate() {
        let old = 10 + 3 * n as u64;
        change(&store, old, Way::Lock);
        world.warm();
        assert_eq!(derived(&world, &cache), old);
        world.settle();
        let variables = [
            ("CACHETX_TEST_URL", world.server.url()),
            ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
            ("CACHETX_TEST_STEP", n.to_string()),
            ("CACHETX_TEST_YEARS", (old + 1).to_string()),
            ("CACHETX_TEST_GUARANTEE", format!("{guarantee:?}")),
            ("CACHETX_TEST_WAY", format!("{way:?}")),
        ];
        let end = child("kill::killed_writer", &variables)
            .status()
            .expect("a child");
        assert_eq!(end.signal(), Some(9), "killed before step {n}, {step}");
        dependents.push((step.clone(), world.dependents()));

        // Killed before this step: the rename is done only if a later step was reached.
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
        if guarantee == Guarantee::CrashSafe {
            assert_eq!(
                derived(&world, &cache),
                expected,
                "what depends on it, after a kill before {step}"
            );
        }
        left_temporary_files += world.temporary_files().len();
        until("the dead writer's record is replayed", || {
            cache.replay_outbox().expect("replayed");
            let folder = world.root.path().join(".cachetx-outbox");
            !folder.exists() || OutboxFile::list(folder).expect("listed").is_empty()
        });

        change(&store, old + 2, way);
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
    dependents
}

/// The names of the steps before which a kill left dependents of the old file beside the new one.
fn stale(dependents: &[(String, usize)]) -> Vec<&str> {
    let after = dependents
        .iter()
        .skip_while(|(step, _)| step != "disk.rename");
    let there = after.skip(1).filter(|(_, left)| *left > 0);
    there.map(|(step, _)| step.as_str()).collect()
}

#[test]
fn at_every_step_the_file_is_whole_and_the_next_writer_gets_in() {
    for way in [Way::Lock, Way::Update] {
        let dependents = kill_everywhere(Guarantee::BestEffort, way);
        // As the guarantees say of a writer that dies between the file and the server.
        assert_eq!(
            stale(&dependents),
            [
                "disk.sweep",
                "disk.unlock-sidecar",
                "disk.sync-folder",
                "server.Commit"
            ]
        );
    }
}

#[test]
fn a_crash_safe_writer_leaves_nothing_stale_at_any_step() {
    for way in [Way::Lock, Way::Update] {
        let dependents = kill_everywhere(Guarantee::CrashSafe, way);
        let stale = stale(&dependents);
        assert!(stale.is_empty(), "stale after a kill before {stale:?}");
        assert!(dependents.iter().any(|(step, _)| step == "outbox.intend"));
    }
}

/// Several writers in turn die with a temporary file, until every name for one is taken.
#[test]
fn a_save_gets_through_where_every_temporary_name_is_a_dead_writer_s() {
    let world = World::start();
    let document = world.climate(&world.store());
    document.create(&Climate::of(1)).expect("created");
    for n in 0..4 {
        let name = format!(".climate.nodb.{n:016x}.tmp");
        std::fs::write(world.run_folder().join(name), "left").expect("written");
    }
    let saved = document.locked(|climate| {
        climate.years = 2;
        Ok(())
    });
    saved.expect("saved");
    assert_eq!(world.on_disk().years, 2);
    assert_eq!(world.temporary_files(), Vec::<String>::new());
}

#[test]
#[ignore = "a child process of another test"]
fn killed_writer() {
    let (Some(url), Some(root), Some(step), Some(years), Some(guarantee)) = (
        given("CACHETX_TEST_URL"),
        given("CACHETX_TEST_ROOT"),
        given("CACHETX_TEST_STEP"),
        given("CACHETX_TEST_YEARS"),
        given("CACHETX_TEST_GUARANTEE"),
    ) else {
        return;
    };
    let guarantee = match &*guarantee {
        "CrashSafe" => Guarantee::CrashSafe,
        _ => Guarantee::BestEffort,
    };
    let way = match given("CACHETX_TEST_WAY").as_deref() {
        Some("Update") => Way::Update,
        _ => Way::Lock,
    };
    let last: usize = step.parse().expect("a number");
    let reached = Mutex::new(0);
    let cache = support::cache_builder().url(url).open().expect("a cache");
    let store = Store::builder(cache)
        .root(root)
        .lock_ttl(LOCK_TTL)
        .guarantee(guarantee)
        .trace(move |step| {
            if step == RENEWAL {
                return;
            }
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
    change(&store, years.parse().expect("a number"), way);
    unreachable!("killed before that");
}
