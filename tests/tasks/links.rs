//! Connections that many tasks share.

use super::on_both_runtimes;
use crate::support::{self, Climate, RUN, World, on_every_server};
use cachetx::{NO_TASKS, Params, aio, testing::Proxy};
use std::time::Duration;

fn params() -> Params {
    Params::new().with("run_id", RUN)
}

/// None of those who ask waits for as long as a reply may take.
#[test]
fn a_connection_that_gives_no_answers_is_left_even_where_nobody_waits_for_it() {
    const PATIENCE: Duration = Duration::from_millis(500);
    let world = World::start();
    on_both_runtimes(|| async {
        let proxy = Proxy::start(world.server.port()).expect("a proxy");
        let cache = support::cache_builder()
            .url(proxy.url())
            .response_timeout(PATIENCE);
        let (cache, params) = (cache.open_async().await.expect("a cache"), params());
        cache.get("ash", &params).await.expect("answered");
        // What is on its way now takes an hour, and all that comes behind it on this connection.
        proxy.delay_replies(Duration::from_secs(3600));
        let asked = tokio::time::timeout(PATIENCE / 10, cache.get("ash", &params));
        assert!(asked.await.is_err());
        proxy.delay_replies(Duration::ZERO);
        let answered = || async {
            let asked = tokio::time::timeout(PATIENCE / 2, cache.get("ash", &params));
            asked.await.is_ok_and(|got| got.is_ok())
        };
        while !answered().await {}
        assert!(proxy.traffic().connections > 1);
        proxy.disconnect();
    });
}

/// The socket is full while the server stands still.
#[test]
fn values_get_through_while_the_socket_takes_no_more() {
    const TASKS: u8 = 64;
    on_every_server(|world| {
        on_both_runtimes(|| async {
            let cache = world.cache_builder().open_async().await.expect("a cache");
            world.server.pause().expect("paused");
            let puts: Vec<_> = (0..TASKS)
                .map(|n| {
                    let cache = cache.clone();
                    tokio::spawn(async move {
                        let params = Params::new().with("run_id", format!("run-{n}"));
                        let value = vec![n; 60 << 10];
                        cache.put("ash", &params, value.clone()).await?;
                        let got = cache.get("ash", &params).await?;
                        assert_eq!(got.as_deref(), Some(&value[..]));
                        Ok::<_, cachetx::Error>(())
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_millis(50)).await;
            world.server.resume().expect("resumed");
            for put in puts {
                put.await.expect("no panic").expect("put");
            }
        });
    });
}

/// Whatever blocks takes turns there, and nothing waits for two at a time.
#[test]
fn one_blocking_thread_is_enough() {
    let world = World::start();
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(1).build();
    runtime.expect("a runtime").block_on(async {
        let cache = world.cache_builder().open_async().await.expect("a cache");
        let store = cachetx::Store::builder(cache.clone()).root(world.root.path());
        let store = store.open_async().await.expect("a store");
        let tasks: Vec<_> = (0..32)
            .map(|n| {
                let (store, cache) = (store.clone(), cache.clone());
                tokio::spawn(async move {
                    let run = format!("run-{}", n % 8);
                    let climate = store.document::<Climate>(&run, "climate")?;
                    let made = climate.create(Climate::of(0)).await;
                    assert!(made.is_ok() || made.is_err_and(|e| e.is_already_exists()));
                    for _ in 0..4 {
                        climate
                            .locked(|climate| {
                                climate.years += 1;
                                Ok(())
                            })
                            .await?;
                        climate.read().await?;
                        let params = Params::new().with("run_id", run.as_str());
                        let change = || async { Ok(()) };
                        cache
                            .invalidate_around(["build_climate"], &params, change)
                            .await?;
                    }
                    Ok::<_, cachetx::Error>(())
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic").expect("saved");
        }
        for n in 0..8 {
            let climate = store
                .document::<Climate>(&format!("run-{n}"), "climate")
                .expect("a document");
            assert_eq!(climate.read().await.expect("read").years, 16);
            climate.delete(NO_TASKS).await.expect("deleted");
        }
    });
}

/// Both APIs of one cache have the same boot, breaker and counters.
#[test]
fn threads_and_tasks_use_one_cache_side_by_side() {
    let world = World::start();
    let climate = world.climate(&world.store());
    climate.create(&Climate::of(0)).expect("made");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let by_tasks: aio::Document<Climate> = climate.clone().into();
    let add = |climate: &mut Climate| {
        climate.years += 1;
        Ok(())
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..50 {
                    climate.locked(add).expect("saved");
                }
            });
        }
        runtime.block_on(async {
            for _ in 0..50 {
                by_tasks.locked(add).await.expect("saved");
            }
        });
    });
    assert_eq!(climate.read().expect("read").years, 150);
}
