//! No acknowledged save is ever overwritten by a holder that has not seen it, however there came to
//! be two holders.
//!
//! Negative control: built with `--cfg cachetx_without_stamp_check` this test fails (`make negative-controls`).

use crate::support::{self, Climate, RUN, World, child, given, until};
use cachetx::{Document, KeepAlive, Locked, Result, Store, testing::Server};
use std::{
    io::{BufRead, BufReader, Write},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

/// Two holders at once: the first has read, then `event` invalidates its lock, then the second
/// saves.
fn second_save_is_refused(
    world: &mut World,
    ttl: Duration,
    event: impl FnOnce(&mut World, &Document<Climate>),
) {
    let builder = world.store_builder().lock_ttl(ttl);
    // Otherwise the first would notice by itself before it saves.
    let store = builder.keep_alive(KeepAlive::Off).open().expect("a store");
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");

    let mut first = document.lock().expect("the first holder");
    first.years = 100;
    event(world, &document);
    // Its lock must last for its save, even on a busy machine.
    let lasting = world
        .store_builder()
        .lock_ttl(LONG)
        .open()
        .expect("a store");
    let mut second = world.climate(&lasting).lock().expect("the second holder");
    second.years += 1;
    second
        .dump_and_unlock()
        .expect("the second save is acknowledged");

    let refused = first
        .dump_and_unlock()
        .expect_err("the first holder had not seen it");
    let error = refused.error();
    assert!(error.is_conflict() || error.is_fenced(), "{error}");
    let told = error.to_string();
    assert!(
        told.contains("conflict") || told.contains("fenced"),
        "{told}"
    );
    assert_eq!(world.on_disk().years, 2, "the acknowledged save stands");
    assert_eq!(refused.into_value().years, 100, "the data comes back");
    assert!(world.temporary_files().is_empty());
}

fn lock_key() -> String {
    support::key("climate") + ":lock"
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn time_to_live_runs_out_during_a_pause() {
    second_save_is_refused(
        &mut World::start(),
        Duration::from_millis(150),
        |world, _| {
            let mut redis = world.redis();
            until("the lock has run out", || {
                support::get(&mut redis, &lock_key()).is_none()
            });
        },
    );
}

#[test]
fn an_operator_clears_the_locks() {
    second_save_is_refused(&mut World::start(), LONG, |world, _| {
        assert_eq!(world.store().clear_locks(RUN).expect("cleared"), 1);
    });
}

#[test]
fn the_server_restarts_empty() {
    second_save_is_refused(&mut World::start(), LONG, |world, _| {
        world.server.restart().expect("restarted");
    });
}

#[test]
fn the_server_restarts_from_an_older_snapshot() {
    let mut world = World::start();
    let store = world.store();
    // A few saves, so that the fence in the snapshot is above zero.
    let document = world.climate(&store);
    document.create(&Climate::of(0)).expect("created");
    for _ in 0..3 {
        document
            .locked(|climate| {
                climate.years += 1;
                Ok(())
            })
            .expect("saved");
    }
    save_snapshot(&world.server);
    document.delete(cachetx::NO_TASKS).expect("deleted");
    second_save_is_refused(&mut world, LONG, |world, _| {
        let fence = lock_key() + ":fence";
        let before = support::get(&mut world.redis(), &fence);
        world.server.kill();
        world.server.restart().expect("restarted");
        let after = support::get(&mut world.redis(), &fence);
        assert!(
            after.is_some() && after < before,
            "the fence went back: {before:?} to {after:?}"
        );
    });
}

fn save_snapshot(server: &Server) {
    let client = redis::Client::open(server.url()).expect("a client");
    let mut redis = client.get_connection().expect("a connection");
    redis::cmd("SAVE").exec(&mut redis).expect("SAVE");
}

#[test]
fn the_fence_key_is_deleted() {
    second_save_is_refused(&mut World::start(), LONG, |world, _| {
        let keys = [lock_key(), lock_key() + ":fence"];
        let gone: u64 = redis::cmd("DEL")
            .arg(&keys)
            .query(&mut world.redis())
            .expect("DEL");
        assert_eq!(gone, 2);
    });
}

#[test]
fn the_sidecar_is_deleted() {
    let mut world = World::start();
    let sidecar = |world: &World| world.run_folder().join(".climate.nodb.cachetx");
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let mut first = document.lock().expect("the first holder");
    first.years = 100;
    document.clear_lock().expect("cleared");
    document
        .locked(|climate| {
            climate.years += 1;
            Ok(())
        })
        .expect("the second save");
    std::fs::remove_file(sidecar(&world)).expect("there was one");
    let refused = first.dump_and_unlock().expect_err("refused");
    assert!(refused.error().is_conflict(), "{refused}");
    assert_eq!(world.on_disk().years, 2);
    drop(refused);

    // The sidecar is also deleted before the second holder comes, whose fence then starts from the
    // beginning.
    document.delete(cachetx::NO_TASKS).expect("deleted");
    second_save_is_refused(&mut world, LONG, |world, document| {
        std::fs::remove_file(sidecar(world)).expect("there was one");
        let gone: u64 = redis::cmd("DEL")
            .arg(lock_key() + ":fence")
            .query(&mut world.redis())
            .expect("DEL");
        assert_eq!(gone, 1);
        document.clear_lock().expect("cleared");
    });
}

#[test]
fn a_process_is_suspended_while_it_holds_the_lock() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let mut holder = child(
        "no_lost_save::suspended_holder",
        &[
            ("CACHETX_TEST_URL", world.server.url()),
            ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
        ],
    )
    .spawn()
    .expect("a child");
    let mut said = BufReader::new(holder.stdout.take().expect("piped"))
        .lines()
        .map(|line| line.expect("text"));
    assert!(said.any(|line| line.ends_with("LOCKED")));

    let pid = rustix::process::Pid::from_child(&holder);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stopped");
    document
        .locked(|climate| {
            climate.years += 1;
            Ok(())
        })
        .expect("waits for the TTL, then saves");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("goes on");
    holder
        .stdin
        .take()
        .expect("piped")
        .write_all(b"save\n")
        .expect("told");

    let verdict = said.find(|line| line.starts_with("REFUSED") || line.starts_with("SAVED"));
    assert!(holder.wait().expect("ends").success());
    assert_eq!(verdict.as_deref(), Some("REFUSED 100"));
    assert_eq!(world.on_disk().years, 2);
}

/// The child of the test above.
#[test]
#[ignore = "a child process of another test"]
fn suspended_holder() {
    let (Some(url), Some(root)) = (given("CACHETX_TEST_URL"), given("CACHETX_TEST_ROOT")) else {
        return;
    };
    let held: Result<Locked<Climate>> = (|| {
        let cache = support::cache_builder().url(url).open()?;
        let store = cachetx::Store::builder(cache)
            .root(root)
            .lock_ttl(Duration::from_millis(500))
            .keep_alive(KeepAlive::Off)
            .open()?;
        store.document(RUN, "climate")?.lock()
    })();
    let mut held = held.expect("locked");
    held.years = 100;
    println!("\nLOCKED");
    std::io::stdin()
        .read_line(&mut String::new())
        .expect("told to go on");
    match held.dump_and_unlock() {
        Err(e) if e.error().is_conflict() || e.error().is_fenced() => {
            println!("\nREFUSED {}", e.into_value().years);
        }
        other => println!("\nSAVED {other:?}"),
    }
}

/// Before each of its steps another process removes the sidecar and clears the lock, and a second
/// holder saves. Returns the number of steps. `act` returns how many years it has acknowledged,
/// unless it was refused.
fn paused_at_every_step(
    prepare: impl Fn(&Document<Climate>, u64),
    act: impl Fn(&Document<Climate>) -> Result<Option<u64>>,
) -> usize {
    let world = World::start();
    let store = world.store();
    let (plain, other) = (world.climate(&store), world.climate(&store));
    let mut refused = 0;
    for step in 0.. {
        let old = 100 + 10 * step;
        if world.file().exists() {
            plain.delete(cachetx::NO_TASKS).expect("deleted");
        }
        prepare(&plain, old);
        let (second, sidecar) = (
            other.clone(),
            world.run_folder().join(".climate.nodb.cachetx"),
        );
        let (reached, saved) = (AtomicU64::new(0), Arc::new(AtomicU64::new(0)));
        let has_read = Arc::new(AtomicBool::new(false));
        let (ends, reads) = (saved.clone(), has_read.clone());
        let paused: Store = world
            .store_builder()
            .keep_alive(KeepAlive::Off)
            .trace(move |name| {
                let number = reached.fetch_add(1, SeqCst);
                if number < step && name == "disk.read" {
                    reads.store(true, SeqCst);
                }
                if number != step {
                    return;
                }
                let _ = std::fs::remove_file(&sidecar);
                second.clear_lock().expect("cleared");
                let more = |climate: &mut Climate| {
                    climate.years += 5;
                    Ok(climate.years)
                };
                let years = match second.exists().expect("looked") {
                    true => second.locked(more).expect("the second holder saves"),
                    false => second.create(&Climate::of(5)).map(|_| 5).expect("created"),
                };
                ends.store(years, SeqCst);
            })
            .open()
            .expect("a store");
        let done = act(&world.climate(&paused));
        let second = saved.load(SeqCst);
        if second == 0 {
            assert!(refused > 1, "{refused} of {step}");
            return usize::try_from(step).expect("few");
        }
        // What is there now; `None` if it was deleted.
        let there = plain
            .exists()
            .expect("looked")
            .then(|| world.on_disk().years);
        match done {
            // It came first, or it has read what the second one saved.
            Ok(years) => assert!(
                there == Some(second) || (years == there && !has_read.load(SeqCst)),
                "an acknowledged save was overwritten: step {step}, {years:?} and {second} were acknowledged, there is {there:?}"
            ),
            Err(e) => {
                refused += 1;
                assert_eq!(
                    there,
                    Some(second),
                    "an acknowledged save was overwritten: {e}"
                );
                let known =
                    e.is_conflict() || e.is_fenced() || e.is_lock_lost() || e.is_not_found();
                assert!(known || e.is_already_exists(), "step {step}: {e}");
            }
        }
        assert!(world.temporary_files().is_empty(), "step {step}");
    }
    unreachable!("it has an end")
}

#[test]
fn a_sidecar_is_deleted_during_a_save() {
    let steps = paused_at_every_step(
        |document, old| drop(document.create(&Climate::of(old)).expect("created")),
        |document| {
            let saved = document.locked(|climate| {
                climate.years += 1;
                Ok(climate.years)
            });
            saved.map(Some)
        },
    );
    assert!(steps > 10, "{steps}");
}

#[test]
fn a_sidecar_is_deleted_during_a_deletion() {
    let steps = paused_at_every_step(
        |document, old| drop(document.create(&Climate::of(old)).expect("created")),
        |document| document.delete(cachetx::NO_TASKS).map(|_| None),
    );
    assert!(steps > 10, "{steps}");
}

#[test]
fn a_sidecar_is_deleted_during_a_creation() {
    let steps = paused_at_every_step(
        |_, _| {},
        |document| document.create(&Climate::of(77)).map(|_| Some(77)),
    );
    assert!(steps > 10, "{steps}");
}

#[test]
fn a_run_folder_is_replaced_during_a_save() {
    let world = World::start();
    let store = world.store();
    world
        .climate(&store)
        .create(&Climate::of(1))
        .expect("created");
    let (folder, aside) = (world.run_folder(), world.root.path().join("aside"));
    let copy = Climate::of(2).bytes();
    let store = world.store_builder().trace(move |step| {
        if step == "disk.rename" {
            std::fs::rename(&folder, &aside).expect("moved");
            std::fs::create_dir(&folder).expect("made");
            std::fs::write(folder.join("climate.nodb"), &copy).expect("written");
        }
    });
    let document = world.climate(&store.open().expect("a store"));
    let refused = document.locked(|climate| {
        climate.years = 3;
        Ok(())
    });
    assert!(refused.expect_err("another folder").is_lock_lost());
    assert_eq!(world.on_disk().years, 2);
}
