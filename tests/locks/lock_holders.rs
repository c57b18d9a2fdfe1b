//! Who holds a run's locks, and since when.

use crate::support::{self, Climate, RUN, World, key, on_every_server};
use cachetx::{Engine, KeepAlive, Store, testing::Cluster};
use std::time::{Duration, Instant};

fn owner() -> String {
    format!(":{}", std::process::id())
}

/// Two of a run's documents are locked, one of them by a foreign program.
fn list(store: &Store, foreign: &mut dyn FnMut(&str)) {
    let climate = store
        .document::<Climate>(RUN, "climate")
        .expect("a document");
    let ash = store.document::<Climate>(RUN, "ash").expect("a document");
    climate.create(&Climate::of(1)).expect("made");
    assert!(store.locks(RUN).expect("listed").is_empty());
    assert_eq!(ash.holder().expect("asked"), None);

    let asked_at = Instant::now();
    let held = climate.lock().expect("locked");
    foreign(r#"{"token":"t","owner":"other:7","acquired_at":1000,"expires_at":2000,"ttl":1000}"#);
    let mut locks = store.locks(RUN).expect("listed");
    locks.sort_by(|a, b| b.document.controller.cmp(&a.document.controller));
    let [own, other] = &locks[..] else {
        panic!("{locks:?}");
    };
    assert_eq!(own.document.controller, "climate");
    assert!(own.holder.owner.ends_with(&owner()), "{own}");
    assert!(own.holder.remaining > Duration::from_secs(50));
    assert!(own.holder.is_this_process && !other.holder.is_this_process);
    let age = own.age.expect("it says so");
    assert!(
        age <= asked_at.elapsed() + Duration::from_millis(1),
        "{own}"
    );
    assert_eq!(
        (
            other.document.controller.as_str(),
            other.holder.owner.as_str()
        ),
        ("ash", "other:7")
    );
    assert!(
        other.age.expect("it says so") > Duration::from_secs(1_000_000),
        "{other}"
    );
    assert_eq!(other.holder.remaining, Duration::MAX);
    let asked = ash.holder().expect("asked").expect("held");
    assert_eq!(asked.holder, other.holder);

    foreign("somebody");
    let other = ash.holder().expect("asked").expect("held");
    assert_eq!((other.holder.owner.as_str(), other.age), ("somebody", None));
    assert_eq!(store.clear_locks(RUN).expect("cleared"), 2);
    assert!(store.locks(RUN).expect("listed").is_empty());
    drop(held);
}

#[test]
fn holders_are_listed_on_every_server_in_one_round_trip() {
    on_every_server(|world| {
        let cache = world
            .cache_builder()
            .engine(Engine::Watch)
            .open()
            .expect("a cache");
        // No renewal may be counted as the list's round trip.
        let store = Store::builder(&cache)
            .root(world.root.path())
            .keep_alive(KeepAlive::Off)
            .lock_ttl(Duration::from_secs(3_600))
            .open()
            .expect("a store");
        let mut redis = world.redis();
        list(&store, &mut |value| {
            support::set(&mut redis, &(key("ash") + ":lock"), value.as_bytes());
        });
        let before = cache.stats().round_trips;
        store.locks(RUN).expect("listed");
        assert_eq!(cache.stats().round_trips, before + 1);
    });
}

#[test]
fn in_the_database_of_the_locks() {
    let world = World::start();
    let cache = world
        .cache_builder()
        .url(format!("{}13", world.server.url()))
        .lock_database(2)
        .open()
        .expect("a cache");
    let store = Store::builder(&cache)
        .root(world.root.path())
        .open()
        .expect("a store");
    let mut redis = world.redis();
    redis::cmd("SELECT")
        .arg(2)
        .exec(&mut redis)
        .expect("selected");
    list(&store, &mut |value| {
        support::set(&mut redis, &(key("ash") + ":lock"), value.as_bytes());
    });
}

/// Keys without a hash tag are each in a slot of their own.
#[test]
fn in_a_cluster_every_slot_is_asked() {
    let cluster = Cluster::start(support::any_binary()).expect("a Cluster");
    let root = tempfile::TempDir::new().expect("a folder");
    let rules = cachetx::Rules::from_json(
        r#"{ "version": "1.0", "rules": {},
             "cache_keys": { "climate": "c:{run_id}:climate", "ash": "c:{run_id}:ash" } }"#,
    );
    let cache = support::cache_of(rules.expect("they compile"))
        .cluster(cluster.urls())
        .open()
        .expect("a cache");
    let store = Store::builder(&cache)
        .root(root.path())
        .open()
        .expect("a store");
    let lock = format!("{{c:{RUN}:ash}}:lock");
    list(&store, &mut |value| {
        for url in cluster.urls() {
            let client = redis::Client::open(url).expect("a client");
            let mut redis = client.get_connection().expect("a connection");
            // All nodes but one redirect it.
            let _ = redis::cmd("SET").arg(&lock).arg(value).exec(&mut redis);
        }
    });
}
