//! Connections of the caller's own client, with its TLS and its credentials.

use super::{Unopened, enter::away};
use crate::engine::refusal::text;
use redis::{Client, Connection, ErrorKind, ProtocolVersion, RedisError};
use std::{borrow::Cow, time::Duration};

/// Connects within `timeout`, as far as the client keeps to it. From then on each read and each
/// write waits for up to `patience`. A connection that `listens` speaks RESP3.
pub(super) fn open(
    client: &Client,
    listens: bool,
    timeout: Duration,
    patience: Duration,
) -> Result<Connection, Unopened> {
    let mut client = Cow::Borrowed(client);
    if listens {
        let info = client.get_connection_info();
        let settings = info.redis_settings().clone();
        let settings = settings.set_protocol(ProtocolVersion::RESP3);
        let info = info.clone().set_redis_settings(settings);
        client = Cow::Owned(Client::open(info).map_err(unopened)?);
    }
    let mut connection = client
        .get_connection_with_timeout(timeout)
        .map_err(unopened)?;
    set_patience(&mut connection, patience).map_err(unopened)?;
    Ok(connection)
}

pub(super) fn set_patience(
    connection: &mut Connection,
    patience: Duration,
) -> Result<(), RedisError> {
    connection.set_read_timeout(Some(patience))?;
    connection.set_write_timeout(Some(patience))
}

fn unopened(e: RedisError) -> Unopened {
    let code = match (e.kind(), e.code()) {
        // The client library may drop the server's error code.
        (ErrorKind::AuthenticationFailed, code) => code.unwrap_or("WRONGPASS"),
        (_, Some(code)) => code,
        (_, None) => return away(e),
    };
    let (code, shown) = (code.to_owned(), e.to_string());
    let text = text(&code, Some(e.detail().unwrap_or(&shown)));
    match e.kind() {
        ErrorKind::AuthenticationFailed => Unopened::NotLetIn { code, text },
        _ => Unopened::Refused { code, text },
    }
}
