//! Events of a server that is away, or another one than before.

use crate::{
    bed::{BOTH, Bed, Way},
    support::{self, key, until},
};
use cachetx::{KeepAlive, WhileAway};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(200);

fn impatient(way: Way, pause: Duration) -> Bed {
    let bed = Bed::with(
        way,
        |cache| {
            cache
                .connect_timeout(TIMEOUT)
                .response_timeout(TIMEOUT)
                .circuit_breaker(pause)
        },
        |store| store.keep_alive(KeepAlive::Off).while_away(WhileAway::Fail),
    );
    bed.made()
}

#[test]
fn what_is_put_off_its_replay_and_the_breaker_are_told() {
    for way in BOTH {
        let bed = impatient(way, Duration::from_millis(300));
        let halt = || bed.world.server.pause().expect("halted");
        let saved = bed.save(halt).expect("the file is saved");
        assert_eq!(saved.cache.as_str(), "deferred");
        assert!(bed.told.has("save climate [build_climate] deferred, "));
        until("the breaker has opened", || {
            // As not found, or not asked for.
            bed.load(|| Ok(Vec::new())).expect("loaded");
            bed.told.has("breaker Open")
        });
        assert!(bed.told.has("load wepp not_filled"));
        assert!(bed.try_lock().is_err_and(|e| e.is_unavailable()));
        assert!(bed.told.has("lock climate refused: unavailable"));
        bed.replay();
        assert!(bed.told.has("replay 0, 1 left, true"));
        bed.world.server.resume().expect("goes on");
        until("it is closed again, and the outbox empty", || {
            bed.ask();
            bed.told.has("breaker Closed") && bed.told.ends(", 0 left, false")
        });
    }
}

#[test]
fn a_lock_that_the_sidecar_replaces_is_told_so() {
    for way in BOTH {
        let mut bed = Bed::with(
            way,
            |cache| cache,
            |store| store.while_away(WhileAway::OsLock),
        );
        bed.create("climate").expect("made");
        bed.world.server.kill();
        let saved = bed.save(|| {}).expect("saved");
        assert_eq!(saved.cache.as_str(), "deferred");
        assert!(bed.told.has("lock climate acquired_while_away"));
    }
}

#[test]
fn an_echo_is_told() {
    for way in BOTH {
        let mut bed = Bed::new(way).made();
        bed.world.warm();
        redis::cmd("SAVE")
            .exec(&mut bed.world.redis())
            .expect("a snapshot");
        bed.save(|| {}).expect("saved");
        bed.world.server.kill();
        bed.world.server.restart().expect("back");
        bed.ask();
        until("it is told", || bed.told.has("echo true"));
        until("nothing stale is left", || {
            support::get(&mut bed.world.redis(), &key("ash")).is_none()
        });
    }
}
