//! Runs operations as Lua scripts: EVALSHA, healed where the server has lost the script.

use super::{
    boot,
    call::Call,
    reply::{code, typed},
    session::{Failure, Session},
    source::{Script, Scripts},
};
use crate::op::{Op, Reply};
use redis::Value;

/// One EVALSHA, with the values that are staged before it. Sends all of it again, once, where a staged value was lost
/// on the way (evicted, or the server was restarted in between).
pub(super) fn perform(
    session: &mut Session<'_>,
    op: &Op,
    call: &Call<'_>,
    scripts: &Scripts,
) -> Result<Reply, Failure> {
    let script = scripts.get(call.name);
    let reply = send(session, call, script)?;
    if !is_staging_missing(&reply) {
        return typed(op, reply);
    }
    let reply = send(session, call, script)?;
    typed(op, reply)
}

fn send(session: &mut Session<'_>, call: &Call<'_>, script: &Script) -> Result<Value, Failure> {
    let mut staged = 0;
    let mut replies = session.exchange(|packed| {
        staged = call.pack_staging(packed);
        call.pack(script, packed);
    })?;
    let mut reply = replies.split_off(staged).pop().unwrap_or(Value::Nil);
    if code(&reply) == Some("NOSCRIPT") {
        reply = heal(session, call, script)?;
    }
    // The script says "missing" of a value that the server refused; the refusal is what the caller has to know.
    let refusal = replies.into_iter().find(|reply| code(reply).is_some());
    match refusal {
        Some(refusal) if is_staging_missing(&reply) => Ok(refusal),
        _ => Ok(reply),
    }
}

/// Loads the script that this server has lost, once, and calls it again. What was staged is there still.
fn heal(session: &mut Session<'_>, call: &Call<'_>, script: &Script) -> Result<Value, Failure> {
    let node = session.node;
    node.counters().count_reload();
    log::info!(
        "{}: the server lacks the script {}; loading it",
        node.shown_url(),
        call.name.as_str()
    );
    let text = script.text.as_bytes();
    let loaded = session.ask(|packed| packed.request(&[b"SCRIPT", b"LOAD", text]))?;
    if code(&loaded) == Some("NOPERM") {
        return session.ask(|packed| call.pack_whole(script, packed));
    }
    if let Err(failure) = boot::check_sha(&script.sha, &loaded) {
        node.forget_boot();
        return Err(failure);
    }
    session.ask(|packed| call.pack(script, packed))
}

fn is_staging_missing(reply: &Value) -> bool {
    match reply {
        Value::ServerError(error) => {
            error.code() == "CACHETX" && error.details() == Some("a staged value is missing")
        }
        _ => false,
    }
}
