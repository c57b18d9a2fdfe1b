//! The domain's layout: locks in database 0 under their own key, entries in database 13, foreign
//! programs on both.

use crate::support::{self, Climate, get, key, on_every_server};
use cachetx::{CacheOutcome, Engine, NO_TASKS};
use std::time::Duration;

const LOCK: &str = "nodb-lock:copacetic-sled:climate.nodb";

fn select(redis: &mut redis::Connection, database: u32) {
    let selected = redis::cmd("SELECT").arg(database).exec(redis);
    selected.expect("selected");
}

#[test]
fn saves_and_foreign_holders_meet_at_the_lock() {
    on_every_server(|world| {
        for engine in [Engine::Auto, Engine::Watch] {
            let cache = world
                .cache_builder()
                .url(format!("{}13", world.server.url()))
                .lock_database(0)
                .engine(engine)
                .open()
                .expect("a cache");
            let store = cachetx::Store::builder(&cache)
                .root(world.root.path())
                .lock_key("nodb-lock:{run_id}:{controller}.nodb")
                .lock_wait(Duration::from_millis(100))
                .open()
                .expect("a store");
            let document = world.climate(&store);
            if !document.exists().expect("looked for") {
                document.create(&Climate::of(1)).expect("created");
            }
            let mut redis = world.redis();

            // A foreign holder, in database 0.
            support::set(&mut redis, LOCK, b"somebody");
            let refused = document.try_lock().map(|_| ()).expect_err("held");
            assert!(refused.is_lock_held(), "{refused}");
            let add = |climate: &mut Climate| {
                climate.years += 1;
                Ok(())
            };
            let refused = document.update(NO_TASKS, add).expect_err("held");
            assert!(refused.is_lock_held(), "{refused}");
            redis::cmd("DEL").arg(LOCK).exec(&mut redis).expect("freed");

            let (_, outcome) = document.update(NO_TASKS, add).expect("updated");
            assert!(matches!(outcome.cache, CacheOutcome::Committed { .. }));
            let mut held = document.lock().expect("locked");
            assert!(get(&mut redis, LOCK).is_some());
            held.years += 1;
            let outcome = held
                .dump_and_unlock_with_transaction(["build_climate"])
                .expect("saved");
            assert!(matches!(outcome.cache, CacheOutcome::Committed { .. }));
            assert_eq!(get(&mut redis, LOCK), None);
            assert_eq!(get(&mut redis, &key("climate")), None);
            select(&mut redis, 13);
            let entry = get(&mut redis, &key("climate")).expect("the entry");
            assert_eq!(entry, world.on_disk().bytes());
            document.delete(["build_climate"]).expect("deleted");
        }
    });
}
