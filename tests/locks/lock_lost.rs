//! A lock is lost: its holder is told without asking.

use super::keep_alive::{TTL, delete, is_told, lock_key, telling};
use crate::support::{self, Climate, RUN, World, child, committed, given, on_every_server, until};
use cachetx::{Document, Locked, Store, testing::MemoryServer};
use rustix::process::Signal;
use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::Child,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

/// An operator clears the lock, which sends a message; or another program deletes or takes it,
/// which the next renewal finds.
#[test]
fn whoever_loses_a_lock_is_told_without_asking() {
    on_every_server(|world| {
        let (store, told) = telling(world.store_builder().lock_ttl(TTL));
        let document = world.climate(&store);
        document.create(&Climate::of(0)).expect("made");
        let operator = world.store();
        let losses: [(&str, &dyn Fn()); 3] = [
            ("cleared", &|| {
                assert_eq!(operator.clear_locks(RUN).expect("cleared"), 1);
            }),
            ("deleted", &|| delete(world)),
            ("taken", &|| {
                support::set(&mut world.redis(), &lock_key(), b"somebody")
            }),
        ];
        for (n, (how, lose)) in losses.into_iter().enumerate() {
            let mut held = document.lock().expect("locked");
            let (say, own) = channel();
            Locked::on_lost(&mut held, move |lost| {
                let _ = say.send(lost.document.controller.clone());
            });
            lose();
            let message = is_told(&told);
            assert!(
                message.starts_with("copacetic-sled/climate: the lock is lost"),
                "{message}"
            );
            assert_eq!(
                own.recv_timeout(Duration::from_secs(30)).expect("told"),
                "climate"
            );
            assert!(Locked::is_lost(&held), "{how}");
            assert_eq!(store.cache().stats().locks_lost, n as u64 + 1);
            // A hook that is set late is called at once.
            let (say, late) = channel();
            Locked::on_lost(&mut held, move |_| {
                let _ = say.send(());
            });
            late.try_recv().expect("told");
            held.years = 9;
            let refused = held.dump_and_unlock().map(drop).expect_err("refused");
            assert!(refused.error().is_lock_lost(), "{refused}");
            drop(refused);
            if how == "taken" {
                assert_eq!(
                    support::get(&mut world.redis(), &lock_key()).as_deref(),
                    Some(&b"somebody"[..]),
                    "another's lock is left alone"
                );
                delete(world);
            }
        }
        assert_eq!(world.on_disk().years, 0);
        assert!(told.try_recv().is_err(), "each once");
    });
}

/// With a TTL of an hour the first renewal is twenty minutes away: only a message can tell.
#[test]
fn clear_locks_is_noticed_long_before_a_renewal() {
    let world = World::start();
    let (store, told) = telling(world.store_builder().lock_ttl(Duration::from_secs(3_600)));
    let document = world.climate(&store);
    document.create(&Climate::of(0)).expect("made");
    let held = document.lock().expect("locked");
    let renewed = || support::pttl(&mut world.redis(), &lock_key()) > 3_599_000;
    assert!(renewed());
    document.clear_lock().expect("cleared");
    is_told(&told);
    assert!(Locked::is_lost(&held));
}

/// A document on an in-memory server, and the channel on which its store reports lost locks.
fn in_memory(root: &Path, server: &MemoryServer) -> (Document<Climate>, Receiver<String>) {
    let cache = support::cache_builder().memory_server(server).open();
    let builder = Store::builder(cache.expect("a cache")).root(root);
    let (store, told) = telling(builder.lock_ttl(TTL));
    let document = store.document(RUN, "climate").expect("a document");
    document.create(&Climate::of(0)).expect("made");
    (document, told)
}

#[test]
fn in_memory_too() {
    let root = tempfile::TempDir::new().expect("a folder");
    let (document, told) = in_memory(root.path(), &MemoryServer::new());
    let held = document.lock().expect("locked");
    document.clear_lock().expect("cleared");
    is_told(&told);
    drop(held);
    let held = document.lock().expect("locked again");
    committed(&held.dump_and_unlock().expect("saved"));
}

/// While the server is unreachable, a lock counts as held until its time is over by this machine's
/// clock.
#[test]
fn while_the_server_is_away_a_lock_runs_out_by_the_clock() {
    let root = tempfile::TempDir::new().expect("a folder");
    let server = MemoryServer::new();
    let (document, told) = in_memory(root.path(), &server);

    // The server is back in time: nothing is lost.
    let held = document.lock().expect("locked");
    let renewed_until = Locked::remaining(&held);
    server.stop();
    until("it was not renewed in time", || {
        Locked::remaining(&held) < TTL / 2
    });
    assert!(!Locked::is_lost(&held) && renewed_until > TTL / 2);
    server.start();
    until("it is renewed", || Locked::remaining(&held) > TTL / 2);
    assert!(told.try_recv().is_err());

    server.stop();
    assert!(is_told(&told).contains("while the server could not be reached"));
    assert!(Locked::is_lost(&held));
    server.start();
    let refused = held.dump_and_unlock().map(drop).expect_err("refused");
    assert!(refused.error().is_lock_lost(), "{refused}");
}

/// A process that is halted past its TTL: its save is refused, and it is told when it continues.
#[test]
fn a_halted_process_is_told_when_it_goes_on() {
    let world = World::start();
    world
        .climate(&world.store())
        .create(&Climate::of(1))
        .expect("made");
    let variables = [
        ("CACHETX_TEST_URL", world.server.url()),
        ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
    ];
    let mut child = child("lock_lost::a_holder", &variables)
        .spawn()
        .expect("a child");
    let mut out = BufReader::new(child.stdout.take().expect("its output"));
    let mut says = |what: &str| {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            assert!(
                out.read_line(&mut line).expect("its output") > 0,
                "it ended before {what}"
            );
        }
    };
    says("it holds the lock");
    signal(&child, Signal::STOP);
    let gone = || support::get(&mut world.redis(), &lock_key()).is_none();
    until("its lock has run out", gone);
    let counted = world.climate(&world.store()).locked(|climate| {
        climate.years += 1;
        Ok(())
    });
    counted.expect("another holder saves");
    signal(&child, Signal::CONT);
    says("it is told");
    writeln!(child.stdin.as_mut().expect("its input"), "save").expect("asked");
    says("it is refused");
    assert!(child.wait().expect("it ends").success());
    assert_eq!(world.on_disk().years, 2);
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    rustix::process::kill_process(pid.expect("a pid"), signal).expect("signalled");
}

#[test]
#[ignore = "a child process of another test"]
fn a_holder() {
    let (Some(url), Some(root)) = (given("CACHETX_TEST_URL"), given("CACHETX_TEST_ROOT")) else {
        return;
    };
    let cache = support::cache_builder().url(url).open().expect("a cache");
    let (store, told) = telling(Store::builder(&cache).root(root).lock_ttl(TTL));
    let document = store
        .document::<Climate>(RUN, "climate")
        .expect("a document");
    let mut held = document.lock().expect("locked");
    println!("\nit holds the lock");
    is_told(&told);
    assert!(Locked::is_lost(&held));
    println!("it is told");
    std::io::stdin()
        .read_line(&mut String::new())
        .expect("asked");
    held.years = 9;
    let refused = held.dump_and_unlock().map(drop).expect_err("refused");
    assert!(refused.error().is_fenced(), "{refused}");
    println!("it is refused");
}
