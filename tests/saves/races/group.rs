//! Race 9: several documents as one group. In depth: tests/transactions/transaction.rs and tests/transactions.

use super::{
    Verdict, ensure,
    support::{Climate, RUN, World, on_every_server},
};
use cachetx::{Document, Store};
use std::fs;

/// Another run, which a model derives from the first one.
const CHILD: &str = "copacetic-sled;;omni;;undisturbed";

fn document(store: &Store, run: &str) -> Document<Climate> {
    store.document(run, "climate").expect("a document")
}

fn years(world: &World, run: &str) -> u64 {
    let file = world.root.path().join(run).join("climate.nodb");
    let text = fs::read(file).expect("it is there");
    let climate: Climate = serde_json::from_slice(&text).expect("it is whole");
    climate.years
}

/// The second of two documents becomes read-only when the first one has been saved: all are saved,
/// or none.
fn late_failure(world: &World, save_both: fn(&Store) -> Verdict) -> Verdict {
    let store = world.store();
    for run in [RUN, CHILD] {
        document(&store, run)
            .create(&Climate::of(1))
            .expect("created");
    }
    let marker = world.root.path().join(CHILD).join("READONLY");
    let shut = marker.clone();
    let watched = world.store_builder().trace(move |step| {
        // Both locks are held by then.
        if step == "disk.write-temp" {
            fs::write(&shut, b"").expect("written");
        }
    });
    let saved = save_both(&watched.open().expect("a store"));
    assert!(marker.exists(), "the second one is read-only");
    assert!(saved.is_err(), "so the group cannot be saved");
    let found = [RUN, CHILD].map(|run| years(world, run));
    ensure(found == [1, 1], || format!("a part is saved: {found:?}"))
}

/// One after the other, each with the library.
fn one_by_one(store: &Store) -> Verdict {
    let documents = [RUN, CHILD].map(|run| document(store, run));
    let locked = documents.map(|document| document.lock().expect("it is free"));
    for mut document in locked {
        document.years += 1;
        document.dump_and_unlock().map_err(|e| e.to_string())?;
    }
    Ok(())
}

/// The library's way.
fn as_one(store: &Store) -> Verdict {
    let [one, other] = [RUN, CHILD].map(|run| document(store, run));
    let mut group = store
        .transaction((&one, &other))
        .map_err(|e| e.to_string())?;
    let (one, other) = &mut *group;
    one.years += 1;
    other.years += 1;
    let saved = group.commit(["build_climate"]);
    saved.map(drop).map_err(|e| e.error().to_string())
}

#[test]
fn race_9_a_late_failure_leaves_a_group_half_saved() {
    on_every_server(|world| late_failure(world, as_one).expect("all or none"));
    let why = late_failure(&World::start(), one_by_one);
    let why = why.expect_err("the check catches the naive way");
    assert!(why.contains("a part is saved: [2, 1]"), "{why}");
}
