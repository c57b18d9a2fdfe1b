//! Snapshots: a hot read returns what was read before, and never anything older than the file.

use crate::support::{self, Climate, RUN, World, child, given};
use cachetx::{Document, FileSystem, Store, StoreBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::fs::FileExt,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

/// On a local file system, whatever the tests' temporary folder is on.
fn local(world: &World) -> StoreBuilder {
    world.store_builder().file_system(FileSystem::Local)
}

fn document(world: &World, store: StoreBuilder) -> Document<Climate> {
    world.climate(&store.open().expect("a store"))
}

fn save(document: &Document<Climate>, years: u64) {
    let saved = document.locked(|climate| {
        climate.years = years;
        Ok(())
    });
    saved.expect("saved");
}

/// Sets the file's time to long ago, so that nothing written from now on can have it.
fn age(world: &World) {
    let file = fs::File::options().write(true).open(world.file());
    let past = SystemTime::now() - Duration::from_secs(60);
    file.and_then(|file| file.set_modified(past)).expect("set");
}

#[test]
fn a_second_read_is_the_same_arc_until_the_file_changes() {
    let world = World::start();
    let document = document(&world, local(&world));
    document.create(&Climate::of(1)).expect("created");
    let first = document.read().expect("read");
    assert!(Arc::ptr_eq(&first, &document.read().expect("read")));
    // Another handle on the document has the same snapshots; another store has its own.
    assert!(Arc::ptr_eq(&first, &document.clone().read().expect("read")));
    let elsewhere = self::document(&world, local(&world));
    assert!(!Arc::ptr_eq(&first, &elsewhere.read().expect("read")));

    save(&document, 2);
    let second = document.read().expect("own save").years;
    assert_eq!(second, 2, "a snapshot of an older file was returned");
    save(&elsewhere, 3);
    let third = document.read().expect("another store's save");
    assert_eq!((third.years, first.years), (3, 1));
    assert!(Arc::ptr_eq(&third, &document.read().expect("read")));

    document.delete(cachetx::NO_TASKS).expect("deleted");
    assert!(document.read().expect_err("deleted").is_not_found());
    document.create(&Climate::of(3)).expect("made anew");
    assert!(!Arc::ptr_eq(&third, &document.read().expect("read")));
}

#[test]
fn a_snapshot_is_of_one_type() {
    let world = World::start();
    let store = local(&world).open().expect("a store");
    let climate = world.climate(&store);
    climate.create(&Climate::of(1)).expect("created");
    let raw: Document<serde_json::Value> = store.document(RUN, "climate").expect("a document");
    world.settle();
    for _ in 0..2 {
        assert_eq!(climate.read().expect("read").years, 1);
        assert_eq!(raw.read().expect("read")["years"], 1);
    }
    let wrong: Document<Vec<u8>> = store.document(RUN, "climate").expect("a document");
    assert!(wrong.read().is_err(), "a snapshot is no way around parsing");
    assert_eq!(store.cache().stats().reads_from_snapshot, 2);
}

#[test]
fn what_a_foreign_tool_writes_is_seen_at_the_next_read() {
    let world = World::start();
    let document = document(&world, local(&world));
    document.create(&Climate::of(1)).expect("created");
    assert_eq!(document.read().expect("read").years, 1);

    // Written in place, with the same size: the time differs.
    fs::write(world.file(), Climate::of(2).bytes()).expect("written");
    assert_eq!(document.read().expect("read").years, 2);
    // The same content by a rename, with the old time: the inode differs.
    age(&world);
    let aged = document.read().expect("read");
    let modified = fs::metadata(world.file()).and_then(|it| it.modified());
    let copy = world.run_folder().join("copy");
    fs::write(&copy, Climate::of(3).bytes()).expect("written");
    fs::File::options()
        .write(true)
        .open(&copy)
        .and_then(|file| file.set_modified(modified.expect("a time")))
        .expect("set");
    fs::rename(&copy, world.file()).expect("renamed");
    assert_eq!((aged.years, document.read().expect("read").years), (2, 3));
    // Written in place with another size and the old time.
    let modified = fs::metadata(world.file()).and_then(|it| it.modified());
    fs::write(world.file(), Climate::of(44).bytes()).expect("written");
    fs::File::options()
        .write(true)
        .open(world.file())
        .and_then(|file| file.set_modified(modified.expect("a time")))
        .expect("set");
    assert_eq!(document.read().expect("read").years, 44);
}

#[test]
fn what_is_written_in_place_with_its_size_kept_and_its_time_set_back_is_seen() {
    let world = World::start();
    let document = document(&world, local(&world));
    document.create(&Climate::of(1)).expect("created");
    document.read().expect("read");
    let modified = fs::metadata(world.file()).and_then(|it| it.modified());
    let file = fs::File::options().write(true).open(world.file());
    let file = file.expect("opened");
    file.write_all_at(&Climate::of(2).bytes(), 0)
        .and_then(|()| file.set_modified(modified.expect("a time")))
        .expect("written in place, with its time set back");
    assert_eq!(document.read().expect("read").years, 2);
}

#[test]
fn a_file_that_may_change_within_a_tick_is_read_again_and_parsed_once() {
    let world = World::start();
    let store = local(&world).open().expect("a store");
    let (document, stats) = (world.climate(&store), || store.cache().stats());
    fs::create_dir(world.run_folder()).expect("made");
    fs::write(world.file(), Climate::of(1).bytes()).expect("written");
    let time = SystemTime::now();
    let set = || {
        let file = fs::File::options().write(true).open(world.file());
        file.and_then(|file| file.set_modified(time)).expect("set");
    };
    let read = || document.read().expect("read");
    set();
    let first = read();
    assert!(Arc::ptr_eq(&first, &read()), "the same bytes");
    // Its stamp repeats with another content, perhaps within one tick: noticed.
    fs::write(world.file(), Climate::of(2).bytes()).expect("written");
    set();
    let second = read();
    assert_eq!((first.years, second.years), (1, 2));

    age(&world);
    world.settle();
    let before = stats();
    assert!((0..3).all(|_| Arc::ptr_eq(&second, &read())));
    let after = stats();
    let read = |stats: &cachetx::Stats| (stats.reads_from_file, stats.reads_from_snapshot);
    assert_eq!(read(&after), (read(&before).0 + 1, read(&before).1 + 2));
}

#[test]
fn a_save_vouches_for_its_file_with_the_server_and_without() {
    let mut world = World::start();
    let document = document(&world, local(&world));
    document.create(&Climate::of(1)).expect("created");
    let from_server = document.read().expect("read");
    assert!(Arc::ptr_eq(&from_server, &document.read().expect("read")));

    world.server.kill();
    let without = self::document(
        &world,
        Store::builder(world.cache_builder().open_lazy().expect("a cache"))
            .root(world.root.path())
            .file_system(FileSystem::Local),
    );
    let from_file = without.read().expect("from the file");
    assert!(Arc::ptr_eq(&from_file, &without.read().expect("read")));
}

#[test]
fn a_save_by_another_process_is_seen() {
    let world = World::start();
    let document = document(&world, local(&world));
    document.create(&Climate::of(0)).expect("created");
    let variables = [
        ("CACHETX_TEST_URL", world.server.url()),
        ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
    ];
    let mut writer = child("snapshot::writer", &variables)
        .spawn()
        .expect("a child");
    let mut ask = writer.stdin.take().expect("piped");
    let mut told = BufReader::new(writer.stdout.take().expect("piped")).lines();
    for years in 1..=50_u64 {
        let hot = document.read().expect("read");
        assert!(Arc::ptr_eq(&hot, &document.read().expect("read")));
        assert_eq!(hot.years, years - 1);
        writeln!(ask, "{years}").expect("asked");
        let saved = format!("saved {years}");
        let done = told.any(|line| line.expect("text").ends_with(&saved));
        assert!(done, "the writer ended early");
        assert_eq!(document.read().expect("read").years, years);
    }
    drop(ask);
    assert!(writer.wait().expect("ended").success());
}

#[test]
#[ignore = "a child process of another test"]
fn writer() {
    let (Some(url), Some(root)) = (given("CACHETX_TEST_URL"), given("CACHETX_TEST_ROOT")) else {
        return;
    };
    let cache = support::cache_builder().url(url).open();
    let store = Store::builder(cache.expect("a cache")).root(root).open();
    let document = store.expect("a store").document(RUN, "climate");
    let document = document.expect("a document");
    for line in std::io::stdin().lines() {
        let years = line.expect("text").parse().expect("a number");
        save(&document, years);
        println!("saved {years}");
    }
}

#[test]
fn bounds_hold_and_zero_keeps_none() {
    let world = World::start();
    let runs = |store: &Store| -> Vec<Document<Climate>> {
        (0..20)
            .map(|n| store.document(&format!("run-{n}"), "climate"))
            .collect::<Result<_, _>>()
            .expect("documents")
    };
    let store = local(&world).open().expect("a store");
    for document in runs(&store) {
        document.create(&Climate::of(1)).expect("created");
    }
    for n in 0..20 {
        let folder = world.root.path().join(format!("run-{n}"));
        support::settle(&folder.join("climate.nodb"));
    }
    // The snapshots that a second round over all of them finds.
    let kept = |store: StoreBuilder| {
        let store = store.open().expect("a store");
        for _ in 0..2 {
            for document in runs(&store) {
                document.read().expect("read");
            }
        }
        store.cache().stats().reads_from_snapshot
    };
    let bytes = Climate::of(1).bytes().len() as u64;
    assert_eq!(kept(local(&world)), 20);
    assert_eq!(kept(local(&world).snapshot_entries(0)), 0);
    assert_eq!(kept(local(&world).snapshot_bytes(0)), 0);
    assert!(kept(local(&world).snapshot_entries(5)) <= 5);
    assert!(kept(local(&world).snapshot_bytes(5 * bytes)) <= 5);
}

static PARSED: AtomicU64 = AtomicU64::new(0);

/// Counts how often it is parsed.
struct Counted;

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        PARSED.fetch_add(1, Ordering::SeqCst);
        Climate::deserialize(from).map(|_| Self)
    }
}

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        // Other bytes in each round.
        Climate::of(PARSED.load(Ordering::SeqCst)).serialize(to)
    }
}

#[test]
fn threads_that_open_the_same_document_share_one_load() {
    const THREADS: usize = 8;
    let world = World::start();
    let store = local(&world).open().expect("a store");
    let document: Document<Counted> = store.document(RUN, "climate").expect("a document");
    document.create(&Counted).expect("created");
    for round in 1..=20 {
        let start = Barrier::new(THREADS);
        let read: Vec<Arc<Counted>> = thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        document.read().expect("read")
                    })
                })
                .collect();
            let read = threads.into_iter().map(|it| it.join().expect("no panic"));
            read.collect()
        });
        assert!(read.iter().all(|it| Arc::ptr_eq(it, &read[0])));
        assert_eq!(PARSED.load(Ordering::SeqCst), round, "one parse a round");
        // The next round has a new file to open, and the lock parses it too.
        let locked = document.lock().expect("locked");
        PARSED.fetch_sub(1, Ordering::SeqCst);
        locked.dump_and_unlock().expect("saved");
    }
}

/// A store that calls `change(n)` before its `n`th look at the file, so that other programs act
/// exactly then.
fn watched(world: &World, change: impl Fn(u64) + Send + Sync + 'static) -> StoreBuilder {
    let looks = AtomicU64::new(0);
    local(world).trace(move |step| {
        if step == "disk.read" {
            change(looks.fetch_add(1, Ordering::SeqCst) + 1);
        }
    })
}

#[test]
fn a_file_that_is_missing_for_a_moment_is_found() {
    let world = World::start();
    fs::create_dir(world.run_folder()).expect("made");
    let path = world.file();
    // Created at the third look, deleted at the fourth and created again at the sixth.
    let store = watched(&world, move |look| match look {
        3 => fs::write(&path, b"{").expect("written"),
        4 => fs::remove_file(&path).expect("removed"),
        6 => fs::write(&path, Climate::of(6).bytes()).expect("written"),
        _ => {}
    });
    let document = document(&world, store);
    assert_eq!(document.read().expect("found").years, 6);

    fs::remove_file(world.file()).expect("removed");
    assert!(document.read().expect_err("no more").is_not_found());
}

#[test]
fn a_run_folder_that_is_replaced_for_a_moment_is_found() {
    let world = World::start();
    fs::create_dir(world.run_folder()).expect("made");
    let (folder, aside) = (world.run_folder(), world.root.path().join("aside"));
    let file = world.file();
    let store = watched(&world, move |look| match look {
        2 => fs::rename(&folder, &aside).expect("moved"),
        3 => {
            fs::create_dir(&folder).expect("made");
            fs::write(&file, Climate::of(3).bytes()).expect("written");
        }
        _ => {}
    });
    assert_eq!(document(&world, store).read().expect("found").years, 3);
}

#[test]
fn a_file_that_is_cut_short_for_a_moment_is_read_whole() {
    let world = World::start();
    fs::create_dir(world.run_folder()).expect("made");
    let (path, text) = (world.file(), Climate::of(7).bytes());
    fs::write(&path, b"").expect("written");
    let store = watched(&world, move |look| {
        // One byte more at each look.
        let there = usize::try_from(look).expect("few");
        fs::write(&path, &text[..there.min(text.len())]).expect("written");
    });
    let document = document(&world, store);
    assert_eq!(document.read().expect("whole").years, 7);
    // A lock reads the file in the same way.
    assert_eq!(document.lock().expect("locked").years, 7);

    // Permanently cut short: an error, after a bounded time.
    let store = watched(&world, |_| {});
    fs::write(world.file(), b"{\"years\":").expect("written");
    let refused = self::document(&world, store).read().expect_err("cut short");
    assert!(refused.to_string().contains("ends too early"), "{refused}");
}

/// The same with a writer that nobody waits for: it truncates and writes in two halves, as fast as
/// it can.
#[test]
fn readers_never_see_the_half_of_what_is_written_in_place() {
    let world = World::start();
    let document = document(&world, local(&world));
    document.create(&Climate::of(0)).expect("created");
    let (done, path) = (AtomicBool::new(false), world.file());
    let (mut last, mut naive) = (0, 0);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _done = support::SetOnDrop(&done);
            for years in 1..=200 {
                let note = "x".repeat(10_000);
                let text = Climate { years, note }.bytes();
                let (first, second) = text.split_at(text.len() / 2);
                let mut file = fs::File::create(&path).expect("truncated");
                file.write_all(first).expect("written");
                thread::yield_now();
                file.write_all(second).expect("written");
                drop(file);
                thread::sleep(Duration::from_micros(300));
            }
        });
        while !done.load(Ordering::SeqCst) {
            let text = fs::read(&path).expect("there");
            naive += u64::from(serde_json::from_slice::<Climate>(&text).is_err());
            match document.read() {
                Ok(read) => {
                    assert!(read.years >= last, "{} after {last}", read.years);
                    last = read.years;
                }
                // On a busy machine the writer may stall for longer than a reader waits for the
                // rest.
                Err(e) => {
                    let why = e.to_string();
                    assert!(
                        why.contains("empty") || why.contains("ends too early"),
                        "{why}"
                    );
                }
            }
        }
    });
    assert_eq!(document.read().expect("whole").years, 200);
    assert!(naive > 0, "negative control: a plain read meets a part");
}

#[test]
fn a_run_folder_that_becomes_a_link_is_not_followed_to_another_file() {
    let world = World::start();
    let document = document(&world, local(&world));
    document.create(&Climate::of(1)).expect("created");
    document.read().expect("read");
    let outside = tempfile::TempDir::new().expect("a folder");
    fs::write(outside.path().join("climate.nodb"), Climate::of(6).bytes()).expect("written");
    let aside = world.root.path().join("aside");
    fs::rename(world.run_folder(), &aside).expect("moved");
    std::os::unix::fs::symlink(outside.path(), world.run_folder()).expect("linked");
    let refused = document.read().expect_err("a link").to_string();
    assert!(refused.contains("symbolic link"), "{refused}");
}

#[test]
fn on_a_network_file_system_the_file_is_opened() {
    let world = World::start();
    let network = world.store_builder().file_system(FileSystem::Network);
    let document = document(&world, network);
    assert!(document.read().expect_err("none").is_not_found());
    document.create(&Climate::of(1)).expect("created");
    let first = document.read().expect("read");
    assert!(Arc::ptr_eq(&first, &document.read().expect("read")));
    save(&document, 2);
    assert_eq!(document.read().expect("read").years, 2);
    document.delete(cachetx::NO_TASKS).expect("deleted");
    assert!(document.read().expect_err("deleted").is_not_found());
}
