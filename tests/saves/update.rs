//! `Document::update`: no lock while the closure runs, and still nothing lost or stale.

use crate::support::{
    self, Climate, RUN, World, committed, gate::Gate, get, key, on_every_server, undisturbed, until,
};
use cachetx::{
    Cache, CacheOutcome, Document, Engine, Guarantee, NO_TASKS, Save, Store, WhileAway,
    testing::{Proxy, WireFault},
};
use std::{
    sync::{
        atomic::{AtomicU32, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

fn add_one(climate: &mut Climate) -> Result<u64, cachetx::BoxError> {
    climate.years += 1;
    Ok(climate.years)
}

fn store_without_locks(world: &World, cache: Cache) -> Store {
    let store = Store::builder(cache)
        .root(world.root.path())
        .without_locks();
    store.open().expect("a store")
}

fn made(world: &World, store: &Store) -> Document<Climate> {
    let document = world.climate(store);
    document.create(&Climate::of(1)).expect("created");
    document
}

fn value(world: &World) -> Option<Vec<u8>> {
    get(&mut world.redis(), &key("climate"))
}

#[test]
fn the_entry_is_set_over_that_of_the_file_before_and_deleted_else() {
    on_every_server(|world| {
        for engine in [Engine::Auto, Engine::Watch] {
            let cache = world.cache_builder().engine(engine).open().expect("opened");
            for locks in [true, false] {
                let store = match locks {
                    true => Store::builder(&cache).root(world.root.path()).open(),
                    false => Ok(store_without_locks(world, cache.clone())),
                };
                let document = made(world, &store.expect("a store"));
                world.warm();
                let (years, outcome) = document.update(["build_climate"], add_one).expect("done");
                assert_eq!((years, committed(&outcome), world.dependents()), (2, 3, 0));
                assert_eq!(value(world), Some(Climate::of(2).bytes()));

                // The entry is of another file or missing: what happened to it is unknown.
                let stamp = format!("{}:stamp", key("climate"));
                let changed = |key: &str| -> CacheOutcome {
                    redis::cmd("DEL")
                        .arg(key)
                        .exec(&mut world.redis())
                        .expect("DEL");
                    world.warm();
                    let done = document.update(["build_climate"], add_one).expect("done");
                    assert_eq!((world.dependents(), value(world)), (0, None));
                    document.locked(|_| Ok(())).expect("saved");
                    done.1.cache
                };
                if locks {
                    for gone in [stamp, key("climate")] {
                        let outcome = changed(&gone);
                        assert!(
                            matches!(outcome, CacheOutcome::Invalidated { removed: 3 }),
                            "{outcome:?}"
                        );
                    }
                    assert_eq!(world.on_disk().years, 4);
                }
                assert!(world.temporary_files().is_empty());
                document.delete(NO_TASKS).expect("deleted");
            }
        }
    });
}

#[test]
fn it_is_two_round_trips_and_one_of_a_store_without_locks() {
    on_every_server(|world| {
        let proxy = Proxy::start(world.server.port()).expect("a proxy");
        let cache = support::cache_builder().url(proxy.url()).open();
        let cache = cache.expect("a cache");
        let store = Store::builder(&cache).root(world.root.path()).open();
        let document = made(world, &store.expect("a store"));
        let alone = world.climate(&store_without_locks(world, cache.clone()));
        let crash_safe = || Save::new().guarantee(Guarantee::CrashSafe);
        for (document, save, expected) in [
            (&document, Save::new(), 2),
            (&alone, Save::new(), 1),
            (&document, crash_safe(), 3),
            (&alone, crash_safe(), 2),
        ] {
            let update = || {
                proxy.reset();
                document.update_with(save.clone(), add_one).expect("done");
                proxy.traffic()
            };
            let traffic = undisturbed(update, |traffic| traffic.round_trips == expected);
            assert_eq!(traffic.round_trips, expected, "{traffic:?}");
        }
    });
}

/// It holds the OS lock meanwhile: other saves of the document wait for that lock, but not for as
/// long as the server hangs.
#[test]
fn a_look_that_hangs_ends_before_others_have_waited_long_enough() {
    let world = World::start();
    made(&world, &world.store());
    let proxy = Proxy::start(world.server.port()).expect("a proxy");
    let cache = support::cache_builder()
        .url(proxy.url())
        // Longer than others wait for the OS lock.
        .response_timeout(Duration::from_secs(30))
        .open()
        .expect("a cache");
    let (asks, asked) = mpsc::channel();
    let store = Store::builder(&cache)
        .root(world.root.path())
        .trace(move |step| {
            if step == "server.Holders" {
                asks.send(()).expect("heard");
            }
        })
        .open()
        .expect("a store");
    let document = world.climate(&store);
    document.update(NO_TASKS, add_one).expect("done");
    asked.recv().expect("asked");
    proxy.inject_at(WireFault::SwallowRequest, b"GETEX");
    thread::scope(|scope| {
        let update = scope.spawn(|| document.update(NO_TASKS, add_one));
        asked.recv().expect("asked");
        let other = world.climate(&world.store());
        other
            .locked(|climate| add_one(climate).map(drop))
            .expect("no such wait");
        // By then it has asked for the lock, with the full time for answers.
        update.join().expect("no panic").expect("saved");
    });
    assert_eq!(world.on_disk().years, 4);
}

#[test]
fn where_somebody_was_faster_the_closure_runs_again_on_what_is_there_then() {
    let world = World::start();
    let document = made(&world, &world.store());
    let other = world.climate(&world.store());
    let mut runs = 0;
    let change = |climate: &mut Climate| {
        runs += 1;
        if runs < 3 {
            other.locked(|climate| add_one(climate).map(drop))?;
        }
        climate.years += 10;
        Ok(climate.years)
    };
    let (years, outcome) = document.update(["build_climate"], change).expect("done");
    committed(&outcome);
    assert_eq!((runs, years, world.on_disk().years), (3, 13, 13));
}

/// From the third time on it holds the lock, so that no other update is faster.
#[test]
fn where_others_were_faster_three_times_it_runs_under_the_lock() {
    let world = World::start();
    let document = made(&world, &world.store());
    let other = world.climate(&world.store());
    let mut runs = 0;
    let change = |climate: &mut Climate| {
        runs += 1;
        match document.holder()? {
            None => drop(other.update(NO_TASKS, add_one)?),
            Some(_) => climate.years += 10,
        }
        Ok(())
    };
    document.update(["build_climate"], change).expect("done");
    assert_eq!((runs, world.on_disk().years), (4, 14));
}

#[test]
fn without_locks_it_gives_up_and_says_how_often_it_has_tried() {
    let world = World::start();
    let document = made(&world, &store_without_locks(&world, world.cache()));
    let other = world.climate(&store_without_locks(&world, world.cache()));
    let mut runs = 0;
    let change = |climate: &mut Climate| {
        runs += 1;
        other.update(NO_TASKS, add_one)?;
        add_one(climate)
    };
    let refused = document.update(NO_TASKS, change).expect_err("overtaken");
    let text = refused.to_string();
    assert!(
        refused.is_conflict() && text.contains("each of 100 tries"),
        "{text}"
    );
    assert_eq!((runs, world.on_disk().years), (100, 101));
    assert!(world.temporary_files().is_empty());
}

#[test]
fn whoever_holds_the_lock_saves_and_the_update_comes_after() {
    on_every_server(|world| {
        let document = made(world, &world.store());
        let other = world.climate(&world.store());
        let mut held = document.lock().expect("locked");
        let runs = AtomicU32::new(0);
        thread::scope(|scope| {
            let update = scope.spawn(|| {
                other.update(["build_climate"], |climate| {
                    runs.fetch_add(1, SeqCst);
                    add_one(climate)
                })
            });
            until("the closure has run", || {
                update.is_finished() || runs.load(SeqCst) > 0
            });
            held.years = 10;
            committed(&held.dump_and_unlock().expect("saved"));
            let (years, outcome) = update.join().expect("no panic").expect("done");
            committed(&outcome);
            assert_eq!((years, world.on_disk().years), (11, 11));
        });
    });
}

#[test]
fn what_cannot_be_updated_is_left_as_it_was() {
    let world = World::start();
    let document = made(&world, &world.store());
    let why = document.update(NO_TASKS, |climate| {
        climate.years = 7;
        Err::<(), _>("no".into())
    });
    assert_eq!(why.expect_err("the closure's").to_string(), "no");
    let nested = document.update(NO_TASKS, |_| Ok(document.update(NO_TASKS, add_one)?));
    let why = nested.expect_err("it would be overtaken by itself");
    assert!(why.caller().is_some() && why.to_string().contains("its own load or update"));
    let locks = document.update(NO_TASKS, |_| Ok(document.locked(|_| Ok(()))?));
    assert!(locks.is_err_and(|e| e.to_string().contains("its own load or update")));
    let unknown = document.update(["no such task"], add_one);
    assert!(
        unknown.is_err_and(|e| e.is_rules() || e.is_params() || e.to_string().contains("task"))
    );
    std::fs::write(world.run_folder().join("READONLY"), "").expect("marked");
    let marked = document.update(NO_TASKS, add_one);
    assert!(marked.is_err_and(|e| e.is_read_only()));
    std::fs::remove_file(world.run_folder().join("READONLY")).expect("unmarked");
    assert_eq!(world.on_disk().years, 1);
    let gone = document.update(NO_TASKS, |climate| {
        world.climate(&world.store()).delete(NO_TASKS)?;
        add_one(climate)
    });
    assert!(gone.is_err_and(|e| e.is_not_found()));
    assert!(!document.exists().expect("looked for") && world.temporary_files().is_empty());
}

#[test]
fn a_store_without_locks_has_updates_only() {
    let world = World::start();
    let store = store_without_locks(&world, world.cache());
    let document = made(&world, &store);
    let refused = document.lock().map(drop).expect_err("no locks");
    assert!(refused.is_config() && refused.to_string().contains("without_locks"));
    let refused = store.transaction((&document,)).map(drop);
    assert!(refused.is_err_and(|e| e.is_config()));
    document.update(NO_TASKS, add_one).expect("done");
    document.delete(NO_TASKS).expect("deleted");
    assert!(!document.exists().expect("looked for"));
}

#[test]
fn while_the_server_is_away_it_fails_or_goes_on_by_the_os_lock() {
    let world = World::start();
    let folder = tempfile::TempDir::new().expect("a folder");
    let gate = Gate::new(&world, folder.path());
    let cache = || {
        let builder = support::cache_builder().url(gate.url());
        builder.open().expect("a cache")
    };
    let store = |away: WhileAway| {
        let builder = Store::builder(cache()).root(world.root.path());
        builder.while_away(away).open().expect("a store")
    };
    let fails = store(WhileAway::Fail);
    let goes_on = store(WhileAway::OsLock);
    let alone = store_without_locks(&world, cache());
    made(&world, &fails);
    world.warm();
    gate.close(&world);
    let refused = world.climate(&fails).update(["build_climate"], add_one);
    assert!(refused.is_err_and(|e| e.is_unavailable()));
    assert_eq!(world.on_disk().years, 1);
    for (n, store) in [goes_on, alone].iter().enumerate() {
        let done = world.climate(store).update(["build_climate"], add_one);
        let outcome = done.expect("saved").1.cache;
        assert!(
            matches!(outcome, CacheOutcome::Deferred { .. }),
            "{outcome:?}"
        );
        assert_eq!(world.on_disk().years, n as u64 + 2);
    }
    gate.open();
    until("both are replayed", || {
        world.dependents() == 0 && value(&world).is_none()
    });
    let document: Document<Climate> = fails.document(RUN, "climate").expect("a document");
    until("the server is there again", || {
        document.update(NO_TASKS, add_one).is_ok()
    });
}
