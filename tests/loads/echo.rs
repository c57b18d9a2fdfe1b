//! A server that restarts from an old snapshot has entries back that were deleted: the last invalidations are sent again. A
//! connection that is only cut changes nothing.

use crate::support::{self, Climate, RUN, World, key, nodes::Nodes, until};
use cachetx::{
    Cache, CacheOutcome, NO_TASKS, Params, Store,
    testing::{SentinelTrio, ServerBinary},
};
use redis::Commands as _;
use tempfile::TempDir;

/// Any operation notices what became of the server.
fn ask(cache: &Cache) {
    let nothing = cache.invalidate(NO_TASKS, &Params::new());
    assert!(nothing.expect("no mistake").is_settled());
}

/// Makes the server write its snapshot, with all dependents and a witness that it forgets after that.
fn snapshot(world: &World) {
    world.warm();
    let mut redis = world.redis();
    let _: () = redis.set("witness", "of the snapshot").expect("set");
    redis::cmd("SAVE").exec(&mut redis).expect("saved");
    let _: () = redis.del("witness").expect("deleted");
}

/// The dependents that are back with the witness may be gone again by the time that anybody looks.
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
        // The background thread asks who the server is, on a connection of its own.
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
    let cache = Cache::builder(support::rules())
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

    // Of three servers one is the primary for the second time then.
    for _ in 0..3 {
        let next = trio.fail_over().expect("replaced");
        let mut primary = Nodes::of([trio.server(next).url()]);
        // As if these had never been deleted there: how many are lost with a primary is a matter of luck.
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
