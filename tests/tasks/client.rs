//! A client of the user's own, with its password and its database, by threads and by tasks.

use super::on_both_runtimes;
use crate::support::{self, Climate, RUN, World, committed, key};
use cachetx::{CacheBuilder, CacheOutcome, Document, Effect, Params, Store, aio};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};
use tokio::task::JoinSet;

const PASSWORD: &str = "tell-nobody";
const DATABASE: u32 = 2;

fn client(world: &World, password: &str) -> redis::Client {
    let url = world.server.url_as("alice", password);
    let url = format!("{}/{DATABASE}", url.trim_end_matches('/'));
    redis::Client::open(url).expect("a client")
}

/// A server that lets only alice in, and a builder with her client.
fn of_alice(world: &World) -> CacheBuilder {
    let mut redis = world.redis();
    let alice = format!("SETUSER alice on >{PASSWORD} ~* &* +@all");
    let rule: Vec<&str> = alice.split(' ').collect();
    redis::cmd("ACL").arg(&rule).exec(&mut redis).expect("set");
    support::cache_builder().client(client(world, PASSWORD))
}

fn store(world: &World, cache: CacheBuilder) -> Store {
    let cache = cache.open().expect("a cache");
    let store = Store::builder(cache).root(world.root.path());
    store.open().expect("a store")
}

fn entry(world: &World) -> Option<Vec<u8>> {
    let mut redis = client(world, PASSWORD).get_connection().expect("let in");
    support::get(&mut redis, &key("climate"))
}

#[test]
fn threads_save_wait_and_are_woken() {
    support::on_every_server(|world| {
        let store = store(world, of_alice(world));
        let climate = world.climate(&store);
        climate.create(&Climate::of(0)).expect("made");
        let mut held = climate.lock().expect("locked");
        held.years = 1;
        let saved = held.dump_and_unlock_with_transaction(["build_climate"]);
        committed(&saved.expect("saved"));
        assert_eq!(entry(world), Some(Climate::of(1).bytes()));
        let other = support::get(&mut world.redis(), &key("climate"));
        assert_eq!(other, None, "it is in the client's database");

        // Each waits for the others, some of them behind a message.
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let patience = Duration::from_secs(600);
                    let mut held = climate.lock_timeout(patience).expect("its turn");
                    held.years += 1;
                    held.dump_and_unlock().expect("saved");
                });
            }
        });
        assert_eq!(climate.read().expect("read").years, 9);
        assert!(store.locks(RUN).expect("asked").is_empty());
    });
}

#[test]
fn tasks_save_and_give_up() {
    let world = World::start();
    let threads = store(&world, of_alice(&world));
    let document: Document<Climate> = world.climate(&threads);
    document.create(&Climate::of(0)).expect("made");
    on_both_runtimes(|| async {
        let cache = of_alice(&world).open_async().await.expect("a cache");
        let store = Store::builder(cache).root(world.root.path());
        let store = store.open_async().await.expect("a store");
        let climate: aio::Document<Climate> = store.document(RUN, "climate").expect("a document");
        let before = climate.read().await.expect("read").years;
        let (done, mut saves) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        for n in 0..24 {
            let (climate, cache, done) = (climate.clone(), store.cache(), done.clone());
            saves.spawn(async move {
                // Some give up in the middle: what they had begun goes on.
                let patience = Duration::from_millis(if n % 3 == 0 { n } else { 60_000 });
                let saved = climate.update(["build_climate"], |climate| {
                    climate.years += 1;
                    Ok(())
                });
                if let Ok(saved) = tokio::time::timeout(patience, saved).await {
                    saved.expect("saved");
                    done.fetch_add(1, SeqCst);
                }
                let params = Params::new().with("run_id", RUN);
                let asked = cache.get("ash", &params).await;
                assert_eq!(asked.expect("answered"), None);
            });
        }
        saves.join_all().await;
        // Those that nobody waits for may be under way.
        let held = climate.lock().await.expect("locked");
        let saved = held.years - before;
        assert!((done.load(SeqCst)..=24).contains(&saved), "{saved} saves");
        aio::Locked::unlock(held).await;
        store.cache().close().await.expect("closed");
    });
}

#[test]
fn a_server_that_goes_away_defers_the_save_and_is_told_later() {
    let mut world = World::start();
    let store = store(&world, of_alice(&world));
    let climate = world.climate(&store);
    climate.create(&Climate::of(0)).expect("made");
    let mut held = climate.lock().expect("locked");
    held.years = 1;
    world.server.stop();
    let outcome = held.dump_and_unlock().expect("saved");
    assert!(
        matches!(outcome.cache, CacheOutcome::Deferred { .. }),
        "{outcome:?}"
    );
    world.server.restart().expect("it starts again");
    let _alice = of_alice(&world);
    support::until("the record is replayed", || {
        store.cache().stats().outbox_pending == 0
    });
    assert_eq!(climate.read().expect("read").years, 1);
}

#[test]
fn what_is_wrong_with_a_client_is_said_and_its_password_is_not() {
    let world = World::start();
    let right = of_alice(&world);
    let refused = support::cache_builder().client(client(&world, "wrong!"));
    let params = Params::new().with("run_id", RUN);
    let lazy = refused.clone().open_lazy().expect("not asked yet");
    let error = lazy.get("climate", &params).expect_err("not let in");
    assert_eq!(error.effect(), Effect::None);
    let port = world.server.port().to_string();
    let text = format!("{error} {error:?} {refused:?} {right:?} {lazy:?}");
    assert!(text.contains("WRONGPASS") && text.contains(&port), "{text}");
    assert!(
        !text.contains("wrong!") && !text.contains(PASSWORD),
        "{text}"
    );

    for (twice, what) in [
        (right.clone().cluster(["redis://127.0.0.1:1/"]), "a Cluster"),
        (
            right.clone().credentials(|| Err("not asked".into())),
            "CacheBuilder::credentials",
        ),
    ] {
        let error = twice.open_lazy().map(drop).expect_err("one of both");
        assert!(
            error.is_config() && error.to_string().contains(what),
            "{error}"
        );
    }
    // The last one counts.
    let url = right.url(world.server.url()).open().expect("by the URL");
    assert_eq!(url.get("climate", &params).expect("asked"), None);
}
