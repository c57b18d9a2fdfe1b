//! Runs operations that are Lua on the server, as scripts or as functions: big values staged before the call, and the
//! call made once more where the server has lost the program.

use super::{
    call::Call,
    reply::{code, typed},
    session::{Failure, Session},
    wire::Packed,
};
use crate::op::{Op, Reply};
use redis::Value;

/// How the server is told which program to run.
pub(super) trait Program {
    fn pack(&self, call: &Call<'_>, packed: &mut Packed);

    /// Whether the server says that it has no such program: it has run nothing then.
    fn is_missing(&self, reply: &Value) -> bool;

    /// Loads the program and makes the call, in one round trip where loading is allowed.
    fn load_and_call(&self, session: &mut Session<'_>, call: &Call<'_>) -> Result<Value, Failure>;
}

/// One call, with the values that are staged before it. Sends all of it again, once, where a staged value was lost on
/// the way (evicted, or the server was restarted in between).
pub(super) fn perform(
    session: &mut Session<'_>,
    op: &Op,
    call: &Call<'_>,
    program: &impl Program,
) -> Result<Reply, Failure> {
    let reply = send(session, call, program)?;
    if !is_staging_missing(&reply) {
        return typed(op, reply);
    }
    let reply = send(session, call, program)?;
    typed(op, reply)
}

fn send(
    session: &mut Session<'_>,
    call: &Call<'_>,
    program: &impl Program,
) -> Result<Value, Failure> {
    let mut staged = 0;
    let mut replies = session.exchange(|packed| {
        staged = call.pack_staging(packed);
        program.pack(call, packed);
    })?;
    let mut reply = replies.split_off(staged).pop().unwrap_or(Value::Nil);
    if program.is_missing(&reply) {
        // What was staged is there still.
        session.node.counters().count_reload();
        log::info!(
            "{}: the server lacks the program of {}; loading it",
            session.node.shown_url(),
            call.name.as_str()
        );
        reply = program.load_and_call(session, call)?;
    }
    session.forget_if_denied(&reply);
    // The script says "missing" of a value that the server refused; the refusal is what the caller has to know.
    let refusal = replies.into_iter().find(|reply| code(reply).is_some());
    match refusal {
        Some(refusal) if is_staging_missing(&reply) => Ok(refusal),
        _ => Ok(reply),
    }
}

fn is_staging_missing(reply: &Value) -> bool {
    match reply {
        Value::ServerError(error) => {
            error.code() == "CACHETX" && error.details() == Some("a staged value is missing")
        }
        _ => false,
    }
}
