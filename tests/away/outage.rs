//! The server stopped before, during and after the commit: the file has the new content each time, the outcome says which,
//! and nothing hangs. An outage before the file write is an error that changes nothing.

use crate::support::{self, Climate, World, get, key};
use cachetx::{
    BoxError, CacheOutcome, Document, Locked, Outcome, Store,
    testing::{Proxy, ServerBinary, ServerOptions, WireFault},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_millis(300);
/// Far above every time-out, far below a hang.
const BOUND: Duration = Duration::from_secs(10);

fn bounded<R>(what: &str, act: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = act();
    assert!(start.elapsed() < BOUND, "{what} took {:?}", start.elapsed());
    result
}

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A store that calls the hook just before its next commit is sent.
fn store_with_hook(world: &World, url: &str) -> (Store, Hook) {
    let hook: Hook = Arc::default();
    let before_commit = hook.clone();
    let cache = support::cache_builder()
        .url(url)
        .connect_timeout(TIMEOUT)
        .response_timeout(TIMEOUT)
        // Every call is to reach the server here; tests/away/breaker.rs is about the breaker.
        .circuit_breaker(Duration::ZERO)
        .open()
        .expect("a cache");
    let store = Store::builder(cache)
        .root(world.root.path())
        .trace(move |step| {
            if step == "server.Commit"
                && let Some(act) = before_commit.lock().expect("not poisoned").take()
            {
                act();
            }
        })
        .open()
        .expect("a store");
    (store, hook)
}

fn locked(document: &Document<Climate>) -> Locked<Climate> {
    let mut held = document.lock().expect("locked");
    held.years = 2;
    held
}

fn save(held: Locked<Climate>) -> Outcome {
    bounded("the save", || {
        held.dump_and_unlock_with_transaction(["build_climate"])
    })
    .expect("the save succeeds")
}

fn is_deferred(outcome: &Outcome) -> bool {
    matches!(&outcome.cache, CacheOutcome::Deferred { cause } if cause.is_unavailable())
}

#[test]
fn killed_before_the_commit() {
    let mut world = World::start();
    let (store, _) = store_with_hook(&world, &world.server.url());
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let held = locked(&document);
    world.server.kill();

    let outcome = save(held);
    assert!(is_deferred(&outcome), "{outcome:?}");
    assert_eq!(world.on_disk().years, 2);
    assert_eq!(
        bounded("a read", || document.read())
            .expect("from the file")
            .years,
        2
    );
    assert_eq!(store.cache().stats().deferred, 1);

    // No lock without a server: an error that changed nothing, and at once.
    let refused = bounded("lock()", || document.lock()).expect_err("no server");
    assert!(
        refused.is_unavailable() && refused.is_retryable(),
        "{refused}"
    );
    let refused =
        bounded("delete()", || document.delete(cachetx::NO_TASKS)).expect_err("no server");
    assert!(refused.is_unavailable(), "{refused}");
    assert_eq!(world.on_disk().years, 2);

    world.server.restart().expect("back");
    // A replay deletes own entries too, newer ones among them.
    support::until("what was put off is done", || {
        store.cache().stats().outbox_pending == 0
    });
    document
        .locked(|climate| {
            climate.years = 3;
            Ok(())
        })
        .expect("the same store works again");
    assert_eq!(
        get(&mut world.redis(), &key("climate")),
        Some(Climate::of(3).bytes())
    );
}

#[test]
fn killed_during_the_commit() {
    // The request arrives and is executed; its reply never comes, and neither do later ones.
    let world = World::start();
    let proxy = Arc::new(Proxy::start(world.server.port()).expect("a proxy"));
    let (store, hook) = store_with_hook(&world, &proxy.url());
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    world.warm();
    let held = locked(&document);
    let cut = proxy.clone();
    *hook.lock().expect("not poisoned") =
        Some(Box::new(move || cut.inject(WireFault::SwallowReply)));

    let outcome = save(held);
    assert!(
        is_deferred(&outcome),
        "a swallowed reply is not known: {outcome:?}"
    );
    assert_eq!(world.on_disk().years, 2);
    assert_eq!(document.read().expect("read").years, 2);
}

#[test]
fn a_cut_reply_is_asked_for_again_and_the_commit_is_recognised() {
    let world = World::start();
    let proxy = Arc::new(Proxy::start(world.server.port()).expect("a proxy"));
    let (store, hook) = store_with_hook(&world, &proxy.url());
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    world.warm();
    let held = locked(&document);
    let cut = proxy.clone();
    *hook.lock().expect("not poisoned") = Some(Box::new(move || cut.inject(WireFault::DropReply)));

    let outcome = save(held);
    assert!(
        matches!(outcome.cache, CacheOutcome::Committed { .. }),
        "{outcome:?}"
    );
    assert_eq!(world.dependents(), 0);
    assert_eq!(
        get(&mut world.redis(), &(key("climate") + ":lock")),
        None,
        "released once, by the first"
    );
}

/// The ACL denies what comes after the commit's first write: asking again is safe, and of no use.
#[test]
fn a_commit_that_fails_midway_each_time_is_not_sent_all_the_time() {
    for binary in ServerBinary::all() {
        let options = ServerOptions::new()
            .user("default on nopass ~* +@all")
            .user("bob on >pw ~* +@all -unlink");
        let server = options.start(binary).expect("a server");
        let root = tempfile::tempdir().expect("a folder");
        let cache = support::cache_builder()
            .url(server.url_as("bob", "pw"))
            // It is sent again for so long.
            .response_timeout(Duration::from_secs(1))
            .open()
            .expect("a cache");
        let store = Store::builder(&cache).root(root.path()).open();
        let document = store.expect("a store").document("run", "climate");
        let document: Document<String> = document.expect("a document");
        // The lock is deleted last, and so is nothing.
        let outcome = document.create(&"x".repeat(100_000)).expect("created");
        assert!(
            matches!(outcome.cache, CacheOutcome::Deferred { .. }),
            "{outcome:?}"
        );
        let sent = cache.stats().round_trips;
        assert!((5..100).contains(&sent), "{sent}");
    }
}

/// The ACL denies a lease's write: whether one was done before it is unknown, and asking again is of no use.
#[test]
fn a_lease_that_is_refused_each_time_is_not_asked_for_all_the_time() {
    for binary in ServerBinary::all() {
        let options = ServerOptions::new()
            .user("default on nopass ~* +@all")
            .user("bob on >pw ~* +@all -hset");
        let server = options.start(binary).expect("a server");
        let cache = support::cache_builder()
            .url(server.url_as("bob", "pw"))
            .open()
            .expect("a cache");
        let before = cache.stats().round_trips;
        let params = cachetx::Params::new().with("run_id", "run");
        let loaded = cache.get_or_load("climate", &params, || Ok(b"[1]".to_vec()));
        assert_eq!(&*loaded.expect("loaded"), b"[1]");
        let asked = cache.stats().round_trips - before;
        assert!(asked < 10, "{asked}");
    }
}

#[test]
fn paused_during_the_commit() {
    let mut world = World::start();
    let (store, hook) = store_with_hook(&world, &world.server.url());
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let held = locked(&document);
    let pid = world
        .server
        .pid()
        .and_then(|pid| i32::try_from(pid).ok())
        .expect("it runs");
    *hook.lock().expect("not poisoned") = Some(Box::new(move || {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("paused");
    }));

    let outcome = save(held);
    assert!(is_deferred(&outcome), "{outcome:?}");
    assert_eq!(world.on_disk().years, 2);
    let refused = bounded("lock()", || document.lock()).expect_err("no answer");
    assert!(refused.is_unavailable(), "{refused}");
    assert_eq!(
        bounded("a read", || document.read())
            .expect("from the file")
            .years,
        2
    );

    world.server.resume().expect("goes on");
    world
        .server
        .restart()
        .expect("a fresh one: what the paused one had queued is another test's");
    document
        .locked(|climate| {
            climate.years = 3;
            Ok(())
        })
        .expect("works again");
}

#[test]
fn killed_after_the_commit() {
    let mut world = World::start();
    let (store, _) = store_with_hook(&world, &world.server.url());
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    world.warm();
    let outcome = save(locked(&document));
    assert!(
        matches!(outcome.cache, CacheOutcome::Committed { removed: 3 }),
        "{outcome:?}"
    );
    world.server.kill();
    assert_eq!(world.on_disk().years, 2);
    assert_eq!(document.read().expect("from the file").years, 2);
}

#[test]
fn a_full_server_deletes_where_it_cannot_set() {
    support::on_every_server(|world| {
        let store = world.store();
        let document = world.climate(&store);
        document.create(&Climate::of(1)).expect("created");
        world.warm();
        let held = locked(&document);
        let mut redis = world.redis();
        redis::cmd("CONFIG")
            .arg("SET")
            .arg("maxmemory")
            .arg("1")
            .exec(&mut redis)
            .expect("full");
        let outcome = save(held);
        assert!(
            matches!(outcome.cache, CacheOutcome::Invalidated { removed: 4 }),
            "{outcome:?}"
        );
        assert_eq!(world.dependents(), 0, "nothing stale");
        assert_eq!(get(&mut redis, &key("climate")), None);
        assert_eq!(
            get(&mut redis, &(key("climate") + ":lock")),
            None,
            "the lock is let go of"
        );
        assert_eq!(document.read().expect("from the file").years, 2);
    });
}

#[test]
fn the_lock_is_let_go_of_on_every_path() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let free = |why: &str| {
        let mut redis = world.redis();
        assert_eq!(get(&mut redis, &(key("climate") + ":lock")), None, "{why}");
    };

    drop(document.lock().expect("locked"));
    free("a dropped guard");
    assert_eq!(Locked::unlock(document.lock().expect("locked")).years, 1);
    free("an unlocked guard");

    let failed = document.locked(|climate| -> Result<(), BoxError> {
        climate.years = 50;
        Err("the closure's own error".into())
    });
    let failed = failed.expect_err("the closure failed");
    assert_eq!(
        failed.caller().expect("handed back").to_string(),
        "the closure's own error"
    );
    free("a closure that failed");

    let panicked = catch_unwind(AssertUnwindSafe(|| {
        document.locked(|_| -> Result<(), BoxError> { panic!("on purpose") })
    }));
    assert!(panicked.is_err());
    free("a closure that panicked");

    let refused = document
        .lock()
        .expect("locked")
        .dump_and_unlock_with_transaction(["no_such_task"]);
    let refused = refused.expect_err("an unknown task");
    assert!(refused.error().is_params(), "{refused}");
    let mut redis = world.redis();
    assert!(
        get(&mut redis, &(key("climate") + ":lock")).is_some(),
        "the error gives the guard back, still locked"
    );
    let again = refused
        .into_locked()
        .dump_and_unlock_with_transaction(["build_climate"]);
    again.expect("the second try");
    free("a save that was tried again");

    assert_eq!(
        world.on_disk().years,
        1,
        "nothing of the failed ones was saved"
    );
}
