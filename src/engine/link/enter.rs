//! The first requests on a connection: login, database, role.

use super::{Way, Wired, tls::explained};
use crate::engine::{Credentials, refusal::text, wire::Packed};
use redis::{RedisError, Value};
use std::{error::Error, io, sync::Arc};

/// Why a connection could not be opened. Nothing was done on the server.
pub(in crate::engine) enum Unopened {
    /// Could not connect, or not in time.
    Away(io::Error),
    /// The server refuses the user or the password, or requires one. In the server's words.
    NotLetIn { code: String, text: String },
    /// The server refuses something else. In the server's words.
    Refused { code: String, text: String },
    /// The server is not the primary.
    NotPrimary(String),
}

const DATABASES: &str =
    " (the server's setting is `databases`, in a Cluster `cluster-databases` from Valkey 9.0 on)";

impl Unopened {
    /// Whether the server was reached and closed the connection.
    pub(in crate::engine) fn is_ended(&self) -> bool {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
        let ends = [
            BrokenPipe,
            ConnectionAborted,
            ConnectionReset,
            UnexpectedEof,
        ];
        matches!(self, Self::Away(e) if ends.contains(&e.kind()))
    }

    pub(in crate::engine) fn is_not_let_in(&self) -> bool {
        matches!(self, Self::NotLetIn { .. })
    }
}

/// What was requested, in the order of the replies.
#[derive(Clone, Copy)]
enum Step {
    Login,
    Database,
    Role,
    Ping,
}

/// Takes one round trip, or none if there is nothing to send. With TLS there is always one: a
/// server rejects a client's certificate in its answer.
pub(super) fn enter(
    link: &mut Wired,
    way: &Way,
    credentials: Option<&Credentials>,
) -> Result<(), Unopened> {
    let mut packed = Packed::default();
    let steps = pack(&mut packed, way, credentials);
    if steps.is_empty() {
        return Ok(());
    }
    link.send(&packed.bytes).map_err(away)?;
    // The first refusal counts: a server may close the connection after it.
    let mut steps = steps.into_iter();
    steps.try_for_each(|step| check(step, &link.receive().map_err(away)?))
}

pub(super) fn away(e: RedisError) -> Unopened {
    // The client library keeps the cause in this form.
    let kept = e.source().and_then(|e| e.downcast_ref::<Arc<AnyError>>());
    let io = kept.and_then(|e| e.downcast_ref::<io::Error>());
    Unopened::Away(io.map_or_else(|| io::Error::other(e.to_string()), explained))
}

type AnyError = dyn Error + Send + Sync;

fn pack(packed: &mut Packed, way: &Way, credentials: Option<&Credentials>) -> Vec<Step> {
    let mut steps = Vec::new();
    match (way.resp3, credentials) {
        (true, None) => packed.request(&[b"HELLO", b"3"]),
        (true, Some(login)) => {
            let user = login.user.as_deref().unwrap_or("default");
            let words = [user.as_bytes(), login.password.as_bytes()];
            packed.request(&[b"HELLO", b"3", b"AUTH", words[0], words[1]]);
        }
        (false, Some(login)) => match &login.user {
            Some(user) => packed.request(&[b"AUTH", user.as_bytes(), login.password.as_bytes()]),
            None => packed.request(&[b"AUTH", login.password.as_bytes()]),
        },
        (false, None) => {}
    }
    if packed.count > 0 {
        steps.push(Step::Login);
    }
    if way.database != 0 {
        packed.select(way.database);
        steps.push(Step::Database);
    }
    if way.primary_only {
        packed.request(&[b"ROLE"]);
        steps.push(Step::Role);
    }
    if steps.is_empty() && way.tls.is_some() {
        packed.request(&[b"PING"]);
        steps.push(Step::Ping);
    }
    steps
}

fn check(step: Step, reply: &Value) -> Result<(), Unopened> {
    let Value::ServerError(error) = reply else {
        return match step {
            Step::Role => check_role(reply),
            _ => Ok(()),
        };
    };
    let (code, text) = (error.code().to_owned(), text(error.code(), error.details()));
    match (step, code.as_str()) {
        // If the ACL denies ROLE, the sentinel is believed.
        (Step::Role, "NOPERM") => Ok(()),
        (_, "WRONGPASS" | "NOAUTH") => Err(Unopened::NotLetIn { code, text }),
        // Any other answer to it will do.
        (Step::Ping, _) => Ok(()),
        (Step::Database, "ERR") => {
            let text = format!("{text}: the URL names a database that is not there{DATABASES}");
            Err(Unopened::Refused { code, text })
        }
        _ => Err(Unopened::Refused { code, text }),
    }
}

/// A sentinel may be out of date, so the server itself must say that it is the primary.
fn check_role(reply: &Value) -> Result<(), Unopened> {
    let role = match reply {
        Value::Array(parts) => parts.first(),
        _ => None,
    };
    let why = match role {
        Some(Value::BulkString(role)) if role == b"master" => return Ok(()),
        Some(Value::BulkString(_)) => "it follows another server",
        _ => "its answer makes no sense",
    };
    Err(Unopened::NotPrimary(why.to_owned()))
}
