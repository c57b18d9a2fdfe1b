//! A server that restarts from an old snapshot has older entries again: the last changes are
//! deleted again. A connection that is only cut changes nothing.

use crate::support::{self, Climate, RUN, World, key, nodes::Nodes, until};
use cachetx::{
    Cache, CacheOutcome, NO_TASKS, Params, Store,
    testing::{Proxy, SentinelTrio, ServerBinary, WireFault},
};
use redis::Commands as _;
use std::{thread, time::Duration};
use tempfile::TempDir;

/// Any operation notices what happened to the server.
fn ask(cache: &Cache) {
    let nothing = cache.invalidate(NO_TASKS, &Params::new());
    assert!(nothing.expect("no mistake").is_settled());
}

/// Makes the server write its snapshot, with all dependents and a witness that is deleted
/// afterwards.
fn snapshot(world: &World) {
    world.warm();
    let mut redis = world.redis();
    let _: () = redis.set("witness", "of the snapshot").expect("set");
    redis::cmd("SAVE").exec(&mut redis).expect("saved");
    let _: () = redis.del("witness").expect("deleted");
}

/// The dependents that return with the witness may be gone again before anybody looks.
fn restart_from_snapshot(world: &mut World) {
    world.server.kill();
    world.server.restart().expect("back");
    let back: bool = world.redis().exists("witness").expect("asked");
    assert!(back, "it is back as it was");
}

#[test]
fn a_server_back_from_an_old_snapshot_gets_the_last_deletions_again() {
    for binary in ServerBinary::all() {
        eprintln!("on {binary}");
        let mut world = World::on(binary);
        let store = world.store();
        let document = world.climate(&store);
        document.create(&Climate::of(1)).expect("created");
        snapshot(&world);
        let mut held = document.lock().expect("locked");
        held.years = 2;
        let outcome = held
            .dump_and_unlock_with_transaction(["build_climate"])
            .expect("saved");
        assert!(
            matches!(outcome.cache, CacheOutcome::Committed { removed: 3 }),
            "{outcome:?}"
        );
        restart_from_snapshot(&mut world);
        ask(store.cache());
        until("they are gone again", || world.dependents() == 0);
        until("it is counted", || store.cache().stats().echoes == 1);
    }
}

#[test]
fn an_own_entry_that_is_back_is_deleted_and_a_lock_that_is_back_is_released() {
    for binary in ServerBinary::all() {
        eprintln!("on {binary}");
        let mut world = World::on(binary);
        let store = world.store();
        let document = world.climate(&store);
        document.create(&Climate::of(1)).expect("created");
        // The snapshot has the first content, and the lock of the writer that saves the second.
        let mut held = document.lock().expect("locked");
        snapshot(&world);
        held.years = 2;
        held.dump_and_unlock_with_transaction(["build_climate"])
            .expect("saved");
        restart_from_snapshot(&mut world);
        ask(store.cache());
        let own = |world: &World| support::get(&mut world.redis(), document.cache_key());
        until("the old content is gone", || {
            own(&world) != Some(Climate::of(1).bytes())
        });
        let params = Params::new().with("run_id", RUN);
        let cached = store.cache().get("climate", &params).expect("asked");
        assert_ne!(cached.as_deref(), Some(&Climate::of(1).bytes()[..]));
        until("nobody has the lock", || {
            document.holder().expect("asked").is_none()
        });
        assert_eq!(document.read().expect("read").years, 2);
    }
}

#[test]
fn what_this_process_has_saved_on_the_new_server_stays_there() {
    let mut world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(0)).expect("created");
    for round in 1..=20 {
        let save = |years| {
            let mut held = document.lock().expect("locked");
            held.years = years;
            held.dump_and_unlock_with_transaction(["build_climate"])
                .expect("saved");
        };
        save(2 * round);
        snapshot(&world);
        restart_from_snapshot(&mut world);
        // The first operation makes the background thread look, at the same time as the others.
        save(2 * round + 1);
        until("the echo is over", || store.cache().stats().echoes == round);
        let own = support::get(&mut world.redis(), document.cache_key());
        assert_eq!(own, Some(Climate::of(2 * round + 1).bytes()), "{round}");
    }
}

/// The server has done it and ends; its answer comes when the echo is over.
#[test]
fn a_deletion_whose_reply_was_on_its_way_is_sent_again_too() {
    let mut world = World::start();
    let proxy = Proxy::start(world.server.port()).expect("a proxy");
    let cache = support::cache_builder()
        .url(proxy.url())
        .response_timeout(Duration::from_secs(30))
        .open()
        .expect("a cache");
    let of = |run: &str| Params::new().with("run_id", run);
    cache
        .invalidate(["build_climate"], &of("another"))
        .expect("deleted");
    snapshot(&world);
    proxy.inject_at(
        // Longer than an idle process takes to look.
        WireFault::DelayReply(Duration::from_secs(10)),
        key("ash").as_bytes(),
    );
    thread::scope(|scope| {
        let late = scope.spawn(|| cache.invalidate(["build_climate"], &of(RUN)));
        until("it is done", || world.dependents() == 1);
        restart_from_snapshot(&mut world);
        until("the other one is sent again", || {
            cache.stats().echoes == 1 || late.is_finished()
        });
        let outcome = late.join().expect("no panic").expect("it knows the task");
        assert!(outcome.is_settled(), "{outcome:?}");
    });
    until("it is sent again too", || world.dependents() == 1);
}

#[test]
fn a_process_that_is_silent_notices_it_too() {
    let mut world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    snapshot(&world);
    let held = document.lock().expect("locked");
    held.dump_and_unlock_with_transaction(["build_climate"])
        .expect("saved");
    restart_from_snapshot(&mut world);
    until("they are gone again", || world.dependents() == 0);
}

#[test]
fn a_deletion_that_came_by_the_outbox_is_sent_again_too() {
    let mut world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    snapshot(&world);
    let held = document.lock().expect("locked");
    world.server.kill();
    let outcome = held
        .dump_and_unlock_with_transaction(["build_climate"])
        .expect("saved");
    assert!(
        matches!(outcome.cache, CacheOutcome::Deferred { .. }),
        "{outcome:?}"
    );
    world.server.restart().expect("back");
    until("it is replayed", || {
        store.cache().stats().outbox_replayed == 1 && world.dependents() == 0
    });
    restart_from_snapshot(&mut world);
    ask(store.cache());
    until("they are gone again", || world.dependents() == 0);
}

#[test]
fn a_cut_connection_to_the_same_server_is_no_reason() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let held = document.lock().expect("locked");
    held.dump_and_unlock_with_transaction(["build_climate"])
        .expect("saved");
    world.warm();
    for _ in 0..3 {
        redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
            .exec(&mut world.redis())
            .expect("cut");
        let before = store.cache().stats();
        ask(store.cache());
        // The background thread asks for the server's identity.
        until("it has looked", || {
            let now = store.cache().stats();
            now.reconnects > before.reconnects && now.round_trips >= before.round_trips + 3
        });
    }
    assert_eq!((world.dependents(), store.cache().stats().echoes), (3, 0));
}

#[test]
fn a_new_primary_that_missed_the_last_deletions_gets_them_again() {
    let binary = support::any_binary();
    let trio = SentinelTrio::start(binary).expect("a primary, replicas and sentinels");
    let root = TempDir::new().expect("a folder");
    let cache = support::cache_builder()
        .sentinel(trio.name(), trio.urls())
        .open()
        .expect("a cache");
    let store = Store::builder(&cache)
        .root(root.path())
        .open()
        .expect("a store");
    let document = store
        .document::<Climate>(RUN, "climate")
        .expect("a document");
    document.create(&Climate::of(1)).expect("created");
    let held = document.lock().expect("locked");
    held.dump_and_unlock_with_transaction(["build_climate"])
        .expect("saved");

    // With three servers, one is then the primary for the second time.
    for _ in 0..3 {
        let next = trio.fail_over().expect("replaced");
        let mut primary = Nodes::of([trio.server(next).url()]);
        // As if these had never been deleted there: how many are lost with a primary is a matter of
        // chance.
        for controller in ["wepp", "ash", "soils"] {
            let _: String = primary.run(&["SET", &key(controller), "derived"]);
        }
        until("the new primary answers", || document.lock().is_ok());
        until("they are gone again", || {
            let left: u64 = primary.run(&["EXISTS", &key("wepp"), &key("ash"), &key("soils")]);
            left == 0
        });
    }
}
