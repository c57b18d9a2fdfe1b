//! Names the library's key that holds another program's value, if an operation was refused for
//! that.

use super::{
    call::Call,
    failure::Failure,
    session::{Session, is_wrong_type},
    source::ScriptName,
};
use crate::model::{Error, error::Kind};
use redis::Value;

/// What the library stores under a key.
struct Kept {
    what: &'static str,
    /// As `TYPE` returns it.
    kind: &'static str,
}

/// By the key's name in the Lua files; `None` for a key whose type does not matter because it is
/// deleted or replaced.
fn kept(script: ScriptName, name: &str) -> Option<Kept> {
    let (what, kind) = match name {
        "lock" => ("a lock", "string"),
        "fence" => ("a lock's fence", "string"),
        "stamp" => ("an entry's stamp", "string"),
        "leases" | "group" => ("leases and marks", "hash"),
        "value" if script == ScriptName::Lease => ("an entry", "string"),
        _ => return None,
    };
    Some(Kept { what, kind })
}

/// The refusal, with the key in it if one is found, using only commands that operations call too.
/// Costs one more round trip.
pub(super) async fn named(session: &mut Session<'_>, call: &Call<'_>, error: Error) -> Error {
    let (in_locks, others) = call
        .keys()
        .into_iter()
        .filter_map(|(name, key)| Some((name, kept(call.name, name)?, key)))
        .partition::<Vec<_>, _>(|(name, ..)| ["lock", "fence"].contains(name));
    match first_in_both(session, in_locks, others).await {
        Ok(Some(message)) => Error::new(Kind::Server { message }),
        Ok(None) => error,
        // The operation itself was answered.
        Err(_) => {
            session.spoilt = true;
            error
        }
    }
}

type Keys = Vec<(&'static str, Kept, String)>;

async fn first_in_both(
    session: &mut Session<'_>,
    in_locks: Keys,
    others: Keys,
) -> Result<Option<String>, Failure> {
    session.enter_locks().await?;
    let found = first_foreign(session, in_locks).await?;
    session.leave_locks().await?;
    match found {
        None => first_foreign(session, others).await,
        found => Ok(found),
    }
}

async fn first_foreign(session: &mut Session<'_>, keys: Keys) -> Result<Option<String>, Failure> {
    if keys.is_empty() {
        return Ok(None);
    }
    let replies = session
        .exchange(|packed| {
            for (_, kept, key) in &keys {
                match kept.kind {
                    "hash" => packed.request(&[b"HMGET", key.as_bytes(), b""]),
                    _ => packed.request(&[b"GET", key.as_bytes()]),
                }
                packed.request(&[b"TYPE", key.as_bytes()]);
            }
        })
        .await?;
    let mut found = keys.iter().zip(replies.chunks(2));
    Ok(found.find_map(|((_, kept, key), replies)| match replies {
        [asked, found] if is_wrong_type(asked) => Some(said(key, kept, found)),
        _ => None,
    }))
}

/// `found` is the reply to TYPE, which may be denied.
fn said(key: &str, kept: &Kept, found: &Value) -> String {
    let Kept { what, kind } = kept;
    let found = match found {
        Value::SimpleString(found) => found,
        _ => "value of another type",
    };
    format!(
        "WRONGTYPE `{key}` is a {found}, where {what} would be a {kind}: it is another program's; let that program use another key, and delete this one (DEL {key})"
    )
}
