//! Races 6 and 10: the server is unreachable. In depth: tests/away/outage.rs, tests/away/outbox.rs
//! and src/engine/tests/loading.rs.

use super::{
    Process, Verdict, Way, by_hand, ensure, library, only_the_library_passes,
    support::{Climate, SetOnDrop, World, any_binary, gate::Gate, get, key},
};
use cachetx::testing::{ServerBinary, ServerOptions};
use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
};
use tempfile::TempDir;

fn save(process: &dyn Process) -> Verdict {
    let mut instance = process.open()?;
    instance.lock()?;
    instance.add(1);
    instance.dump_and_unlock()
}

/// The number of commands that a server loads after a restart, each with a pause in us: it takes
/// part of a second.
const COMMANDS: usize = 3_000;
const DELAY_US: &str = "150";

/// A server that is slow to read its append-only file.
fn slow_to_load(binary: &ServerBinary) -> World {
    let options = ServerOptions::new()
        .config("appendonly", "yes")
        .config("key-load-delay", DELAY_US);
    World {
        server: options.start(binary).expect("the server starts"),
        root: TempDir::new().expect("a folder"),
    }
}

/// A process that meets a server while it loads works again as soon as it has loaded.
fn restarted(way: Way, mut world: World) -> Verdict {
    let document = world.climate(&world.store());
    document.create(&Climate::of(1)).expect("created");
    let mut redis = world.redis();
    for n in 0..COMMANDS {
        redis::cmd("SET")
            .arg(n)
            .arg(n)
            .exec(&mut redis)
            .expect("SET");
    }
    let process = way.start(&world);
    save(&*process)?;
    world.server.kill();
    assert!(save(&*process).is_err(), "the server is away");
    let back = AtomicBool::new(false);
    let server = &mut world.server;
    thread::scope(|scope| {
        scope.spawn(|| {
            let _back = SetOnDrop(&back);
            server.restart().expect("it starts again");
        });
        while !back.load(SeqCst) {
            // It may fail or work: the server is loading, or has loaded.
            let _ = save(&*process);
        }
    });
    let before = world.on_disk().years;
    // One try is enough for the library; a client that fails now fails for ever.
    let tries: Vec<Verdict> = (0..5).map(|_| save(&*process)).collect();
    ensure(tries.iter().all(Result::is_ok), || format!("{tries:?}"))?;
    let years = world.on_disk().years;
    ensure(years == before + 5, || format!("{years} years"))
}

#[test]
fn race_6_a_restarting_server_leaves_a_client_that_fails_for_ever() {
    for binary in ServerBinary::all() {
        eprintln!("on {binary}");
        restarted(Way(library::start), slow_to_load(binary)).expect("it connects on demand");
    }
    let why = restarted(Way(by_hand::start), slow_to_load(any_binary()));
    let why = why.expect_err("the check catches the naive way");
    assert_eq!(why.matches("Err(").count(), 5, "{why}");
}

/// What a save could not tell the unreachable server is done later: nothing old is left in the
/// cache.
fn saved_while_away(way: Way, world: &World) -> Verdict {
    let document = world.climate(&world.store());
    document.create(&Climate::of(1)).expect("created");
    world.warm();
    let folder = TempDir::new().expect("a folder");
    let gate = Gate::new(world, folder.path());
    let process = way.at(world, &gate.url(), |_| {});
    let mut instance = process.open()?;
    instance.lock()?;
    instance.add(1);
    gate.close(world);
    instance.dump_and_unlock()?;
    assert_eq!(world.on_disk().years, 2, "the file is the new one");
    gate.open();
    process.catch_up();
    let cached = get(&mut world.redis(), &key("climate"));
    ensure(cached != Some(Climate::of(1).bytes()), || {
        "the old content is left in the cache".to_owned()
    })?;
    let left = world.dependents();
    ensure(left == 0, || format!("{left} dependents are left"))?;
    let next = way.start(world).open()?.years();
    ensure(next == 2, || format!("the next reader sees {next}"))
}

#[test]
fn race_10_a_save_lands_in_the_file_while_the_server_is_away() {
    only_the_library_passes(saved_while_away, "the old content is left in the cache");
}
