//! A server that is reachable but cannot work now: unavailable, whatever the request, and distinct
//! from a wrong request.

use super::*;
use crate::op::ReadReply;
use std::{
    fs, thread,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The error of an operation that was surely not done, because of the server's state.
fn state<T: std::fmt::Debug>(result: Result<T, Fault>, word: &str) -> crate::model::Error {
    match result {
        Err(Fault::NotDone(e)) => {
            assert!(e.is_unavailable() && e.is_retryable(), "{e}");
            assert!(!e.is_server() && e.to_string().contains(word), "{e}");
            e
        }
        other => panic!("{word} was expected: {other:?}"),
    }
}

fn still_reads(bed: &Bed) {
    assert!(matches!(bed.run(read("own")), ReadReply::Found { .. }));
}

/// The server takes no writes, not even deletions, until `mend`; then everything works as before.
fn takes_no_writes(bed: &mut Bed, word: &str, mend: impl FnOnce(&mut Bed)) {
    for error in [
        state(bed.try_run(acquire("m", "me", 0)), word),
        state(bed.try_run(commit(b"new", &["a"])), word),
        state(bed.try_run(invalidate(&["a"])), word),
        state(bed.try_run(lease("b")), word),
    ] {
        assert!(error.takes_reads() && !error.takes_deletions(), "{error}");
    }
    still_reads(bed);
    assert!(bed.exists("a"));
    mend(bed);
    assert_eq!(bed.run(commit(b"new", &["a"])), committed(1));
}

#[test]
fn a_server_whose_snapshot_failed() {
    on_every_server(|bed| {
        bed.hold();
        bed.cmd::<()>(&["SET", "a", "old"]);
        // A folder in place of the snapshot, which no rename replaces.
        let place = bed.server.dir().join("dump.rdb");
        fs::create_dir(&place).unwrap();
        fs::write(place.join("x"), "").unwrap();
        bed.cmd::<()>(&["CONFIG", "SET", "save", "3600 1"]);
        bed.cmd::<redis::Value>(&["BGSAVE"]);
        let until = Instant::now() + PATIENCE;
        while !bed
            .cmd::<String>(&["INFO", "persistence"])
            .contains("rdb_last_bgsave_status:err")
        {
            assert!(Instant::now() < until, "the snapshot does not fail");
            thread::sleep(Duration::from_millis(10));
        }
        takes_no_writes(bed, "MISCONF", |bed| {
            bed.cmd::<()>(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"]);
        });
    });
}

#[test]
fn a_server_that_lacks_replicas() {
    on_every_server(|bed| {
        bed.hold();
        bed.cmd::<()>(&["SET", "a", "old"]);
        bed.cmd::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
        takes_no_writes(bed, "NOREPLICAS", |bed| {
            bed.cmd::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
        });
    });
}

#[test]
fn a_full_server_takes_deletions() {
    on_every_server(|bed| {
        bed.hold();
        bed.cmd::<()>(&["SET", "a", "old"]);
        bed.cmd::<()>(&["CONFIG", "SET", "maxmemory", "1"]);
        for error in [
            state(bed.try_run(acquire("m", "me", 0)), "OOM"),
            state(bed.try_run(commit(b"new", &["a"])), "OOM"),
            state(bed.try_run(lease("b")), "OOM"),
        ] {
            assert!(error.takes_reads() && error.takes_deletions(), "{error}");
        }
        still_reads(bed);
        assert_eq!(bed.run(invalidate(&["a"])), removed(1));
        bed.cmd::<()>(&["CONFIG", "SET", "maxmemory", "0"]);
        assert_eq!(bed.run(commit(b"new", &["a"])), committed(0));
    });
}

#[test]
fn a_server_that_has_no_connection_free() {
    on_every_server(|bed| {
        // The bed's two connections are open already.
        bed.cmd::<()>(&["CONFIG", "SET", "maxclients", "2"]);
        let engine = ServerEngine::lazy(bed.config()).unwrap();
        let words = "max number of clients";
        state(run(&engine, acquire("m", "me", 0)), words);
        state(run(&engine, read("own")), words);
        let opened = ServerEngine::open(bed.config()).map(|_| ()).unwrap_err();
        assert!(opened.is_unavailable(), "{opened}");
        bed.cmd::<()>(&["CONFIG", "SET", "maxclients", "100"]);
        assert!(run(&engine, acquire("m", "me", 0)).is_ok());
    });
}

#[test]
fn a_server_that_runs_a_slow_script() {
    on_every_server(|bed| {
        bed.cmd::<()>(&["CONFIG", "SET", "lua-time-limit", "10"]);
        let mut slow = plain(&bed.server.unix_url());
        thread::scope(|scope| {
            scope.spawn(move || {
                let endless = redis::cmd("EVAL")
                    .arg("while true do end")
                    .arg(0)
                    .exec(&mut slow);
                assert!(endless.is_err(), "it is ended by the test");
            });
            let until = Instant::now() + PATIENCE;
            loop {
                match bed.try_run(invalidate(&["a"])) {
                    // The script has not begun yet.
                    Ok(_) => assert!(Instant::now() < until, "the script does not run"),
                    // On a busy machine.
                    Err(Fault::Unknown(e)) => assert!(e.to_string().contains("in time"), "{e}"),
                    busy => {
                        state(busy, "BUSY");
                        break;
                    }
                }
            }
            state(bed.try_run(acquire("m", "me", 0)), "BUSY");
            bed.cmd::<()>(&["SCRIPT", "KILL"]);
        });
        assert!(bed.try_run(acquire("m", "me", 0)).is_ok());
    });
}
