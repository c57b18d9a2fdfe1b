//! Races 7 and 8: readers of the file next to a writer. In depth: tests/loads/late_loader.rs and
//! tests/files/snapshot.rs.

use super::{
    Verdict, Way, ensure, only_the_library_passes,
    support::{Climate, World, get, key},
};
use std::{
    fs::{self, File},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

/// A document of one year that another program wrote a minute ago, and nothing on the server.
fn prepare(world: &World) {
    fs::create_dir_all(world.run_folder()).expect("a folder");
    fs::write(world.file(), Climate::of(1).bytes()).expect("written");
    let then = SystemTime::now() - Duration::from_secs(60);
    let file = File::options().write(true).open(world.file());
    file.and_then(|file| file.set_modified(then)).expect("set");
    world.settle();
    redis::cmd("FLUSHALL")
        .exec(&mut world.redis())
        .expect("FLUSHALL");
}

/// A writer saves between a reader's look at the file and its fill: the old content is not cached.
fn late_reader(way: Way, world: &World) -> Verdict {
    prepare(world);
    let writer = way.start(world);
    let saves = Arc::new(AtomicUsize::new(0));
    let saved = saves.clone();
    let reader = way.traced(world, move |step| {
        if step == "server.Fill" && saved.fetch_add(1, SeqCst) == 0 {
            let mut written = writer.open().expect("it is there");
            written.lock().expect("it is free");
            written.add(1);
            written.dump_and_unlock().expect("it is saved");
        }
    });
    reader.open()?;
    assert_eq!(saves.load(SeqCst), 1, "a writer came in between");
    let cached = get(&mut world.redis(), &key("climate"));
    let new = world.on_disk();
    ensure(cached.is_none_or(|it| it == new.bytes()), || {
        "the old content is cached".to_owned()
    })?;
    let next = way.start(world).open()?.years();
    ensure(next == new.years, || format!("the next reader sees {next}"))
}

#[test]
fn race_7_a_late_reader_caches_what_a_writer_has_replaced() {
    only_the_library_passes(late_reader, "the old content is cached");
}

fn is_whole(file: &Path) -> bool {
    let text = fs::read(file).expect("it is there");
    serde_json::from_slice::<Climate>(&text).is_ok()
}

/// At each step of a save, every look at the file finds a whole document.
fn whole_at_each_step(way: Way, world: &World) -> Verdict {
    prepare(world);
    let (file, torn) = (world.file(), Arc::new(AtomicUsize::new(0)));
    let found = torn.clone();
    let process = way.traced(world, move |_| {
        found.fetch_add(usize::from(!is_whole(&file)), SeqCst);
    });
    let mut written = process.open()?;
    written.lock()?;
    written.add(1);
    written.dump_and_unlock()?;
    let torn = torn.load(SeqCst);
    ensure(torn == 0, || format!("{torn} times the file was torn"))
}

/// Finds a file in a state in which another program leaves it for a moment; that program continues
/// before the second look.
fn patient_reader(way: Way, world: &World, moment: fn(&Path)) -> Verdict {
    prepare(world);
    moment(&world.file());
    let (file, looks) = (world.file(), AtomicUsize::new(0));
    let reader = way.traced(world, move |step| {
        if step == "disk.read" && looks.fetch_add(1, SeqCst) == 1 {
            fs::write(&file, Climate::of(5).bytes()).expect("written");
        }
    });
    let years = reader.open()?.years();
    ensure(years == 5, || format!("{years} years"))
}

/// `ESTALE` needs a network file system; src/disk/read.rs treats it like a torn file.
#[test]
fn race_8_readers_meet_a_torn_or_missing_file() {
    only_the_library_passes(whole_at_each_step, "1 times the file was torn");
    let torn = |file: &Path| fs::write(file, b"{\"years\":").expect("written");
    let check = |way: Way, world: &World| patient_reader(way, world, torn);
    only_the_library_passes(check, "EOF while parsing");
    let missing = |file: &Path| fs::remove_file(file).expect("removed");
    let check = |way: Way, world: &World| patient_reader(way, world, missing);
    only_the_library_passes(check, "No such file");
}
