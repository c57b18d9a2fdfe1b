//! A server that loads its data after a restart: unavailable until that is done, then as before.

use super::*;
use std::{
    thread,
    time::{Duration, Instant},
};

const KEYS: usize = 200;
/// While loading, a server serves its clients after every two MiB.
const BYTES: usize = 64 * 1_024;
/// The server's pause at each key that it loads, in us, so that loading takes over a second.
const DELAY_US: &str = "6000";
const PATIENCE: Duration = Duration::from_secs(30);

fn slow_to_load() -> ServerOptions {
    ServerOptions::new()
        .config("key-load-delay", DELAY_US)
        .config("rdbcompression", "no")
}

#[test]
fn a_server_that_loads_is_away_until_it_has_loaded() {
    on_every_server_with(
        ENGINES,
        |_| Some(slow_to_load()),
        |bed| {
            let value = "x".repeat(BYTES);
            for n in 0..KEYS {
                bed.cmd::<()>(&["SET", &format!("k{n}"), &value]);
            }
            bed.cmd::<()>(&["SAVE"]);
            bed.server.kill();
            let (server, engine) = (&mut bed.server, &bed.engine);
            let refusals = thread::scope(|scope| {
                scope.spawn(|| server.restart().unwrap());
                let end = Instant::now() + PATIENCE;
                let mut refusals = Vec::new();
                while let Err(fault) = run(engine, acquire("l", "me", 0)) {
                    assert!(Instant::now() < end, "{refusals:?}");
                    refusals.push(fault.into_error());
                }
                refusals
            });
            assert!(refusals.iter().all(|e| e.is_unavailable()), "{refusals:?}");
            let loading = |e: &crate::model::Error| e.to_string().contains("LOADING");
            assert!(refusals.iter().any(loading), "{refusals:?}");
            bed.plain = plain(&bed.server.unix_url());
            assert_eq!(bed.run(commit(b"new", &["k1"])), committed(1));
        },
    );
}
