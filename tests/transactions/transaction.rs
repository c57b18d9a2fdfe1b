//! Several documents saved as one: what is saved, what is refused, and what the naive way leaves (race 9: a late failure
//! leaves some documents saved and some not).

use crate::support::gate::Gate;
use crate::support::trio::{
    self, Count, all_or_none, begin, create, dependents, document, documents, fill, left_over,
    on_disk, set_all, store, store_builder, warm,
};
use crate::support::{self, RUN, World, committed, get, key, on_every_server, until};
use cachetx::{
    CacheOutcome, Durability, Engine, Guarantee, KeepAlive, NO_TASKS, Params, Reach, Save, Store,
    Transaction,
};
use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

fn task() -> Save {
    Save::new().tasks(["build"])
}

/// What a test compares before and after a commit that is refused.
#[derive(Debug, PartialEq)]
struct Everything {
    files: [Vec<u8>; 3],
    entries: [Option<Vec<u8>>; 3],
    dependents: usize,
}

fn everything(world: &World) -> Everything {
    let mut redis = world.redis();
    let file = |controller: &str| world.run_folder().join(format!("{controller}.nodb"));
    Everything {
        files: trio::MEMBERS.map(|controller| fs::read(file(controller)).expect("there")),
        entries: trio::MEMBERS.map(|controller| get(&mut redis, &key(controller))),
        dependents: dependents(&mut redis),
    }
}

/// Whether neither the documents nor their dependents have an entry.
fn nothing_is_cached(world: &World) -> bool {
    let now = everything(world);
    now.dependents == 0 && now.entries.iter().all(Option::is_none)
}

#[test]
fn all_documents_are_saved_in_one_step_with_every_engine_on_every_server() {
    on_every_server(|world| {
        for (engine, guarantee) in [
            (Engine::Script, Guarantee::BestEffort),
            (Engine::Script, Guarantee::CrashSafe),
            (Engine::Function, Guarantee::BestEffort),
            (Engine::Watch, Guarantee::CrashSafe),
        ] {
            let cache = crate::support::cache_of(trio::rules()).url(world.server.url());
            let Ok(cache) = cache.engine(engine).open() else {
                assert_eq!(
                    engine,
                    Engine::Function,
                    "only old servers have no functions"
                );
                continue;
            };
            let run = format!("{RUN}-{engine:?}-{guarantee:?}");
            // No renewal may be counted as the commit's round trip.
            let store = Store::builder(&cache)
                .root(world.root.path())
                .guarantee(guarantee)
                .keep_alive(KeepAlive::Off)
                .lock_ttl(Duration::from_secs(3_600))
                .open()
                .expect("a store");
            create(&store, &run, 1);
            let mut redis = world.redis();
            let key = |controller: &str| format!("nodb_cache:{{{run}}}:{controller}");
            for controller in trio::DEPENDENTS {
                support::set(&mut redis, &key(controller), b"derived");
            }
            let mut transaction = begin(&store, &run).expect("locked");
            assert!(!Transaction::is_lost(&transaction));
            let held = document(&store, &run, "ash").try_lock();
            assert!(held.expect_err("held").is_lock_held());
            fill(&mut transaction, 2);
            Transaction::renew(&mut transaction).expect("renewed");
            let before = cache.stats().round_trips;
            // The task also names soils, whose entry is set.
            let outcome = transaction.commit(["build"]).expect("committed");
            assert_eq!(
                committed(&outcome),
                2 * u64::from(guarantee == Guarantee::BestEffort)
            );
            assert_eq!(outcome.reach, Reach::Atomic);
            if engine == Engine::Script {
                let marks = u64::from(guarantee == Guarantee::CrashSafe);
                assert_eq!(cache.stats().round_trips - before, 1 + marks);
            }
            assert_eq!(on_disk(world.root.path(), &run), [2; 3]);
            for controller in trio::MEMBERS {
                assert_eq!(
                    get(&mut redis, &key(controller)),
                    Some(br#"{"n":2}"#.to_vec())
                );
                assert_eq!(
                    get(&mut redis, &(key(controller) + ":lock")),
                    None,
                    "released"
                );
                assert_eq!(
                    document(&store, &run, controller).read().expect("read").n,
                    2
                );
            }
            for controller in trio::DEPENDENTS {
                assert_eq!(get(&mut redis, &key(controller)), None, "{controller}");
            }
            let marks: u64 = redis::cmd("EXISTS")
                .arg(format!("{{{run}}}:cachetx:leases"))
                .query(&mut redis)
                .expect("asked");
            assert_eq!(marks, 0, "no mark is left");
            assert_eq!(left_over(world.root.path(), &run), Vec::<String>::new());
        }
    });
}

/// Makes one document of a transaction refuse, in several ways: nothing is changed, the guard is
/// returned, and can be used again.
#[test]
fn whatever_refuses_before_the_commit_point_changes_nothing_and_gives_the_guard_back() {
    type Spoil = fn(&World);
    type Refused = fn(&cachetx::Error) -> bool;
    let cases: [(&str, Save, Spoil, Refused); 4] = [
        (
            "an unknown task",
            Save::new().tasks(["no such"]),
            |_| {},
            |e| e.is_params(),
        ),
        (
            "a conflict",
            task(),
            |world| {
                fs::write(world.run_folder().join("soils.nodb"), r#"{"n":77}"#).expect("written")
            },
            |e| e.is_conflict(),
        ),
        (
            "a marker",
            task(),
            |world| fs::write(world.run_folder().join("READONLY"), "").expect("marked"),
            |e| e.is_read_only(),
        ),
        (
            "no place for journals",
            task(),
            |world| {
                let folder = world.root.path().join(".cachetx-journal");
                let _ = fs::remove_dir_all(&folder);
                fs::write(folder, "").expect("a file in its place");
            },
            |_| true,
        ),
    ];
    for (what, save, spoil, refused) in cases {
        for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
            let world = World::start();
            let store = store(&world);
            create(&store, RUN, 1);
            warm(&mut world.redis());
            let mut transaction = begin(&store, RUN).expect("locked");
            fill(&mut transaction, 2);
            spoil(&world);
            let before = everything(&world);
            let failed = transaction.commit_with(save.clone().guarantee(guarantee));
            let failed = failed.expect_err(what);
            assert!(refused(failed.error()), "{what}: {failed}");
            assert_eq!(failed.error().effect(), cachetx::Effect::None, "{what}");
            let after = everything(&world);
            assert_eq!(after.files, before.files, "{what}: the files");
            if guarantee == Guarantee::BestEffort {
                assert_eq!(after, before, "{what}: the server");
            }
            let transaction = failed.into_transaction();
            assert_eq!(transaction.1.n, 2, "the data is still there");
            let held = document(&store, RUN, "climate").try_lock();
            assert!(held.is_err(), "{what}: still locked");
            let temporary = world.temporary_files();
            assert_eq!(temporary, Vec::<String>::new(), "{what}");
            let _ = fs::remove_file(world.run_folder().join("READONLY"));
            let _ = fs::remove_file(world.root.path().join(".cachetx-journal"));
            if what != "a conflict" {
                committed(&transaction.commit(["build"]).expect("the second try"));
                assert_eq!(on_disk(world.root.path(), RUN), [2; 3]);
            } else {
                drop(transaction);
            }
            drop(begin(&store, RUN).expect("free again"));
            assert_eq!(
                left_over(world.root.path(), RUN),
                Vec::<String>::new(),
                "{what}"
            );
        }
    }
}

/// Saves one by one under all locks, as without a transaction; the last one fails.
fn one_by_one(store: &Store, n: u64, spoil: impl Fn()) {
    let mut held = documents(store, RUN).map(|document| document.lock().expect("locked"));
    spoil();
    for locked in &mut held {
        locked.n = n;
        if cachetx::Locked::dump(locked, task()).is_err() {
            return;
        }
    }
}

#[test]
fn the_naive_way_leaves_some_documents_saved_and_the_same_checker_sees_it() {
    let spoil = |world: &World| {
        fs::write(world.run_folder().join("soils.nodb"), r#"{"n":1} "#).expect("a foreign program");
    };
    let world = World::start();
    create(&store(&world), RUN, 1);
    one_by_one(&store(&world), 2, || spoil(&world));
    all_or_none(on_disk(world.root.path(), RUN)).expect_err("race 9");

    let world = World::start();
    create(&store(&world), RUN, 1);
    let mut transaction = begin(&store(&world), RUN).expect("locked");
    fill(&mut transaction, 2);
    spoil(&world);
    assert!(transaction.commit_with(task()).is_err());
    assert_eq!(all_or_none(on_disk(world.root.path(), RUN)), Ok(1));
}

#[test]
fn a_lock_that_is_lost_on_the_way_deletes_every_entry_instead_of_setting_it() {
    let world = World::start();
    let url = world.server.url();
    let store = store_builder(&world).trace(move |step| {
        if step == "server.Commit" {
            let client = redis::Client::open(url.as_str()).expect("a client");
            let mut redis = client.get_connection().expect("a connection");
            redis::cmd("DEL")
                .arg(key("ash") + ":lock")
                .exec(&mut redis)
                .expect("DEL");
        }
    });
    let store = store.open().expect("a store");
    create(&trio::store(&world), RUN, 1);
    warm(&mut world.redis());
    let outcome = set_all(&store, RUN, 2, task()).expect("the files are there");
    assert!(
        matches!(outcome.cache, CacheOutcome::Invalidated { removed: 2 }),
        "{outcome:?}"
    );
    assert!(nothing_is_cached(&world));
    assert_eq!(store.cache().stats().locks_lost, 1);
    assert_eq!(on_disk(world.root.path(), RUN), [2; 3]);
    drop(begin(&store, RUN).expect("the others are released"));
}

#[test]
fn while_the_server_is_away_everything_is_recorded_and_replayed() {
    for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
        let world = World::start();
        let gates = tempfile::TempDir::new().expect("a folder");
        let gate = Arc::new(Gate::new(&world, gates.path()));
        let cache = crate::support::cache_of(trio::rules())
            .url(gate.url())
            .open()
            .expect("a cache");
        let store = Store::builder(&cache)
            .root(world.root.path())
            .guarantee(guarantee);
        let store = store.open().expect("a store");
        create(&store, RUN, 1);
        warm(&mut world.redis());
        let mut transaction = begin(&store, RUN).expect("locked");
        fill(&mut transaction, 2);
        gate.close(&world);
        let outcome = transaction
            .commit_with(task())
            .expect("the files are there");
        assert!(
            matches!(outcome.cache, CacheOutcome::Deferred { .. }),
            "{outcome:?}"
        );
        assert_eq!(outcome.durability, Durability::Synced);
        assert_eq!(on_disk(world.root.path(), RUN), [2; 3]);
        assert_eq!(dependents(&mut world.redis()), 2, "stale until then");
        assert_eq!(left_over(world.root.path(), RUN), Vec::<String>::new());
        gate.open();
        until("the outbox is replayed", || nothing_is_cached(&world));
        until("the locks are let go", || {
            let [a, b, c] = documents(&store, RUN);
            store
                .transaction_timeout((&a, &b, &c), Duration::ZERO)
                .is_ok()
        });
    }
}

/// A document's name leads to a folder just when it should be renamed: the transaction is still
/// committed.
#[test]
fn a_rename_that_fails_is_made_by_whoever_comes_next() {
    let world = World::start();
    create(&store(&world), RUN, 1);
    warm(&mut world.redis());
    let (file, aside) = (
        world.run_folder().join("climate.nodb"),
        world.run_folder().join("aside"),
    );
    let (there, away) = (file.clone(), aside.clone());
    let once = AtomicBool::new(false);
    let seen = Arc::new(Mutex::new(0));
    let renames = seen.clone();
    // The second rename: files are renamed in the order of their names.
    let failing = store_builder(&world).trace(move |step| {
        if step != "disk.rename" || once.load(SeqCst) {
            return;
        }
        let mut renames = renames.lock().expect("not poisoned");
        *renames += 1;
        if *renames == 2 {
            once.store(true, SeqCst);
            fs::rename(&there, &away).expect("put aside");
            fs::create_dir(&there).expect("a folder in its place");
        }
    });
    let failing = failing.open().expect("a store");
    failing.cache().close().expect("without its thread");
    let outcome = set_all(&failing, RUN, 2, task()).expect("committed");
    assert_eq!(outcome.durability, Durability::Journalled);
    assert_eq!(*seen.lock().expect("not poisoned"), 2);
    fs::remove_dir(&file).expect("empty");
    fs::rename(&aside, &file).expect("back");
    // The members are not in the order of their files.
    all_or_none(on_disk(world.root.path(), RUN)).expect_err("the middle");
    assert_eq!(dependents(&mut world.redis()), 0);
    warm(&mut world.redis());
    let next = store(&world);
    assert_eq!(document(&next, RUN, "soils").read().expect("read").n, 2);
    assert_eq!(on_disk(world.root.path(), RUN), [2; 3]);
    assert_eq!(
        dependents(&mut world.redis()),
        0,
        "what was derived from the middle is gone too"
    );
    assert_eq!(left_over(world.root.path(), RUN), Vec::<String>::new());
    drop(begin(&next, RUN).expect("nothing is locked"));
}

#[test]
fn callers_who_name_them_in_any_order_never_wait_for_each_other() {
    let world = World::start();
    let store = store(&world);
    create(&store, RUN, 0);
    let orders = [[0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 2, 1]];
    std::thread::scope(|scope| {
        for order in orders {
            let store = &store;
            scope.spawn(move || {
                let all = documents(store, RUN);
                let [a, b, c] = order.map(|n| &all[n]);
                for _ in 0..10 {
                    let tuple = (a, b, c);
                    let mut held = store
                        .transaction_timeout(tuple, Duration::from_secs(60))
                        .expect("in the end");
                    held.0.n += 1;
                    held.1.n += 1;
                    held.2.n += 1;
                    held.commit(NO_TASKS).expect("committed");
                }
            });
        }
    });
    assert_eq!(on_disk(world.root.path(), RUN), [40; 3]);
}

#[test]
fn params_of_a_save_reach_the_tasks_of_every_document() {
    let rules = r#"{ "version": "1.0",
        "cache_keys": { "climate": "{{{run_id}}}:climate", "ash": "{{{run_id}}}:ash",
                        "map": "{{{run_id}}}:map:{scenario}" },
        "rules": { "draw": { "invalidates_cache": ["map"] } } }"#;
    let world = World::start();
    let cache = crate::support::cache_of(cachetx::Rules::from_json(rules).expect("rules"));
    let cache = cache.url(world.server.url()).open().expect("a cache");
    let store = Store::builder(&cache)
        .root(world.root.path())
        .open()
        .expect("a store");
    let (a, b) = (
        document(&store, "r", "climate"),
        document(&store, "s", "ash"),
    );
    a.create(&Count::default()).expect("created");
    b.create(&Count::default()).expect("created");
    let maps = ["{r}:map:x", "{s}:map:x", "{r}:map:y"];
    let mut redis = world.redis();
    maps.iter()
        .for_each(|map| support::set(&mut redis, map, b"derived"));
    let transaction = store.transaction((&a, &b)).expect("locked");
    let missing = transaction.commit(["draw"]).expect_err("no scenario");
    assert!(missing.error().is_params(), "{missing}");
    let save = Save::new()
        .tasks(["draw"])
        .params(Params::new().with("scenario", "x"));
    let outcome = missing
        .into_transaction()
        .commit_with(save)
        .expect("committed");
    assert_eq!(committed(&outcome), 2);
    assert!(get(&mut redis, maps[2]).is_some());
}
