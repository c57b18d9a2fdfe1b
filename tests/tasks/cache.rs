//! Keys and values: loads, puts, invalidations.

use super::{eventually, on_both_runtimes};
use crate::support::{self, RUN, World, on_every_server};
use cachetx::{BoxError, CacheBuilder, Engine, OnBusy, Params, PutOutcome, aio};
use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

fn params() -> Params {
    Params::new().with("run_id", RUN)
}

fn cache_builder(world: &World) -> CacheBuilder {
    world.cache_builder().outbox(world.root.path())
}

async fn never() -> Result<&'static [u8], BoxError> {
    pending().await
}

#[test]
fn values_are_loaded_once_put_and_invalidated() {
    on_every_server(|world| {
        for engine in [Engine::Auto, Engine::Watch] {
            on_both_runtimes(|| async {
                // On a machine that stands still meanwhile, too.
                let patient = OnBusy::Wait(Duration::from_secs(120));
                let cache = cache_builder(world).engine(engine).on_busy(patient);
                let cache = cache.open_async().await;
                let (cache, params) = (cache.expect("a cache"), params());
                cache
                    .invalidate(["build_climate"], &params)
                    .await
                    .expect("invalidated");
                assert_eq!(cache.get("ash", &params).await.expect("asked"), None);

                let loads = Arc::new(AtomicU32::new(0));
                let readers: Vec<_> = (0..32)
                    .map(|_| {
                        let (cache, params, loads) = (cache.clone(), params.clone(), loads.clone());
                        tokio::spawn(async move {
                            cache
                                .get_or_load("ash", &params, || async move {
                                    loads.fetch_add(1, SeqCst);
                                    tokio::time::sleep(Duration::from_millis(20)).await;
                                    Ok("loaded".as_bytes())
                                })
                                .await
                        })
                    })
                    .collect();
                for reader in readers {
                    let read = reader.await.expect("no panic").expect("read");
                    assert_eq!(&*read, b"loaded");
                }
                assert_eq!(loads.load(SeqCst), 1, "one reader loads for all");

                let put = cache.put("ash", &params, "put".as_bytes()).await;
                assert_eq!(put.expect("put"), PutOutcome::Set);
                let got = cache.get("ash", &params).await.expect("asked");
                assert_eq!(got.as_deref(), Some("put".as_bytes()));
                let gone = cache.invalidate(["build_climate"], &params).await;
                assert!(gone.expect("invalidated").is_settled());
                assert_eq!(cache.get("ash", &params).await.expect("asked"), None);

                let load = || async { Ok(vec![1, 2]) };
                let years: Vec<u32> = cache
                    .get_or_load_json("wepp", &params, load)
                    .await
                    .expect("loaded");
                let read = cache.get_json("wepp", &params).await.expect("read");
                assert_eq!(read, Some(years));
                cache
                    .put_json("wepp", &params, &vec![3])
                    .await
                    .expect("put");
                let load = || async { unreachable!("it is there") };
                let read: Vec<u32> = cache
                    .get_or_load_json("wepp", &params, load)
                    .await
                    .expect("read");
                assert_eq!(read, [3]);

                let failed = cache
                    .get_or_load("ash", &params, || async {
                        Err::<&[u8], _>("no source".into())
                    })
                    .await
                    .expect_err("the loader's own");
                assert_eq!(
                    failed.caller().expect("it is the loader's").to_string(),
                    "no source"
                );
                cache
                    .invalidate_around(["build_climate"], &params, || async { Ok(()) })
                    .await
                    .expect("changed");
                assert_eq!(cache.replay_outbox().await.expect("replayed").left, 0);
                assert_eq!(cache.close().await.expect("closed").left, 0);
            });
        }
    });
}

/// Else nobody could fill the entry for the lease's life, of an hour here.
#[test]
fn a_loader_that_is_dropped_gives_its_lease_back() {
    let world = World::start();
    on_both_runtimes(|| async {
        let cache = world
            .cache_builder()
            .lease_ttl(Duration::from_secs(3600))
            .on_busy(OnBusy::LoadWithoutFilling)
            .open_async();
        let (cache, params) = (cache.await.expect("a cache"), params());
        for n in 0..10 {
            let late = Duration::from_millis(2 * n);
            let loading = cache.get_or_load("ash", &params, never);
            assert!(tokio::time::timeout(late, loading).await.is_err());
        }
        let filled = async || {
            let load = || async { Ok("loaded".as_bytes()) };
            cache
                .get_or_load("ash", &params, load)
                .await
                .expect("loaded");
            cache.get("ash", &params).await.expect("asked").is_some()
        };
        // It is given back by another thread.
        eventually("the lease is given back", filled).await;
        cache
            .invalidate(["build_climate"], &params)
            .await
            .expect("invalidated");
    });
}

#[test]
fn a_change_that_is_dropped_invalidates_what_it_may_have_changed() {
    let world = World::start();
    on_both_runtimes(|| async {
        let cache = cache_builder(&world).open_async().await.expect("a cache");
        let (params, mut redis) = (params(), world.redis());
        for n in 0..10 {
            let late = Duration::from_millis(2 * n);
            let changing = cache.invalidate_around(["build_climate"], &params, || async {
                support::set(&mut redis, &support::key("ash"), b"derived from the old");
                pending::<Result<(), BoxError>>().await
            });
            assert!(tokio::time::timeout(late, changing).await.is_err());
            // By another thread; then everybody may fill again.
            eventually("the old value is gone", async || {
                let load = || async { Ok("loaded".as_bytes()) };
                cache
                    .get_or_load("ash", &params, load)
                    .await
                    .expect("loaded");
                let got = cache.get("ash", &params).await.expect("asked");
                got.as_deref() == Some(b"loaded".as_slice())
            })
            .await;
            eventually("its record is done", async || {
                cache.stats().outbox_pending == 0
            })
            .await;
        }
        cache
            .invalidate(["build_climate"], &params)
            .await
            .expect("invalidated");
    });
}

/// What is spawned has to be `Send`.
#[test]
fn futures_may_go_from_thread_to_thread() {
    fn goes<T: Send>(_: T) {}
    let world = World::start();
    let store: aio::Store = world.store().into();
    let (cache, params) = (store.cache(), params());
    let climate = store
        .document::<support::Climate>(RUN, "climate")
        .expect("a document");
    goes(cache.get("ash", &params));
    goes(cache.get_or_load("ash", &params, never));
    goes(cache.get_or_load_json("ash", &params, || async { Ok(1) }));
    goes(cache.put("ash", &params, Vec::new()));
    goes(cache.put_json("ash", &params, &1));
    goes(cache.invalidate(["build_climate"], &params));
    goes(cache.invalidate_around(["build_climate"], &params, || async { Ok(()) }));
    goes(cache.close());
    goes(store.transaction((&climate,)));
    goes(store.locks(RUN));
    goes(climate.read());
    goes(climate.lock());
    goes(climate.create(&support::Climate::of(1)));
    goes(climate.update(["build_climate"], |_| Ok(())));
    goes(climate.locked(|_| Ok(())));
    goes(climate.delete(["build_climate"]));
    goes(async {
        let held = climate.lock().await?;
        let (mut held, _) = held.dump(cachetx::Save::new()).await?;
        aio::Locked::renew(&mut held).await?;
        held.dump_and_unlock().await?;
        Ok::<_, cachetx::Error>(())
    });
}
