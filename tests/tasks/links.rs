//! Connections that many tasks share.

use super::{eventually, on_both_runtimes};
use crate::support::{self, Climate, RUN, World};
use cachetx::{
    NO_TASKS, Params, PutOutcome, aio,
    testing::{Proxy, ServerBinary, ServerOptions},
};
use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    time::Duration,
};

fn params() -> Params {
    Params::new().with("run_id", RUN)
}

/// None of those who ask waits for as long as a reply may take.
#[test]
fn a_connection_that_gives_no_answers_is_left_even_where_nobody_waits_for_it() {
    const PATIENCE: Duration = Duration::from_secs(2);
    let world = World::start();
    on_both_runtimes(|| async {
        let proxy = Proxy::start(world.server.port()).expect("a proxy");
        let cache = support::cache_builder()
            .url(proxy.url())
            .response_timeout(PATIENCE);
        let (cache, params) = (cache.open_async().await.expect("a cache"), params());
        cache.get("ash", &params).await.expect("answered");
        let connections = proxy.traffic().connections;
        // What is on its way now takes an hour, and all that comes behind it on this connection.
        proxy.delay_replies(Duration::from_secs(3600));
        let asked = tokio::time::timeout(PATIENCE / 20, cache.get("ash", &params));
        assert!(asked.await.is_err());
        proxy.delay_replies(Duration::ZERO);
        eventually("another connection answers", async || {
            let asked = tokio::time::timeout(PATIENCE / 4, cache.get("ash", &params));
            asked.await.is_ok_and(|got| got.is_ok())
        })
        .await;
        assert!(proxy.traffic().connections > connections);
        proxy.disconnect();
    });
}

/// Each of them gives up before the connection is there.
#[test]
fn a_connection_is_opened_once_however_many_give_up_meanwhile() {
    let Some(binary) = ServerBinary::any() else {
        return;
    };
    // One that asks for a password takes an answer to be connected to.
    let server = ServerOptions::new().password("secret").start(binary);
    let server = server.expect("a server");
    on_both_runtimes(|| async {
        let proxy = Proxy::start(server.port()).expect("a proxy");
        let url = server
            .url()
            .replace(&server.port().to_string(), &proxy.port().to_string());
        let cache = aio::Cache::from(
            support::cache_builder()
                .url(url)
                .open_lazy()
                .expect("a cache"),
        );
        let params = params();
        proxy.delay_replies(Duration::from_secs(1));
        for _ in 0..50 {
            let asked = tokio::time::timeout(Duration::from_millis(2), cache.get("ash", &params));
            assert!(asked.await.is_err());
        }
        proxy.delay_replies(Duration::ZERO);
        eventually("it answers", async || {
            cache.get("ash", &params).await.is_ok()
        })
        .await;
        assert_eq!(proxy.traffic().connections, 1);
    });
}

/// A value takes longer to come than a reply may take, and moves all the while.
#[test]
fn a_slow_network_is_no_silence() {
    const PATIENCE: Duration = Duration::from_secs(2);
    let world = World::start();
    let port = slow(world.server.port(), PATIENCE * 2);
    on_both_runtimes(|| async {
        let cache = support::cache_builder()
            .url(format!("redis://127.0.0.1:{port}/"))
            .response_timeout(PATIENCE);
        let (cache, params) = (cache.open_async().await.expect("a cache"), params());
        let value = vec![b'x'; SLOW_BYTES];
        let put = cache.put("ash", &params, value.clone()).await;
        assert_eq!(put.expect("put"), PutOutcome::Set);
        let got = cache.get("ash", &params).await.expect("got");
        assert_eq!(got.as_deref(), Some(&value[..]));
        cache
            .invalidate(["build_climate"], &params)
            .await
            .expect("invalidated");
    });
}

const SLOW_BYTES: usize = 4 << 20;

/// Forwards to that port, and takes so long for `SLOW_BYTES` that come from there. (What goes there is in the system's buffers at once.)
fn slow(server: u16, time: Duration) -> u16 {
    const PIECES: u32 = 64;
    fn forward(mut from: TcpStream, mut to: TcpStream, pause: Duration) {
        let mut piece = vec![0; SLOW_BYTES / PIECES as usize];
        while let Ok(n @ 1..) = from.read(&mut piece) {
            if to.write_all(&piece[..n]).is_err() {
                break;
            }
            std::thread::sleep(pause * n as u32 / piece.len() as u32);
        }
        let _ = to.shutdown(Shutdown::Both);
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = TcpStream::connect(("127.0.0.1", server)).expect("it listens");
            let back = (server.try_clone(), client.try_clone());
            let (Ok(from), Ok(to)) = back else { return };
            std::thread::spawn(move || forward(client, server, Duration::ZERO));
            std::thread::spawn(move || forward(from, to, time / PIECES));
        }
    });
    port
}

/// Also where some ask for something that need not know which server it is, and others for what must.
#[test]
fn each_call_takes_one_round_trip_on_a_shared_connection() {
    let world = World::start();
    on_both_runtimes(|| async {
        let cache = world.cache_builder().open_async().await.expect("a cache");
        let params = params();
        let mut most = u64::MAX;
        for _ in 0..4 {
            let before = cache.stats().round_trips;
            for _ in 0..20 {
                let invalidated = cache.invalidate(["build_climate"], &params);
                let (got, invalidated) = tokio::join!(cache.get("ash", &params), invalidated);
                got.expect("got");
                invalidated.expect("invalidated");
            }
            most = most.min(cache.stats().round_trips - before);
        }
        // Something else may be asked in the background.
        assert_eq!(most, 40);
    });
}

/// Its connections end with it.
#[test]
fn a_cache_outlives_runtimes() {
    let world = World::start();
    let cache = aio::Cache::from(world.cache());
    let params = params();
    for n in 0..4 {
        on_both_runtimes(|| async {
            cache.put_json("ash", &params, &n).await.expect("put");
            let got = cache.get_json("ash", &params).await;
            assert_eq!(got.expect("got"), Some(n));
        });
    }
    let [one, other] = [(), ()].map(|()| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    });
    for n in 0..20 {
        let value = one.block_on(cache.put_json("ash", &params, &n));
        assert_eq!(value.expect("put"), PutOutcome::Set);
        let got = other.block_on(cache.get_json("ash", &params));
        assert_eq!(got.expect("got"), Some(n));
    }
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
                    let made = climate.create(&Climate::of(0)).await;
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
