//! Caches on a server inside the process: they share it as clones do, and it behaves like a server.

use crate::support::{self, Climate, RUN, key};
use cachetx::{
    CacheBuilder, CacheOutcome, Document, NO_TASKS, Params, Store, testing::MemoryServer,
};
use std::time::Duration;
use tempfile::TempDir;

fn store(builder: CacheBuilder, root: &TempDir) -> Store {
    let cache = builder.open().expect("nothing to connect to");
    let store = Store::builder(cache).root(root.path());
    store
        .lock_wait(Duration::ZERO)
        .open()
        .expect("the store opens")
}

fn climate(store: &Store) -> Document<Climate> {
    store.document(RUN, "climate").expect("a document")
}

fn root() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

#[test]
fn clones_of_a_builder_share_a_server() {
    let root = root();
    let builder = support::cache_builder().in_memory();
    let (one, other) = (store(builder.clone(), &root), store(builder, &root));
    let (ours, theirs) = (climate(&one), climate(&other));
    ours.create(&Climate::of(1)).expect("created");

    let held = ours.lock().expect("locked");
    let error = theirs.try_lock().expect_err("it is held");
    assert!(error.is_lock_held(), "{error}");
    let holder = error.lock_holder().expect("a holder");
    assert!(holder.remaining > Duration::from_secs(50), "{holder}");
    drop(held);

    theirs
        .locked(|climate| {
            climate.years = 2;
            Ok(())
        })
        .expect("saved");
    assert_eq!(ours.read().expect("read").years, 2);
    let stats = one.cache().stats();
    assert_eq!((stats.commits, stats.reads_from_file), (1, 1));

    let report = one.cache().report().expect("it is there");
    assert_eq!(report.engine, "memory");
    assert!(report.to_string().ends_with(" (in memory)"), "{report}");
}

#[test]
fn builders_apart_share_nothing_and_a_url_goes_back() {
    let root = root();
    let one = store(support::cache_builder().in_memory(), &root);
    let other = store(support::cache_builder().in_memory(), &root);
    climate(&one).create(&Climate::of(1)).expect("created");
    assert_eq!(climate(&other).read().expect("read").years, 1);
    assert_eq!(other.cache().stats().reads_from_file, 1);

    let nowhere = support::cache_builder().in_memory().url("redis://[");
    assert!(nowhere.open().expect_err("no URL").is_config());
    let lazy = support::cache_builder().in_memory().open_lazy();
    assert!(lazy.expect("nothing to wait for").report().is_some());
}

#[test]
fn a_lock_that_ran_out_meanwhile_cannot_save() {
    let root = root();
    let server = MemoryServer::with_manual_clock();
    let store = store(support::cache_builder().memory_server(&server), &root);
    let document = climate(&store);
    document.create(&Climate::of(1)).expect("created");

    let slow = document.lock().expect("locked");
    server.advance(Duration::from_secs(60));
    document
        .locked(|climate| {
            climate.years = 2;
            Ok(())
        })
        .expect("the lock was free");
    let refused = slow.dump_and_unlock().expect_err("somebody else has saved");
    let (error, _) = refused.into_parts();
    assert!(error.is_fenced() || error.is_conflict(), "{error}");
    assert_eq!(document.read().expect("read").years, 2);

    assert!(server.contains(&key("climate")));
    server.advance(Duration::from_secs(1_000));
    assert!(!server.contains(&key("climate")), "its TTL is over");
}

#[test]
fn a_save_while_it_is_stopped_is_deferred() {
    let root = root();
    let server = MemoryServer::new();
    let store = store(support::cache_builder().memory_server(&server), &root);
    let document = climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let held = document.lock().expect("locked");
    server.stop();
    let outcome = held.dump_and_unlock().expect("the file is written");
    assert!(matches!(outcome.cache, CacheOutcome::Deferred { .. }));
    let error = document.lock().expect_err("no locks without a server");
    assert!(error.is_unavailable(), "{error}");

    let params = Params::new().with("run_id", RUN);
    let deferred = store
        .cache()
        .invalidate(NO_TASKS, &params)
        .expect("params fit");
    assert!(matches!(deferred, CacheOutcome::Deferred { .. }));
    server.start();
    let tasks = ["build_climate"];
    let done = store
        .cache()
        .invalidate(tasks, &params)
        .expect("params fit");
    assert!(matches!(done, CacheOutcome::Invalidated { removed: 0 }));
}
