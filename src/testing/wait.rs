//! Waits for conditions on which several servers must agree.

use super::Server;
use std::{
    io, thread,
    time::{Duration, Instant},
};

/// How long servers may take to agree. They need a second or two on an idle machine. On a machine
/// that stood still, sentinels that see their clock jump do nothing for 30 s (TILT).
const PATIENCE: Duration = Duration::from_secs(120);
/// The pause between two checks.
const POLL: Duration = Duration::from_millis(10);

/// Checks until `done`, for a bounded time. A check that fails counts as "not yet".
pub(super) fn until(what: &str, mut done: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let mut last = String::new();
    while Instant::now() < deadline {
        match done() {
            Ok(true) => return Ok(()),
            Ok(false) => last.clear(),
            Err(e) => last = format!(" (last: {e})"),
        }
        thread::sleep(POLL);
    }
    let waited = PATIENCE.as_secs();
    Err(io::Error::other(format!(
        "waited {waited} s in vain until {what}{last}"
    )))
}

/// Sends one command on a connection of its own, over the Unix socket.
pub(super) fn ask<T: redis::FromRedisValue>(server: &Server, words: &[&str]) -> io::Result<T> {
    let query = || {
        let client = redis::Client::open(server.unix_url())?;
        let mut connection = client.get_connection_with_timeout(PATIENCE)?;
        connection.set_read_timeout(Some(PATIENCE))?;
        redis::cmd(words[0]).arg(&words[1..]).query(&mut connection)
    };
    query().map_err(|e: redis::RedisError| {
        let line = words.iter().take(3).copied().collect::<Vec<_>>().join(" ");
        io::Error::other(format!("{line}: {e}"))
    })
}

/// A field of `INFO replication`.
pub(super) fn replication(server: &Server, field: &str) -> io::Result<Option<String>> {
    let info: String = ask(server, &["INFO", "replication"])?;
    let value = |line: &str| Some(line.strip_prefix(field)?.strip_prefix(':')?.to_owned());
    Ok(info.lines().find_map(value))
}

/// Whether a replica has all that its primary has sent so far, and receives what follows.
pub(super) fn follows(server: &Server) -> io::Result<bool> {
    Ok(replication(server, "master_link_status")?.as_deref() == Some("up"))
}

/// Replicas get their first copy at once, without the usual delay to wait for further replicas.
pub(super) const FAST_SYNC: (&str, &str) = ("repl-diskless-sync-delay", "0");
