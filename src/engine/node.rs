//! One server and the connections to it.

use super::{
    boot::Booted,
    config::ServerConfig,
    counters::Counters,
    pool::Pool,
    refusal::{refused, text, unavailable, with_unknown_effect},
    session::{Failure, Session},
    source::Databases,
    topology::{Address, Redirect},
};
use crate::{
    Error, Result,
    error::{Effect, Kind},
    limits,
    op::Fault,
    signals,
};
use redis::{Client, Connection};
use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

/// Whether a Cluster's node is asked for keys that are only on their way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asking {
    Yes,
    No,
}

/// Why a server gave no reply.
#[derive(Debug)]
pub(super) struct Miss {
    /// For the caller, where nobody else is asked.
    pub(super) fault: Fault,
    pub(super) cause: Cause,
}

/// Whether another server may be the one to ask.
#[derive(Debug)]
pub(super) enum Cause {
    /// No connection was to be had.
    Unreached,
    /// It says so.
    Elsewhere(Redirect),
    /// It refused for a reason of its own, or broke off: no other is a better one to ask.
    Refused,
    /// It gave no answer.
    Lost,
}

impl Miss {
    fn new(fault: Fault, cause: Cause) -> Self {
        Self { fault, cause }
    }
}

/// One server: a pool of slots that connect when they are first used, and what a boot found there.
pub(super) struct Node {
    pool: Pool,
    client: Client,
    config: ServerConfig,
    counters: Arc<Counters>,
    /// Empty until the first boot, and again after the server turned out not to be the one that was booted.
    booted: RwLock<Option<Arc<Booted>>>,
}

impl Node {
    /// Connects nothing yet.
    pub(super) fn new(config: ServerConfig, counters: Arc<Counters>) -> Result<Self> {
        let client = config.client()?;
        Ok(Self {
            pool: Pool::new(config.pool_size),
            client,
            config,
            counters,
            booted: RwLock::new(None),
        })
    }

    /// The server's URL, fit to be shown.
    pub(super) fn shown_url(&self) -> String {
        self.config.shown()
    }

    /// Its host and port; `None` for a Unix socket.
    pub(super) fn address(&self) -> Option<Address> {
        Address::of(self.client.get_connection_info().addr())
    }

    pub(super) fn response_timeout(&self) -> Duration {
        self.config.response_timeout
    }

    /// `None` where locks live in the cache's own database.
    pub(super) fn databases(&self) -> Option<Databases> {
        let cache = self.client.get_connection_info().redis_settings().db();
        let databases = Databases {
            lock: self.config.lock_database?,
            cache: u32::try_from(cache).ok()?,
        };
        (databases.lock != databases.cache).then_some(databases)
    }

    pub(super) fn config(&self) -> &ServerConfig {
        &self.config
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What the last boot found.
    pub(super) fn booted(&self) -> Option<Arc<Booted>> {
        let known = self.booted.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    pub(super) fn set_booted(&self, booted: Arc<Booted>) {
        *self.booted.write().unwrap_or_else(PoisonError::into_inner) = Some(booted);
    }

    /// Another server took over with the address: it may understand another dialect.
    pub(super) fn forget_boot(&self) {
        *self.booted.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Runs `work` on a connection. Where one from the pool turns out to be closed (the server restarted, or ended it
    /// while it was idle), runs it once more on a new one: so everything in `work` must be safe to repeat.
    pub(super) fn attempt<T>(
        &self,
        asking: Asking,
        work: &mut impl FnMut(&mut Session<'_>) -> Result<T, Failure>,
    ) -> Result<T, Miss> {
        let taken = self.pool.take(self.config.patience());
        let mut slot = taken.ok_or_else(|| {
            let size = self.config.pool_size;
            let error = unavailable(format!("all {size} connections are in use"), Effect::None);
            Miss::new(Fault::NotDone(error), Cause::Refused)
        })?;
        let mut failure = None;
        for _ in 0..limits::SEND_ATTEMPTS {
            let reused = slot.connection.is_some();
            let connection = match slot.connection.take() {
                Some(connection) => connection,
                None => match self.connect(failure.is_some() || slot.failed) {
                    Ok(connection) => connection,
                    // What was sent on the closed one may have been executed.
                    Err(e) => {
                        let cause = match e.is_unavailable() {
                            true => Cause::Unreached,
                            false => Cause::Refused,
                        };
                        let fault = match failure {
                            Some(_) => Fault::Unknown(with_unknown_effect(&e)),
                            None => Fault::NotDone(e),
                        };
                        return Err(Miss::new(fault, cause));
                    }
                },
            };
            if !reused {
                slot.opened = Some(Instant::now());
            }
            let buffer = &mut slot.buffer;
            buffer.asking = asking == Asking::Yes;
            let mut session = Session {
                connection,
                packed: buffer,
                node: self,
                redirect: None,
                spoilt: false,
            };
            match work(&mut session) {
                Err(Failure::Lost { error, closed }) => {
                    // The connection goes: its late reply would be taken for the next one.
                    drop(session);
                    slot.failed = true;
                    let again = reused && closed;
                    log::debug!("{}: connection lost: {error}", self.shown_url());
                    failure = Some(error);
                    if !again {
                        break;
                    }
                }
                done => {
                    let Session {
                        connection,
                        redirect,
                        spoilt,
                        ..
                    } = session;
                    // Behind the same name there may be another server by now: the primary.
                    let demoted = redirect == Some(Redirect::ReadOnly);
                    slot.connection = (!spoilt && !demoted).then_some(connection);
                    slot.failed = demoted;
                    slot.trim();
                    return done.map_err(|failed| {
                        let fault = match failed {
                            Failure::Refused(error) if failure.is_none() => Fault::NotDone(error),
                            // Refused now, and before that sent on a connection that was closed.
                            Failure::Refused(error) => Fault::Unknown(with_unknown_effect(&error)),
                            Failure::Midway(error) | Failure::Lost { error, .. } => {
                                return Miss::new(Fault::Unknown(error), Cause::Refused);
                            }
                        };
                        Miss::new(fault, redirect.map_or(Cause::Refused, Cause::Elsewhere))
                    });
                }
            }
        }
        slot.trim();
        let error = failure
            .unwrap_or_else(|| unavailable("the connection was lost".to_owned(), Effect::Unknown));
        Err(Miss::new(Fault::Unknown(error), Cause::Lost))
    }

    fn connect(&self, again: bool) -> Result<Connection> {
        if again {
            self.counters.count_reconnect();
            log::info!("{}: connecting again", self.shown_url());
        }
        self.connect_by(&self.client, self.config.response_timeout)
    }

    /// A connection of the caller's own for messages, whose reads give up soon. By RESP3, where they are told from replies:
    /// by RESP2 the client library takes one that comes after a time-out for the reply that was late, and drops it.
    pub(super) fn connect_to_listen(&self) -> Result<Connection> {
        let info = self.client.get_connection_info().clone();
        let redis = info.redis_settings().clone();
        let redis = redis.set_protocol(redis::ProtocolVersion::RESP3).set_db(0);
        let client = Client::open(info.set_redis_settings(redis));
        let unusable = |e: redis::RedisError| Error::new(Kind::Config(e.to_string()));
        self.connect_by(&client.map_err(unusable)?, limits::LISTEN_LOOK)
    }

    /// Once the server has let it in, reads wait no longer than `patience`.
    fn connect_by(&self, client: &Client, patience: Duration) -> Result<Connection> {
        let failed = |e: redis::RedisError| {
            let address = self.shown_url();
            match e.code() {
                Some(code) => refused(&format!("{address}: {}", text(code, e.detail())), code),
                None if e.kind() == redis::ErrorKind::AuthenticationFailed => {
                    let message = format!("{address}: {e}");
                    Error::new(Kind::Server { message })
                }
                None => unavailable(format!("cannot connect to {address}: {e}"), Effect::None),
            }
        };
        let _held_back = signals::hold_back();
        let timeout = self.config.connect_timeout;
        let connection = client.get_connection_with_timeout(timeout);
        let mut connection = connection.map_err(failed)?;
        let timeout = Some(self.config.response_timeout);
        connection.set_read_timeout(timeout).map_err(failed)?;
        connection.set_write_timeout(timeout).map_err(failed)?;
        if self.config.primary_only {
            connection = self.checked_primary(connection)?;
        }
        if patience != self.config.response_timeout {
            let timeout = Some(patience);
            connection.set_read_timeout(timeout).map_err(failed)?;
        }
        Ok(connection)
    }

    /// A sentinel may be behind: the server itself has to say that it is the primary. One that may not be asked is believed.
    fn checked_primary(&self, mut connection: Connection) -> Result<Connection> {
        let role: redis::RedisResult<redis::Value> = redis::cmd("ROLE").query(&mut connection);
        let why = match role {
            Ok(redis::Value::Array(parts)) => match parts.first() {
                Some(redis::Value::BulkString(role)) if role == b"master" => return Ok(connection),
                _ => "it follows another server".to_owned(),
            },
            Err(e) if e.code() == Some("NOPERM") => return Ok(connection),
            Ok(_) => "its answer makes no sense".to_owned(),
            Err(e) => e.to_string(),
        };
        let message = format!("{} is not the primary: {why}", self.shown_url());
        Err(unavailable(message, Effect::None))
    }
}
