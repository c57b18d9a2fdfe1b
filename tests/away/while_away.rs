//! While the server is away: locks fail, or the sidecar's OS lock takes their place.

use crate::support::{self, Climate, RUN, World, child, given, key, until};
use cachetx::{CacheOutcome, Guarantee, Locked, Save, Store, WhileAway};
use std::{
    fs::OpenOptions, path::Path, process::Child, sync::mpsc::channel, thread, time::Duration,
};

const PROCESSES: u64 = 3;
const THREADS: u64 = 4;
const INCREMENTS: u64 = 10;

fn open(url: &str, root: &Path, while_away: WhileAway) -> Store {
    let cache = support::cache_builder()
        .url(url)
        .open_lazy()
        .expect("a cache");
    Store::builder(cache)
        .root(root)
        .while_away(while_away)
        .lock_wait(Duration::from_secs(100))
        .open()
        .expect("a store")
}

fn falling_back(world: &World) -> Store {
    open(&world.server.url(), world.root.path(), WhileAway::OsLock)
}

/// A world whose server has gone, with a document and everything that depends on it as it was.
fn without_server() -> World {
    let mut world = World::start();
    world
        .climate(&world.store())
        .create(&Climate::of(0))
        .expect("made");
    world.server.stop();
    world
}

fn deferred(outcome: &CacheOutcome) {
    assert!(
        matches!(outcome, CacheOutcome::Deferred { .. }),
        "{outcome:?}"
    );
}

#[test]
fn by_default_locks_are_refused_as_unavailable() {
    let world = without_server();
    for store in [
        world_store(&world),
        open(&world.server.url(), world.root.path(), WhileAway::Fail),
    ] {
        let refused = world
            .climate(&store)
            .lock()
            .map(drop)
            .expect_err("no server");
        assert!(refused.is_unavailable(), "{refused}");
    }
}

fn world_store(world: &World) -> Store {
    let cache = world.cache_builder().open_lazy().expect("a cache");
    Store::builder(cache)
        .root(world.root.path())
        .open()
        .expect("a store")
}

/// Locked, kept over a save, saved, made, deleted; and what was put off is done once the server is back.
#[test]
fn documents_are_saved_and_what_depends_on_them_is_gone_when_the_server_is_back() {
    let mut world = without_server();
    let store = falling_back(&world);
    let document = world.climate(&store);
    let mut held = document.lock().expect("by its sidecar");
    assert_eq!(held.years, 0);
    assert!(!Locked::is_lost(&held));
    Locked::renew(&mut held).expect("there is nothing to renew");
    held.years = 1;
    deferred(&Locked::dump(&mut held, Save::new()).expect("saved").cache);
    let refused = document.try_lock().map(drop).expect_err("held");
    assert!(refused.is_lock_held(), "{refused}");
    held.years = 2;
    let outcome = held
        .dump_and_unlock_with_transaction(["build_climate"])
        .expect("saved");
    deferred(&outcome.cache);
    let crash_safe = Save::new().guarantee(Guarantee::CrashSafe);
    let mut held = document.lock().expect("free again");
    held.years = 3;
    deferred(&held.dump_and_unlock_with(crash_safe).expect("saved").cache);
    let ash = store.document::<Climate>(RUN, "ash").expect("a document");
    deferred(&ash.create(&Climate::of(1)).expect("made").cache);
    deferred(&ash.delete(cachetx::NO_TASKS).expect("deleted").cache);
    assert_eq!(world.on_disk().years, 3);
    assert!(world.temporary_files().is_empty());
    assert!(store.cache().stats().outbox_pending > 0);

    world.server.restart().expect("back");
    // As a server that was only out of reach would have it.
    world.warm();
    support::set(&mut world.redis(), &key("climate"), b"old");
    until("the outbox is empty", || {
        store.cache().stats().outbox_pending == 0
    });
    assert_eq!(world.dependents(), 0);
    assert_eq!(support::get(&mut world.redis(), &key("climate")), None);
    support::committed(
        &document
            .lock()
            .expect("by the server")
            .dump_and_unlock()
            .expect("saved"),
    );
    assert_eq!(document.read().expect("read").years, 3);
}

/// The server comes back between lock and save: the save deletes at once, and sets nothing.
#[test]
fn a_guard_without_a_lock_on_the_server_deletes() {
    let mut world = without_server();
    let store = falling_back(&world);
    for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
        let mut held = world.climate(&store).lock().expect("by its sidecar");
        world.server.restart().expect("back");
        world.warm();
        held.years += 1;
        let save = Save::new().tasks(["build_climate"]).guarantee(guarantee);
        let outcome = held.dump_and_unlock_with(save).expect("saved");
        assert!(
            matches!(outcome.cache, CacheOutcome::Invalidated { .. }),
            "{outcome:?}"
        );
        assert_eq!(world.dependents(), 0);
        assert_eq!(support::get(&mut world.redis(), &key("climate")), None);
        let lock = key("climate") + ":lock";
        assert_eq!(support::get(&mut world.redis(), &lock), None);
        world.server.stop();
    }
    assert_eq!(store.cache().stats().locks_lost, 0);
}

/// A guard from before the outage is not excluded: it saves second, and is refused.
#[test]
fn a_holder_from_before_is_refused_not_overwritten() {
    let mut world = World::start();
    let before = world.store();
    let document = world.climate(&before);
    document.create(&Climate::of(1)).expect("made");
    let mut first = document.lock().expect("by the server");
    world.server.stop();

    let store = falling_back(&world);
    let mut second = world.climate(&store).lock().expect("by its sidecar");
    first.years = 100;
    second.years += 1;
    deferred(&second.dump_and_unlock().expect("saved").cache);
    let refused = first.dump_and_unlock().map(drop).expect_err("refused");
    assert!(refused.error().is_conflict(), "{refused}");
    assert_eq!(world.on_disk().years, 2);

    // And the other way round.
    drop(refused);
    world.server.restart().expect("back");
    let mut first = document.lock().expect("by the server");
    world.server.stop();
    let store = open(&world.server.url(), world.root.path(), WhileAway::OsLock);
    let second = world.climate(&store).lock().expect("by its sidecar");
    first.years += 1;
    let refused = first
        .dump_and_unlock()
        .map(drop)
        .expect_err("its file is locked");
    assert!(refused.error().is_busy(), "{refused}");
    drop(second);
    let first = refused.into_locked();
    deferred(&first.dump_and_unlock().expect("saved").cache);
    assert_eq!(world.on_disk().years, 3);
}

/// The OS lock goes with its holder's process, and who waits for it does so no longer than for a lock.
#[test]
fn the_wait_is_bounded_and_a_dead_holder_is_none() {
    let world = without_server();
    let store = falling_back(&world);
    let document = world.climate(&store);
    let (holds, held) = channel();
    let (end, ends) = channel::<()>();
    thread::scope(|scope| {
        let document = document.clone();
        scope.spawn(move || {
            let guard = document.lock().expect("by its sidecar");
            holds.send(()).expect("told");
            let _ = ends.recv();
            drop(guard);
        });
        held.recv().expect("it holds it");
        let waits = world.climate(&store);
        let refused = waits
            .lock_timeout(Duration::from_millis(50))
            .map(drop)
            .expect_err("held");
        assert!(
            refused.is_lock_held() && refused.is_retryable(),
            "{refused}"
        );
        assert!(refused.to_string().contains("sidecar"), "{refused}");
        drop(end);
        drop(waits.lock().expect("free"));
    });
    let mut dying = start(&world, "hold");
    let mut out = std::io::BufReader::new(dying.stdout.take().expect("its output"));
    let mut line = String::new();
    while !line.contains("it holds it") {
        line.clear();
        let read = std::io::BufRead::read_line(&mut out, &mut line).expect("its output");
        assert!(read > 0, "it ended");
    }
    assert!(
        document
            .try_lock()
            .map(drop)
            .expect_err("held")
            .is_lock_held()
    );
    dying.kill().expect("killed");
    dying.wait().expect("dead");
    drop(document.lock().expect("free"));
}

/// Whoever comes next locks another file, so that there are two holders: the first is refused, for good and at once.
#[test]
fn a_holder_whose_sidecar_is_removed_has_lost_its_lock() {
    let world = without_server();
    let store = falling_back(&world);
    let document = world.climate(&store);
    let mut first = document.lock().expect("by its sidecar");
    std::fs::remove_file(world.run_folder().join(".climate.nodb.cachetx")).expect("it is there");
    let mut second = document.lock().expect("by another sidecar");
    first.years = 100;
    let refused = first.dump_and_unlock().map(drop).expect_err("refused");
    assert!(refused.error().is_lock_lost(), "{refused}");
    drop(refused);
    second.years += 1;
    deferred(&second.dump_and_unlock().expect("saved").cache);
    assert_eq!(world.on_disk().years, 1);
}

/// Where the whole folder is another one, so is the document.
#[test]
fn a_holder_whose_folder_is_replaced_is_refused() {
    let world = without_server();
    let store = falling_back(&world);
    let mut held = world.climate(&store).lock().expect("by its sidecar");
    let (folder, aside) = (world.run_folder(), world.root.path().join("aside"));
    std::fs::rename(&folder, &aside).expect("moved");
    std::fs::create_dir(&folder).expect("made");
    std::fs::copy(aside.join("climate.nodb"), world.file()).expect("copied");
    held.years = 100;
    let refused = held.dump_and_unlock().map(drop).expect_err("refused");
    assert!(refused.error().is_lock_lost(), "{refused}");
    assert_eq!(world.on_disk().years, 0);
    assert!(world.temporary_files().is_empty());
}

/// The server is back while a guard has the OS lock in its place: who takes the server's lock waits in vain for it, and reads what
/// the guard has saved.
#[test]
fn a_lock_of_the_server_waits_for_a_guard_that_fell_back() {
    let mut world = without_server();
    let store = falling_back(&world);
    let mut fell_back = world.climate(&store).lock().expect("by its sidecar");
    world.server.restart().expect("back");
    let other = world.store();
    let document = world.climate(&other);
    let refused = document.lock().map(drop).expect_err("its file is locked");
    assert!(refused.is_busy(), "{refused}");
    assert!(document.holder().expect("asked").is_none(), "let go of");
    fell_back.years = 7;
    let kept = Locked::dump(&mut fell_back, Save::new()).expect("saved");
    assert!(
        matches!(kept.cache, CacheOutcome::Invalidated { .. }),
        "{kept:?}"
    );
    drop(fell_back);
    let mut held = document.lock().expect("by the server");
    held.years += 1;
    support::committed(&held.dump_and_unlock().expect("saved"));
    assert_eq!(world.on_disk().years, 8);
}

fn start(world: &World, way: &str) -> Child {
    let variables = [
        ("CACHETX_TEST_URL", world.server.url()),
        ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
        ("CACHETX_TEST_WAY", way.to_owned()),
    ];
    child("while_away::a_process", &variables)
        .spawn()
        .expect("a child")
}

fn count(world: &World, way: &str) -> bool {
    let children: Vec<Child> = (0..PROCESSES).map(|_| start(world, way)).collect();
    let ends: Vec<bool> = children
        .into_iter()
        .map(|mut child| child.wait().expect("it ends").success())
        .collect();
    ends.into_iter().all(|success| success)
}

#[test]
fn no_update_is_lost_and_there_is_one_holder_at_any_time() {
    let world = without_server();
    assert!(count(&world, "locked"), "a holder met another one");
    assert_eq!(world.on_disk().years, PROCESSES * THREADS * INCREMENTS);
}

/// The same without the OS lock: each reads, increments and writes.
#[test]
fn negative_control_without_a_lock_updates_are_lost() {
    let world = without_server();
    assert!(count(&world, "naive"));
    assert!(
        world.on_disk().years < PROCESSES * THREADS * INCREMENTS,
        "the checker would notice"
    );
}

#[test]
#[ignore = "a child process of another test"]
fn a_process() {
    let (Some(url), Some(root), Some(way)) = (
        given("CACHETX_TEST_URL"),
        given("CACHETX_TEST_ROOT"),
        given("CACHETX_TEST_WAY"),
    ) else {
        return;
    };
    let root = Path::new(&root);
    let store = open(&url, root, WhileAway::OsLock);
    let document = store
        .document::<Climate>(RUN, "climate")
        .expect("a document");
    if way == "hold" {
        let _held = document.lock().expect("by its sidecar");
        println!("\nit holds it");
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    }
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let (document, way) = (&document, &way);
            scope.spawn(move || {
                for _ in 0..INCREMENTS {
                    match way.as_str() {
                        "locked" => document
                            .locked(|climate| only_holder(climate, root))
                            .expect("saved"),
                        _ => naive(root),
                    }
                }
            });
        }
    });
}

/// Fails where somebody else holds the lock too: the operating system is the witness, not the library.
fn only_holder(climate: &mut Climate, root: &Path) -> Result<(), cachetx::BoxError> {
    let witness = root.join("held");
    let held = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&witness);
    held.expect("the only holder");
    climate.years += 1;
    std::fs::remove_file(&witness).expect("still there");
    Ok(())
}

fn naive(root: &Path) {
    let mut climate = support::on_disk(root);
    thread::sleep(Duration::from_millis(1));
    climate.years += 1;
    let temporary = tempfile::NamedTempFile::new_in(root).expect("a file");
    std::fs::write(temporary.path(), climate.bytes()).expect("written");
    temporary
        .persist(root.join(RUN).join("climate.nodb"))
        .expect("renamed");
}
