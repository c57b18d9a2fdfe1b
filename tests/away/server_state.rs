//! A server that is there and takes no writes: locks are unavailable or the OS's, and saves say truly what was done.

use crate::support::{self, Climate, RUN, World, get, key, until};
use cachetx::{
    CacheOutcome, Document, Engine, Guarantee, Save, Store, WhileAway, testing::ServerBinary,
};
use std::fs;

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    SnapshotFailed,
    LacksReplicas,
    Full,
}

impl State {
    fn begin(self, world: &World) {
        match self {
            Self::SnapshotFailed => {
                // A folder in the snapshot's place, which no rename replaces.
                let place = world.server.dir().join("dump.rdb");
                fs::create_dir(&place).expect("a folder");
                fs::write(place.join("x"), "").expect("a file");
                set(world, "save", "3600 1");
                let mut redis = world.redis();
                redis::cmd("BGSAVE").exec(&mut redis).expect("BGSAVE");
                until("the snapshot has failed", || {
                    let mut info = redis::cmd("INFO");
                    let info = info.arg("persistence").query::<String>(&mut redis);
                    let info = info.expect("INFO");
                    info.contains("rdb_last_bgsave_status:err")
                });
            }
            Self::LacksReplicas => set(world, "min-replicas-to-write", "1"),
            Self::Full => set(world, "maxmemory", "1"),
        }
    }

    fn end(self, world: &World) {
        match self {
            Self::SnapshotFailed => set(world, "stop-writes-on-bgsave-error", "no"),
            Self::LacksReplicas => set(world, "min-replicas-to-write", "0"),
            Self::Full => set(world, "maxmemory", "0"),
        }
    }
}

fn set(world: &World, setting: &str, value: &str) {
    let mut config = redis::cmd("CONFIG");
    let set = config.arg("SET").arg(setting).arg(value);
    set.exec(&mut world.redis()).expect("CONFIG SET");
}

fn open(world: &World, engine: Engine, while_away: WhileAway) -> Store {
    let cache = world
        .cache_builder()
        .engine(engine)
        .open()
        .expect("a cache");
    let store = Store::builder(cache).root(world.root.path());
    store.while_away(while_away).open().expect("a store")
}

/// What is known to be deleted is said so; what the server refused is put off.
fn check(state: State, outcome: &CacheOutcome) {
    match (state, outcome) {
        (State::Full, CacheOutcome::Invalidated { .. }) => {}
        (State::SnapshotFailed | State::LacksReplicas, CacheOutcome::Deferred { cause }) => {
            assert!(cause.is_unavailable(), "{cause}");
        }
        other => panic!("{other:?}"),
    }
}

fn save(document: &Document<Climate>, years: u64, guarantee: Guarantee, state: State) {
    let mut held = document.try_lock().expect("by its sidecar");
    held.years = years;
    let save = Save::new().tasks(["build_climate"]).guarantee(guarantee);
    check(
        state,
        &held.dump_and_unlock_with(save).expect("saved").cache,
    );
}

fn outlive(world: &World, engine: Engine, state: State) {
    let (store, falling_back) = (
        open(world, engine, WhileAway::Fail),
        open(world, engine, WhileAway::OsLock),
    );
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("made");
    let other = |store: &Store| store.document::<Climate>(RUN, "soils").expect("a document");
    other(&store).create(&Climate::of(1)).expect("made");
    world.warm();
    let mut held = document.lock().expect("locked");
    state.begin(world);

    held.years = 2;
    let saved = held.dump_and_unlock_with_transaction(["build_climate"]);
    check(state, &saved.expect("saved").cache);
    assert_eq!(world.on_disk().years, 2);
    let left = if state == State::Full { 0 } else { 3 };
    assert_eq!(world.dependents(), left);
    assert_eq!(document.read().expect("read").years, 2);

    let refused = other(&store).lock().map(drop).expect_err("no lock");
    assert!(
        refused.is_unavailable() && refused.is_retryable(),
        "{refused}"
    );
    save(&other(&falling_back), 2, Guarantee::BestEffort, state);
    save(&other(&falling_back), 3, Guarantee::CrashSafe, state);
    assert_eq!(other(&store).read().expect("read").years, 3);

    state.end(world);
    until("the outboxes are empty", || {
        let pending = |store: &Store| store.cache().stats().outbox_pending;
        pending(&store) + pending(&falling_back) == 0
    });
    assert_eq!(world.dependents(), 0);
    let lock = key("climate") + ":lock";
    assert_eq!(get(&mut world.redis(), &lock), None);
    support::committed(
        &document
            .lock()
            .expect("free")
            .dump_and_unlock()
            .expect("saved"),
    );
}

fn on_every_server(state: State) {
    for binary in ServerBinary::all() {
        for engine in [Engine::Script, Engine::Function, Engine::Watch] {
            if engine == Engine::Function && binary.version() < (7, 0, 0) {
                support::skipped("functions", &format!("none on {binary}"));
                continue;
            }
            eprintln!("on {binary}, {engine:?}");
            outlive(&World::on(binary), engine, state);
        }
    }
}

#[test]
fn a_server_whose_snapshot_failed() {
    on_every_server(State::SnapshotFailed);
}

#[test]
fn a_server_that_lacks_replicas() {
    on_every_server(State::LacksReplicas);
}

#[test]
fn a_full_server() {
    on_every_server(State::Full);
}
