//! Which documents can form one transaction, and which cannot.

use crate::support::trio::{Count, create, document, documents, store};
use crate::support::{self, RUN, World, committed, get};
use cachetx::{Document, NO_TASKS, Transaction};
use std::{fs, time::Duration};

#[test]
fn tuples_of_one_to_eight_and_documents_of_several_runs() {
    let world = World::start();
    let store = store(&world);
    let one = document(&store, "first", "climate");
    let runs: Vec<_> = (0..7)
        .map(|n| document(&store, &format!("run-{n}"), "ash"))
        .collect();
    one.create(&Count { n: 1 }).expect("created");
    for document in &runs {
        document.create(&Count { n: 1 }).expect("created");
    }
    let mut redis = world.redis();
    let sums = |run: &str| format!("nodb_cache:{{{run}}}:sum");
    for run in ["first", "run-0", "run-6", "elsewhere"] {
        support::set(&mut redis, &sums(run), b"derived");
    }

    let mut alone = store.transaction((&one,)).expect("locked");
    alone.0.n = 5;
    committed(&alone.commit(NO_TASKS).expect("committed"));
    assert_eq!(one.read().expect("read").n, 5);
    assert_eq!(get(&mut redis, &sums("first")), None);

    let [a, b, c, d, e, f, g] = &runs[..] else {
        unreachable!("seven")
    };
    let mut all = store
        .transaction((&one, a, b, c, d, e, f, g))
        .expect("locked");
    all.0.n += all.7.n;
    all.7.n = 0;
    let outcome = all.commit(NO_TASKS).expect("committed");
    assert_eq!(committed(&outcome), 2, "of two runs each its own");
    assert_eq!(
        (one.read().expect("read").n, g.read().expect("read").n),
        (6, 0)
    );
    assert_eq!(get(&mut redis, &sums("run-6")), None);
    assert!(get(&mut redis, &sums("elsewhere")).is_some());

    // With data of several types; white space is kept, and one guard is returned unsaved.
    let text: Document<serde_json::Value> = store.document("first", "climate").expect("a document");
    fs::write(world.root.path().join("first/climate.nodb"), "{\"n\": 7}\n").expect("written");
    let mut mixed = store.transaction((&text, a)).expect("locked");
    assert_eq!(mixed.0["n"], 7);
    mixed.0["n"] = 8.into();
    let (value, count) = Transaction::unlock(mixed);
    assert_eq!((value["n"].as_u64(), count.n), (Some(8), 1));
    let mut mixed = store.transaction((&text, a)).expect("free again");
    mixed.0["n"] = 9.into();
    mixed.commit(NO_TASKS).expect("committed");
    let saved = fs::read(world.root.path().join("first/climate.nodb")).expect("there");
    assert_eq!(saved, b"{\"n\":9}\n");
}

#[test]
fn what_cannot_be_one_transaction_is_refused_before_any_lock() {
    let world = World::start();
    let (store, other) = (store(&world), store(&world));
    create(&store, RUN, 1);
    let [a, b, _] = documents(&store, RUN);
    let twice = store
        .transaction((&a, &b, &a))
        .map(drop)
        .expect_err("twice");
    assert!(
        twice.is_config() && twice.to_string().contains("climate: is named twice"),
        "{twice}"
    );
    let foreign = document(&other, RUN, "soils");
    let refused = store
        .transaction((&a, &foreign))
        .map(drop)
        .expect_err("foreign");
    assert!(
        refused.is_config() && refused.to_string().contains("another store"),
        "{refused}"
    );
    // A clone of the store counts as the same store.
    drop(store.clone().transaction((&a, &b)).expect("locked"));

    let missing = document(&store, "nowhere", "ash");
    let refused = store
        .transaction((&a, &missing))
        .map(drop)
        .expect_err("missing");
    assert!(refused.is_not_found(), "{refused}");
    drop(a.try_lock().expect("and nothing is held"));

    let held = b.lock().expect("held by somebody");
    let refused = store
        .transaction_timeout((&a, &b), Duration::ZERO)
        .map(drop);
    let refused = refused.expect_err("held");
    assert!(
        refused.is_lock_held() && refused.to_string().contains("ash"),
        "{refused}"
    );
    drop(a.try_lock().expect("the first one was let go"));
    drop(held);

    fs::write(world.run_folder().join("READONLY"), "").expect("marked");
    let refused = store
        .transaction((&a, &b))
        .map(drop)
        .expect_err("read only");
    assert!(refused.is_read_only(), "{refused}");
}
