//! What the server did not take is recorded, and done once it answers: by the process that recorded it, by another one, or
//! by the command line. Without replay (a negative control) the dependents stay.

use crate::support::gate::Gate;
use crate::support::{self, Climate, RUN, World, child, get, given, key, until};
use cachetx::{
    Cache, CacheOutcome, Document, OutboxFile, Params, Store,
    testing::{MemoryServer, ServerBinary},
};
use std::os::unix::fs::MetadataExt as _;
use std::{
    fs,
    path::Path,
    process::Command,
    sync::{Arc, Barrier, Mutex},
    thread,
};
use tempfile::TempDir;

/// A server behind a gate, with a folder for the gate and one for an outbox.
struct Scene {
    world: World,
    gate: Gate,
    dir: TempDir,
}

impl Scene {
    fn on(binary: &ServerBinary) -> Self {
        let (world, dir) = (World::on(binary), TempDir::new().expect("a folder"));
        let gate = Gate::new(&world, dir.path());
        Self { world, gate, dir }
    }

    fn start() -> Self {
        Self::on(support::any_binary())
    }

    fn outbox(&self) -> std::path::PathBuf {
        self.dir.path().join("outbox")
    }

    fn cache(&self) -> Cache {
        support::cache_builder()
            .url(self.gate.url())
            .outbox(self.outbox())
            // Some of the dead name a port where no server is.
            .outbox_of_any_server()
            .open_lazy()
            .expect("a cache")
    }

    fn warm(&self) {
        self.world.warm();
    }

    /// `ash` and `soils` of the run.
    fn left(&self) -> usize {
        let mut redis = self.world.redis();
        let mut there = |controller: &&str| get(&mut redis, &key(controller)).is_some();
        ["ash", "soils"].iter().filter(|c| there(c)).count()
    }
}

fn params() -> Params {
    Params::new().with("run_id", RUN)
}

fn invalidate(cache: &Cache) -> CacheOutcome {
    cache
        .invalidate(["build_climate"], &params())
        .expect("no mistake")
}

/// Records of all processes that are not done.
fn pending(folder: &Path) -> usize {
    let files = OutboxFile::list(folder).expect("listed");
    files.iter().map(|file| file.records.len()).sum()
}

#[test]
fn a_save_while_the_server_is_away_is_done_once_it_is_back() {
    for binary in ServerBinary::all() {
        eprintln!("on {binary}");
        let scene = Scene::on(binary);
        let world = &scene.world;
        let cache = support::cache_builder()
            .url(scene.gate.url())
            .open()
            .expect("a cache");
        let store = Store::builder(&cache)
            .root(world.root.path())
            .open()
            .expect("a store");
        let document = world.climate(&store);
        document.create(&Climate::of(1)).expect("created");
        scene.warm();
        let mut held = document.lock().expect("locked");
        held.years = 2;
        scene.gate.close(world);
        let outcome = held
            .dump_and_unlock_with_transaction(["build_climate"])
            .expect("saved");
        assert!(
            matches!(&outcome.cache, CacheOutcome::Deferred { cause } if cause.is_unavailable()),
            "{outcome:?}"
        );
        assert_eq!(
            (cache.stats().deferred, cache.stats().outbox_pending),
            (1, 1)
        );
        assert_eq!(world.dependents(), 3);
        assert!(get(&mut world.redis(), &(key("climate") + ":lock")).is_some());
        let folder = world.root.path().join(".cachetx-outbox");
        assert_eq!(pending(&folder), 1);

        scene.gate.open();
        until("the dependents are gone", || world.dependents() == 0);
        until("and it is counted", || cache.stats().outbox_replayed == 1);
        assert_eq!((pending(&folder), cache.stats().outbox_pending), (0, 0));
        assert_eq!(get(&mut world.redis(), &key("climate")), None);
        assert_eq!(
            get(&mut world.redis(), &(key("climate") + ":lock")),
            None,
            "the lock went with the record"
        );
        let stamp = stamp_of(world);
        assert!(
            stamp.starts_with(&format!("{}-", mtime_ns(world))) && stamp.ends_with("::"),
            "{stamp} vouches for no value, and tells commits of earlier files that they are late"
        );
        assert_eq!(document.read().expect("from the file").years, 2);
    }
}

fn stamp_of(world: &World) -> String {
    let stamp = get(&mut world.redis(), &(key("climate") + ":stamp"));
    String::from_utf8(stamp.expect("a stamp")).expect("text")
}

fn mtime_ns(world: &World) -> i128 {
    let file = std::fs::metadata(world.file()).expect("there");
    let (seconds, nanos) = (file.mtime(), file.mtime_nsec());
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

/// A commit of the deleted file that is still on its way comes too late; one of the next file does not.
#[test]
fn a_deletion_leaves_a_stamp_that_is_later_than_the_file() {
    let scene = Scene::start();
    let world = &scene.world;
    let document = world.climate(&world.store());
    document.create(&Climate::of(1)).expect("created");
    let deleted = mtime_ns(world);
    document.delete(cachetx::NO_TASKS).expect("deleted");
    assert_eq!(stamp_of(world), format!("{}-0-0::", deleted + 1));
    document.create(&Climate::of(2)).expect("created again");
    assert!(mtime_ns(world) > deleted + 1);
    let stamp = stamp_of(world);
    assert!(
        stamp.starts_with(&format!("{}-", mtime_ns(world))),
        "{stamp}"
    );
    assert!(get(&mut world.redis(), &key("climate")).is_some());
}

#[test]
fn a_deletion_is_recorded_too() {
    let scene = Arc::new(Scene::start());
    let world = &scene.world;
    let closing = scene.clone();
    let closed = Mutex::new(false);
    let cache = support::cache_builder().url(scene.gate.url());
    let store = Store::builder(cache.open().expect("a cache"))
        .root(world.root.path())
        .trace(move |step| {
            if step == "server.Invalidate" && !std::mem::replace(&mut closed.lock().unwrap(), true)
            {
                closing.gate.close(&closing.world);
            }
        })
        .open()
        .expect("a store");
    let document: Document<Climate> = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    scene.warm();
    let outcome = document.delete(["build_climate"]).expect("deleted");
    assert!(
        matches!(outcome.cache, CacheOutcome::Deferred { .. }),
        "{outcome:?}"
    );
    scene.gate.open();
    until("all of it is gone", || {
        world.dependents() == 0 && get(&mut world.redis(), &key("climate")).is_none()
    });
}

#[test]
fn an_invalidation_outlives_its_process() {
    let scene = Scene::start();
    scene.warm();
    scene.gate.close(&scene.world);
    let cache = scene.cache();
    assert!(matches!(invalidate(&cache), CacheOutcome::Deferred { .. }));
    let closed = cache.close().expect("closed");
    assert_eq!((closed.records, closed.left), (0, 1));
    assert!(closed.cause.is_some_and(|cause| cause.is_unavailable()));
    drop(cache);
    assert_eq!((pending(&scene.outbox()), scene.left()), (1, 2));

    scene.gate.open();
    let other = scene.cache();
    until("another process takes it over", || scene.left() == 0);
    until("and is done", || other.stats().outbox_replayed == 1);
    assert_eq!(pending(&scene.outbox()), 0);
    drop(other);
    assert_eq!(fs::read_dir(scene.outbox()).expect("there").count(), 0);
}

#[test]
fn a_process_that_waits_for_nothing_takes_over_too() {
    let scene = Scene::start();
    scene.warm();
    let idle = scene.cache();
    let lost = support::cache_builder()
        .url("redis://127.0.0.1:1/")
        .outbox(scene.outbox())
        .open_lazy()
        .expect("a cache");
    assert!(!invalidate(&lost).is_settled());
    drop(lost);
    until("the idle one has found it", || scene.left() == 0);
    until("and is done", || idle.stats().outbox_replayed == 1);
}

#[test]
fn two_that_want_a_dead_process_file_replay_it_once() {
    const RECORDS: u64 = 50;
    for _ in 0..5 {
        let scene = Scene::start();
        let lost = support::cache_builder()
            .url("redis://127.0.0.1:1/")
            .outbox(scene.outbox())
            .open_lazy()
            .expect("a cache");
        for _ in 0..RECORDS {
            assert!(!invalidate(&lost).is_settled());
        }
        drop(lost);
        scene.warm();
        let barrier = Barrier::new(4);
        let replayed: u64 = thread::scope(|scope| {
            let heirs: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        let cache = scene.cache();
                        cache.close().expect("replayed");
                        cache.stats().outbox_replayed
                    })
                })
                .collect();
            heirs
                .into_iter()
                .map(|heir| heir.join().expect("done"))
                .sum()
        });
        assert_eq!((replayed, scene.left()), (RECORDS, 0));
        assert_eq!(pending(&scene.outbox()), 0);
    }
}

#[test]
fn what_cannot_be_recorded_says_so_and_is_still_tried() {
    let scene = Scene::start();
    scene.warm();
    let cache = scene.cache();
    fs::remove_dir(scene.outbox()).expect("empty so far");
    fs::write(scene.outbox(), "no folder").expect("in its place");
    scene.gate.close(&scene.world);
    let outcome = invalidate(&cache);
    assert!(
        matches!(&outcome, CacheOutcome::Unrecorded { cause, outbox } if cause.is_unavailable() && outbox.is_io()),
        "{outcome:?}"
    );
    let stats = cache.stats();
    assert_eq!(
        (stats.unrecorded, stats.deferred, stats.outbox_pending),
        (1, 0, 1)
    );
    scene.gate.open();
    until("it is done from memory", || scene.left() == 0);
}

#[test]
fn a_folder_that_vanishes_is_made_again_with_all_that_is_pending() {
    let scene = Scene::start();
    scene.gate.close(&scene.world);
    let cache = scene.cache();
    assert!(matches!(invalidate(&cache), CacheOutcome::Deferred { .. }));
    fs::remove_dir_all(scene.outbox()).expect("removed");
    assert!(matches!(invalidate(&cache), CacheOutcome::Deferred { .. }));
    assert_eq!(pending(&scene.outbox()), 2);
}

#[test]
fn a_full_disk_takes_no_record_and_harms_none() {
    let scene = Scene::start();
    scene.warm();
    let binary = child("outbox::a_writer_on_a_full_disk", &[]);
    // A limit on the size of files, in blocks of 512 or 1,024 bytes; the signal is ignored, so that writes fail.
    let output = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 4; exec "$0" "$@""#])
        .arg(binary.get_program())
        .args(binary.get_args())
        .env("CACHETX_TEST_OUTBOX", scene.outbox())
        .output()
        .expect("a child");
    let text = String::from_utf8_lossy(&output.stdout);
    let count = |what: &str| text.lines().filter(|line| line.ends_with(what)).count();
    let (deferred, unrecorded) = (count("deferred"), count("unrecorded"));
    assert!(deferred > 0 && unrecorded > 0, "{text}");
    assert_eq!(pending(&scene.outbox()), deferred);
    let cache = scene.cache();
    until("the recorded ones are done", || {
        cache.stats().outbox_replayed == deferred as u64
    });
    assert_eq!((scene.left(), cache.stats().outbox_set_aside), (0, 0));
}

#[test]
#[ignore = "a child process of another test"]
fn a_writer_on_a_full_disk() {
    let Some(outbox) = given("CACHETX_TEST_OUTBOX") else {
        return;
    };
    let cache = support::cache_builder()
        .url("redis://127.0.0.1:1/")
        .outbox(outbox)
        .open_lazy()
        .expect("a cache");
    for _ in 0..40 {
        match invalidate(&cache) {
            CacheOutcome::Deferred { .. } => println!("\ndeferred"),
            CacheOutcome::Unrecorded { outbox, .. } if outbox.is_io() => println!("\nunrecorded"),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_server_in_memory_has_its_outbox_beside_it() {
    let server = MemoryServer::new();
    let root = TempDir::new().expect("a folder");
    let cache = support::cache_builder()
        .memory_server(&server)
        .open()
        .expect("a cache");
    let store = Store::builder(&cache)
        .root(root.path())
        .open()
        .expect("a store");
    let document: Document<Climate> = store.document(RUN, "climate").expect("a document");
    document.create(&Climate::of(1)).expect("created");
    let held = document.lock().expect("locked");
    server.stop();
    let outcome = held.dump_and_unlock().expect("saved").cache;
    assert!(
        matches!(&outcome, CacheOutcome::Deferred { cause } if cause.is_unavailable()),
        "{outcome:?}"
    );
    server.start();
    until("it is replayed", || !server.contains(&key("climate")));
    assert!(!root.path().join(".cachetx-outbox").exists());
}

#[cfg(feature = "cli")]
#[test]
fn the_command_line_lists_and_replays() {
    let scene = Scene::start();
    scene.warm();
    let lost = support::cache_builder()
        .url("redis://127.0.0.1:1/")
        .outbox(scene.outbox())
        .open_lazy()
        .expect("a cache");
    assert!(!invalidate(&lost).is_settled());
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_cachetx"))
            .arg("outbox")
            .args(arguments)
            .output()
            .expect("it runs");
        let code = output.status.code().expect("it ended by itself");
        (code, String::from_utf8(output.stdout).expect("text"))
    };
    let folder = scene.outbox().display().to_string();
    let (code, listed) = run(&["list", &folder, "--format", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    assert_eq!((code, &listed["files"][0]["state"]), (1, &"alive".into()));
    drop(lost);
    let (code, listed) = run(&["list", &folder]);
    let record = "2 keys, run_id=copacetic-sled";
    assert!(
        code == 1 && listed.contains("dead, 1 record, for 127.0.0.1:") && listed.contains(record),
        "{listed}"
    );

    let away = run(&["replay", &folder, "--url", "redis://127.0.0.1:1/"]);
    assert_eq!((away.0, pending(&scene.outbox())), (1, 1));
    // It was recorded for another server than this one, by its name.
    let url = scene.world.server.url();
    let kept = run(&["replay", &folder, "--url", &url]);
    assert_eq!((kept.0, pending(&scene.outbox())), (1, 1));
    let replayed = run(&["replay", &folder, "--url", &url, "--any-server"]);
    let text = "1 record replayed, 0 left\n".to_owned();
    assert_eq!(replayed, (0, text));
    assert_eq!(scene.left(), 0);
    assert_eq!(run(&["list", &folder]).0, 0);
    assert_eq!(run(&["list", "no such folder"]).0, 2);
}
