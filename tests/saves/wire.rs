//! Round trips, counted on the wire: the commit takes one, the save with its lock two, a crash-safe
//! one three.

use crate::support::{self, Climate, on_every_server, undisturbed};
use cachetx::{Guarantee, Save, Store, testing::Proxy};

#[test]
fn the_commit_is_one_round_trip_and_the_save_two() {
    on_every_server(|world| {
        let proxy = Proxy::start(world.server.port()).expect("a proxy");
        let cache = support::cache_builder()
            .url(proxy.url())
            .open()
            .expect("a cache");
        let store = Store::builder(&cache)
            .root(world.root.path())
            .open()
            .expect("a store");
        let document = world.climate(&store);
        document.create(&Climate::of(1)).expect("created");

        // Small values are in the script's arguments, big ones beside it: one round trip either
        // way.
        for note in [0, 1 << 10, 32 << 10, 1 << 20] {
            let note = "x".repeat(note);
            let save = || {
                world.warm();
                let counted = cache.stats().round_trips;
                proxy.reset();
                let mut held = document.lock().expect("locked");
                let lock = proxy.traffic().round_trips;
                held.note = note.clone();
                held.dump_and_unlock_with_transaction(["build_climate"])
                    .expect("saved");
                let counted = cache.stats().round_trips - counted;
                (lock, proxy.traffic(), counted)
            };
            let (lock, traffic, counted) = undisturbed(save, |(_, traffic, counted)| {
                (traffic.round_trips, *counted) == (2, 2)
            });
            assert_eq!(
                (lock, traffic.round_trips, traffic.connections),
                (1, 2, 0),
                "the lock and the commit, of {} bytes, on the connection that was there: {traffic:?}",
                note.len()
            );
            assert_eq!(counted, 2, "the library's own count agrees");
            assert_eq!(world.dependents(), 0);
        }

        let save = || {
            world.warm();
            proxy.reset();
            let safe = Save::new()
                .tasks(["build_climate"])
                .guarantee(Guarantee::CrashSafe);
            document.locked_with(safe, |_| Ok(())).expect("saved");
            proxy.traffic()
        };
        let traffic = undisturbed(save, |traffic| traffic.round_trips == 3);
        assert_eq!(
            traffic.round_trips, 3,
            "a crash-safe save marks before it writes"
        );
        assert_eq!(world.dependents(), 0);

        let save = || {
            document.locked(|_| Ok(())).expect("saved");
            proxy.reset();
            document.read().expect("read");
            proxy.traffic().round_trips
        };
        let round_trips = undisturbed(save, |round_trips| *round_trips == 0);
        assert_eq!(round_trips, 0, "a cold read of a young file");

        // After the server forgot its scripts: one more to load, one more to call.
        let save = || {
            redis::cmd("SCRIPT")
                .arg("FLUSH")
                .exec(&mut world.redis())
                .expect("flushed");
            let reloads = cache.stats().reloads;
            proxy.reset();
            document.locked(|_| Ok(())).expect("saved");
            (proxy.traffic().round_trips, cache.stats().reloads - reloads)
        };
        assert_eq!(
            undisturbed(save, |counted| *counted == (3, 1)),
            (3, 1),
            "the lock needs no script; that of the commit is missed, then loaded and called in one"
        );
    });
}
