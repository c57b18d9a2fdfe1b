//! A document's entry is filled by the first reader that misses it, under a lease: never over a
//! later save, never from a file whose stamp may repeat.

use crate::support::{self, Climate, World, get, key, on_every_server, set};
use cachetx::Store;
use std::{
    fs::File,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

/// A world with a document that another program wrote this long ago, and nothing on the server.
fn foreign_document(world: &World, age: Duration) {
    std::fs::create_dir_all(world.run_folder()).expect("a folder");
    std::fs::write(world.file(), Climate::of(1).bytes()).expect("written");
    age_by(world, age);
}

fn age_by(world: &World, age: Duration) {
    let file = File::options().write(true).open(world.file());
    let then = SystemTime::now() - age;
    file.and_then(|file| file.set_modified(then)).expect("set");
    world.settle();
}

const LONG: Duration = Duration::from_secs(60);

/// Reads as a process that has not read it yet. Returns what it read, and in how many round trips.
fn read(world: &World) -> (u64, u64) {
    let store = world.store();
    let before = store.cache().stats().round_trips;
    let years = world.climate(&store).read().expect("it is there").years;
    let stats = store.cache().stats();
    (years, stats.round_trips - before)
}

fn in_flight(world: &World) -> bool {
    let leases = "{copacetic-sled}:cachetx:leases";
    let exists = redis::cmd("EXISTS").arg(leases).query(&mut world.redis());
    exists.expect("EXISTS")
}

#[test]
fn a_miss_costs_two_round_trips_and_the_next_reader_one() {
    on_every_server(|world| {
        foreign_document(world, LONG);
        assert_eq!(read(world), (1, 2));
        assert_eq!(read(world), (1, 1));
        let mut redis = world.redis();
        let filled = get(&mut redis, &key("climate"));
        assert_eq!(filled, Some(Climate::of(1).bytes()));
        assert!(support::pttl(&mut redis, &key("climate")) > 0);
        assert!(!in_flight(world));

        // A foreign SET of the value alone is noticed and corrected.
        set(&mut redis, &key("climate"), &Climate::of(7).bytes());
        assert_eq!(read(world), (1, 3));
        assert_eq!(read(world), (1, 1));

        // Another program writes the file.
        std::fs::write(world.file(), Climate::of(2).bytes()).expect("written");
        age_by(world, LONG / 2);
        assert_eq!(read(world), (2, 2));
        assert_eq!(read(world), (2, 1));
    });
}

#[test]
fn a_young_file_is_not_filled() {
    let world = World::start();
    foreign_document(&world, Duration::ZERO);
    assert_eq!(read(&world), (1, 0));
    assert!(get(&mut world.redis(), &key("climate")).is_none());
    assert!(!in_flight(&world));
}

#[test]
fn a_document_that_vanishes_leaves_no_lease() {
    let world = World::start();
    foreign_document(&world, LONG);
    let file = world.file();
    let store = world.store_builder().trace(move |step| {
        if step == "server.Lease" {
            std::fs::remove_file(&file).expect("removed");
        }
    });
    let store = store.open().expect("a store");
    let gone = world.climate(&store).read().expect_err("it is gone");
    assert!(gone.is_not_found(), "{gone}");
    assert!(!in_flight(&world));
}

/// A save in the middle of a read, at each step.
#[test]
fn a_save_during_a_read_is_never_undone_by_its_fill() {
    on_every_server(|world| {
        for (turn, step) in ["disk.stat", "server.Lease", "disk.read", "server.Fill"]
            .into_iter()
            .enumerate()
        {
            foreign_document(world, LONG);
            redis::cmd("FLUSHALL")
                .exec(&mut world.redis())
                .expect("FLUSHALL");
            let years = 10 + turn as u64;
            let (writer, saved) = (world.store(), AtomicBool::new(false));
            let writer = world.climate(&writer);
            let steps = Arc::new(Mutex::new(Vec::new()));
            let taken = steps.clone();
            let store: Store = world
                .store_builder()
                .trace(move |name| {
                    taken.lock().expect("not poisoned").push(name.to_owned());
                    if name == step && !saved.swap(true, SeqCst) {
                        let saved = writer.locked(|climate| {
                            climate.years = years;
                            Ok(())
                        });
                        saved.expect("it is saved");
                    }
                })
                .open()
                .expect("a store");
            let seen = world.climate(&store).read().expect("it is there");
            let steps = steps.lock().expect("not poisoned").clone();
            assert!(steps.iter().any(|name| name == step), "{step}: {steps:?}");
            // Only what was read before the save began may be older.
            assert!(seen.years == years || step == "server.Fill", "{step}");
            let found = get(&mut world.redis(), &key("climate"));
            assert_eq!(found, Some(Climate::of(years).bytes()), "{step}");
            assert_eq!(read(world).0, years, "{step}");
            assert!(!in_flight(world), "{step}");
        }
    });
}

#[test]
fn a_server_that_gives_no_lease_is_no_error() {
    on_every_server(|world| {
        foreign_document(world, LONG);
        assert_eq!(read(world), (1, 2));
        let full = |limit: &str| {
            redis::cmd("CONFIG")
                .arg(&["SET", "maxmemory", limit])
                .exec(&mut world.redis())
                .expect("CONFIG");
        };
        let store = world.store();
        full("1");
        let years = world.climate(&store).read().map(|climate| climate.years);
        full("0");
        assert_eq!(years.expect("it is there"), 1);
    });
}
