//! Two servers on one root: what a dead process of the one has left is not brought to the other.

use crate::support::{self, Climate, RUN, World, gate::Gate, get, key, until, warnings};
use cachetx::{Cache, CacheOutcome, OutboxFile, Params, Store};
use std::path::Path;
use tempfile::TempDir;

fn params() -> Params {
    Params::new().with("run_id", RUN)
}

fn store(cache: &Cache, root: &Path) -> Store {
    let store = Store::builder(cache).root(root);
    store.open().expect("a store")
}

fn pending(root: &Path) -> Vec<OutboxFile> {
    let mut files = OutboxFile::list(root.join(".cachetx-outbox")).expect("listed");
    files.retain(|file| !file.records.is_empty());
    files
}

#[test]
fn a_record_goes_to_the_server_that_it_is_for() {
    let (own, other, dir) = (
        World::start(),
        World::start(),
        TempDir::new().expect("made"),
    );
    let gate = Gate::new(&own, dir.path());
    let at_own = || support::cache_builder().url(gate.url()).open_lazy();
    own.climate(&own.store())
        .create(&Climate::of(1))
        .expect("created");
    own.warm();
    let root = own.root.path();

    gate.close(&own);
    let dying = at_own().expect("a cache");
    let its_store = store(&dying, root);
    let outcome = dying.invalidate(["build_climate"], &params());
    let outcome = outcome.expect("no mistake");
    assert!(
        matches!(outcome, CacheOutcome::Deferred { .. }),
        "{outcome}"
    );
    drop((its_store, dying));
    let [left] = &pending(root)[..] else {
        panic!("{:?}", pending(root));
    };
    let name = left.path.display().to_string();
    assert!(left.server.is_some());

    // Not once, and not again and again.
    let stranger = other.cache();
    let _its_store = store(&stranger, root);
    for _ in 0..3 {
        stranger.replay_outbox().expect("no bug");
    }
    assert_eq!(pending(root), std::slice::from_ref(left));
    assert_eq!(warnings::with_both("for another server", &name), 1);

    gate.open();
    let heir = at_own().expect("a cache");
    let _its_store = store(&heir, root);
    until("it is replayed", || pending(root).is_empty());
    assert_eq!(get(&mut own.redis(), &key("ash")), None);
}

/// An operator may say that the server has moved.
#[test]
fn who_is_told_to_takes_what_is_for_any_server() {
    let (own, dir) = (World::start(), TempDir::new().expect("made"));
    own.climate(&own.store())
        .create(&Climate::of(1))
        .expect("created");
    own.warm();
    let at = |url: &str| {
        support::cache_builder()
            .url(url)
            .outbox(dir.path().join("o"))
    };
    let gone = at("redis://127.0.0.1:1/").open_lazy().expect("a cache");
    let outcome = gone.invalidate(["build_climate"], &params());
    assert!(!outcome.expect("no mistake").is_settled());
    drop(gone);
    let moved = at(&own.server.url()).outbox_of_any_server();
    let moved = moved.open().expect("a cache");
    until("it is replayed", || moved.stats().outbox_replayed == 1);
    assert_eq!(get(&mut own.redis(), &key("ash")), None);
}
