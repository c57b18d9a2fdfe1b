//! Locks: who holds one, who waits, and what happens to a save whose lock is gone.

use crate::support::{self, Climate, RUN, World, committed, get, key, pttl};
use cachetx::{CacheOutcome, Locked, Save};
use std::time::Duration;

#[test]
fn a_held_lock_names_its_holder_and_the_time_left() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let mut held = document.lock().expect("locked");
    assert!(Locked::remaining(&held) > Duration::from_secs(50));
    let refused = document.try_lock().expect_err("held");
    let holder = refused.lock_holder().expect("named");
    assert!(
        holder.owner.ends_with(&format!(":{}", std::process::id())),
        "{holder}"
    );
    assert!((50..=60).contains(&holder.remaining.as_secs()), "{holder}");
    let own = format!("{} (a guard of this process), ", holder.owner);
    assert!(
        holder.is_this_process && refused.to_string().contains(&own),
        "{refused}"
    );

    let waited = document
        .lock_timeout(Duration::from_millis(30))
        .expect_err("still held");
    assert!(waited.is_lock_held());
    let mut redis = world.redis();
    redis::cmd("PEXPIRE")
        .arg(key("climate") + ":lock")
        .arg(5_000)
        .exec(&mut redis)
        .expect("PEXPIRE");
    Locked::renew(&mut held).expect("renewed");
    assert!(pttl(&mut redis, &(key("climate") + ":lock")) > 50_000);

    store.clear_locks(RUN).expect("cleared");
    let lost = Locked::renew(&mut held).expect_err("cleared");
    assert!(lost.is_lock_lost(), "{lost}");
    assert!(Locked::is_lost(&held));
    let refused = held.dump_and_unlock().expect_err("known to be lost");
    assert!(refused.error().is_lock_lost(), "{refused}");
    drop(refused);
    drop(document.try_lock().expect("free for others"));
}

#[test]
fn a_foreign_lock_without_a_life_is_said_to_have_none() {
    let world = World::start();
    let document = world.climate(&world.store());
    document.create(&Climate::of(1)).expect("created");
    support::set(&mut world.redis(), &(key("climate") + ":lock"), b"somebody");
    let refused = document.try_lock().expect_err("held");
    let holder = refused.lock_holder().expect("named");
    assert_eq!(holder.remaining, Duration::MAX);
    assert!(!holder.is_this_process);
    assert!(
        refused
            .to_string()
            .ends_with("held by somebody, and does not run out by itself"),
        "{refused}"
    );
}

#[test]
fn a_waiter_gets_the_lock_when_it_is_let_go_of() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let mut held = document.lock().expect("locked");
    held.years = 2;
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| document.lock().expect("in the end").years);
        support::until("the waiter has asked", || {
            store.cache().stats().round_trips > 12
        });
        held.dump_and_unlock().expect("saved");
        assert_eq!(waiter.join().expect("it ends"), 2, "it read what was saved");
    });
}

#[test]
fn a_server_that_forgets_its_fences_while_somebody_waits_fences_nobody_out() {
    let world = World::start();
    let other = world.store();
    let document = world.climate(&other);
    document.create(&Climate::of(1)).expect("created");
    let (lock, fence) = (key("climate") + ":lock", key("climate") + ":lock:fence");
    support::set(&mut world.redis(), &lock, b"somebody");
    // While the waiter waits, the lock is released, another holder saves with a high fence, and the
    // server forgets both.
    let meanwhile = std::sync::Once::new();
    let url = world.server.url();
    let waiting = world
        .store_builder()
        .trace(move |step| {
            if step == "listen" {
                meanwhile.call_once(|| {
                    let client = redis::Client::open(url.as_str()).expect("a client");
                    let mut redis = client.get_connection().expect("a connection");
                    let run = |command: &str, redis: &mut redis::Connection| {
                        let mut words = command.split(' ');
                        let mut asked = redis::cmd(words.next().expect("a command"));
                        words.for_each(|word| {
                            asked.arg(word);
                        });
                        asked.exec(redis).expect(command);
                    };
                    run(&format!("DEL {lock}"), &mut redis);
                    run(&format!("SET {fence} 100"), &mut redis);
                    let saved = document.locked(|climate| {
                        climate.years += 1;
                        Ok(())
                    });
                    saved.expect("the other holder");
                    run(&format!("DEL {fence}"), &mut redis);
                });
            }
        })
        .open()
        .expect("a store");
    let mut held = world.climate(&waiting).lock().expect("in the end");
    assert_eq!(held.years, 2, "it has seen the other's save");
    held.years = 3;
    committed(&held.dump_and_unlock().expect("so it may save"));
}

#[test]
fn a_wait_without_end_is_taken() {
    let world = World::start();
    let store = world
        .store_builder()
        .lock_wait(Duration::MAX)
        .open()
        .expect("a store");
    let document = world.climate(&store);
    committed(&document.create(&Climate::of(1)).expect("created"));
    let held = document.lock_timeout(Duration::MAX).expect("locked");
    committed(&held.dump_and_unlock().expect("saved"));
}

#[test]
fn dump_keeps_the_lock() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let mut held = document.lock().expect("locked");
    for years in 2..5 {
        held.years = years;
        committed(&Locked::dump(&mut held, Save::new()).expect("saved"));
        assert!(document.try_lock().expect_err("still held").is_lock_held());
        assert_eq!(world.on_disk().years, years);
    }
    drop(held);
    assert_eq!(document.lock().expect("free").years, 4);
}

#[test]
fn a_lock_lost_after_the_checks_deletes_instead_of_setting() {
    let world = World::start();
    let url = world.server.url();
    let store = world
        .store_builder()
        .trace(move |step| {
            if step == "server.Commit" {
                let client = redis::Client::open(url.as_str()).expect("a client");
                let mut redis = client.get_connection().expect("a connection");
                redis::cmd("DEL")
                    .arg(key("climate") + ":lock")
                    .exec(&mut redis)
                    .expect("DEL");
            }
        })
        .open()
        .expect("a store");
    let document = world.climate(&world.store());
    document.create(&Climate::of(1)).expect("created");
    world.warm();
    let mut held = world.climate(&store).lock().expect("locked");
    held.years = 2;
    let outcome =
        Locked::dump(&mut held, Save::new().tasks(["build_climate"])).expect("the file is there");
    assert!(
        matches!(outcome.cache, CacheOutcome::Invalidated { removed: 3 }),
        "{outcome:?}"
    );
    assert_eq!((world.on_disk().years, world.dependents()), (2, 0));
    assert_eq!(get(&mut world.redis(), &key("climate")), None);
    assert!(Locked::is_lost(&held));
    assert_eq!(store.cache().stats().locks_lost, 1);
}
