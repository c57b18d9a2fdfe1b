//! Locks, saves, updates, reads and deletions.

use super::on_both_runtimes;
use crate::support::{self, Climate, World, committed, key, on_every_server};
use cachetx::{Engine, NO_TASKS, aio};
use std::time::{Duration, Instant};

fn climate(world: &World, engine: Engine) -> aio::Document<Climate> {
    let cache = world.cache_builder().engine(engine).open();
    let store = cachetx::Store::builder(cache.expect("a cache")).root(world.root.path());
    world.climate(&store.open().expect("a store")).into()
}

#[test]
fn a_document_is_made_saved_updated_read_and_deleted() {
    on_every_server(|world| {
        for engine in [Engine::Auto, Engine::Watch] {
            on_both_runtimes(|| async {
                let climate = climate(world, engine);
                assert!(!climate.exists().await.expect("looked for"));
                let made = climate.create(&Climate::of(1)).await;
                committed(&made.expect("made"));
                assert_eq!(climate.read().await.expect("read").years, 1);

                let mut held = climate.lock().await.expect("locked");
                held.years += 1;
                let refused = climate.try_lock().await.expect_err("held");
                assert!(refused.is_lock_held(), "{refused}");
                let saved = held.dump_and_unlock_with_transaction(NO_TASKS).await;
                committed(&saved.expect("saved"));
                let own = support::get(&mut world.redis(), &key("climate"));
                assert_eq!(own, Some(Climate::of(2).bytes()));

                let (before, outcome) = climate
                    .update(NO_TASKS, |climate| {
                        climate.years += 1;
                        Ok(climate.years - 1)
                    })
                    .await
                    .expect("updated");
                assert_eq!(before, 2);
                committed(&outcome);
                assert_eq!(climate.read().await.expect("read").years, 3);
                assert_eq!(climate.read().await.expect("read again").years, 3);

                climate.delete(NO_TASKS).await.expect("deleted");
                assert!(climate.read().await.expect_err("gone").is_not_found());
            });
        }
    });
}

/// By updates and by locks at once: 64 tasks, one connection.
#[test]
fn no_change_of_many_tasks_is_lost() {
    const TASKS: u64 = 64;
    const TURNS: u64 = 8;
    let world = World::start();
    on_both_runtimes(|| async {
        let climate = climate(&world, Engine::Auto);
        climate.create(&Climate::of(0)).await.expect("made");
        let tasks = (0..TASKS).map(|n| {
            let climate = climate.clone();
            tokio::spawn(async move {
                for _ in 0..TURNS {
                    if n % 2 == 0 {
                        let mut held = climate.lock_timeout(Duration::from_secs(300)).await?;
                        held.years += 1;
                        held.dump_and_unlock().await?;
                    } else {
                        while let Err(e) = climate.update(NO_TASKS, add).await {
                            assert!(e.is_conflict() || e.is_lock_held() || e.is_busy(), "{e}");
                        }
                    }
                }
                Ok::<_, cachetx::Error>(())
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.expect("no panic").expect("added");
        }
        let read = climate.read().await.expect("read");
        assert_eq!(read.years, TASKS * TURNS);
        climate.delete(NO_TASKS).await.expect("deleted");
    });
}

fn add(climate: &mut Climate) -> Result<(), cachetx::BoxError> {
    climate.years += 1;
    Ok(())
}

/// Handlers that hold a guard while they wait for something else keep nobody but each other waiting.
#[test]
fn tasks_that_wait_for_a_lock_hold_no_worker() {
    let world = World::start();
    on_both_runtimes(|| async {
        let climate = climate(&world, Engine::Auto);
        climate.create(&Climate::of(0)).await.expect("made");
        let (mut checks, mut latest, start) = (0, Duration::ZERO, Instant::now());
        let handlers: Vec<_> = (0..8)
            .map(|_| {
                let climate = climate.clone();
                tokio::spawn(async move {
                    let mut held = climate.lock_timeout(Duration::from_secs(300)).await?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    held.years += 1;
                    held.dump_and_unlock().await?;
                    Ok::<_, cachetx::Error>(())
                })
            })
            .collect();
        // A check of the service's health is answered all the while.
        while handlers.iter().any(|handler| !handler.is_finished()) {
            let asked = Instant::now();
            tokio::spawn(async {}).await.expect("answered");
            latest = latest.max(asked.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
            checks += 1;
        }
        // Each of the eight holds it for 50 ms.
        assert!(start.elapsed() >= Duration::from_millis(400));
        assert!(checks > 8, "{checks}");
        eprintln!("{checks} health checks, the slowest was answered after {latest:?}");
        for handler in handlers {
            handler.await.expect("no panic").expect("saved");
        }
        assert_eq!(climate.read().await.expect("read").years, 8);
        climate.delete(NO_TASKS).await.expect("deleted");
    });
}
