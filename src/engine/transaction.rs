//! The outcome of a transaction that was sent whole, MULTI to EXEC, in one write.

use super::{
    failure::{Failure, nonsense},
    reply::server_error,
    session::Session,
};
use crate::model::{Effect, Error};
use redis::Value;

/// The results of its commands, from the replies to all that was sent.
///
/// # Errors
///
/// A command was refused when it was queued: nothing was done. If the server refused MULTI or EXEC,
/// the outcome is unknown.
pub(super) fn results(
    session: &mut Session<'_>,
    mut replies: Vec<Value>,
) -> Result<Vec<Value>, Failure> {
    let error = match replies.pop() {
        Some(Value::Array(results)) => return Ok(results),
        Some(Value::ServerError(error)) => error,
        _ => return Err(nonsense("EXEC")),
    };
    let cause = replies.iter().find_map(refusal);
    if error.code() == "EXECABORT" {
        // `EXECABORT Transaction discarded because of: READONLY …` if no single command was
        // refused.
        return Err(Failure::Refused(
            cause.unwrap_or_else(|| server_error(&error)),
        ));
    }
    // Without MULTI the commands have run one by one; without EXEC they are still queued.
    session.spoilt = true;
    session.forget_if_denied(replies.first().unwrap_or(&Value::Nil));
    session.forget_if_denied(&Value::ServerError(error.clone()));
    let error = cause.unwrap_or_else(|| server_error(&error));
    Err(Failure::Midway(error.effect_is(Effect::Unknown)))
}

/// The error, if the reply is one.
pub(super) fn refusal(reply: &Value) -> Option<Error> {
    match reply {
        Value::ServerError(error) => Some(server_error(error)),
        _ => None,
    }
}
