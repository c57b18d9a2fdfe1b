//! One server and the connections to it.

use super::{
    boot::Booted,
    config::ServerConfig,
    counters::Counters,
    refusal::{refused, text, unavailable, with_unknown_effect},
    run_id::{Identity, RunId},
    session::{Failure, Session},
    source::Databases,
    topology::{Address, Redirect},
    wire::Packed,
};
use crate::{
    Error, Result,
    error::{Effect, Kind},
    limits,
    op::Fault,
};
use redis::{Client, Connection};
use scheduled_thread_pool::ScheduledThreadPool;
use std::{
    convert::Infallible,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
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
    pool: r2d2::Pool<Slots>,
    client: Client,
    config: ServerConfig,
    counters: Arc<Counters>,
    /// For a server that does not tell which run of it this is: see [`RunId::untold`].
    run_number: AtomicU64,
    /// Empty until the first boot, and again after the server turned out not to be the one that was booted.
    booted: RwLock<Option<Arc<Booted>>>,
}

impl Node {
    /// Connects nothing yet.
    pub(super) fn new(config: ServerConfig, counters: Arc<Counters>) -> Result<Self> {
        let client = config.client()?;
        // Making a slot is no work and needs no more than one thread.
        let threads = ScheduledThreadPool::builder()
            .num_threads(1)
            .thread_name_pattern("cachetx-pool-{}")
            .build();
        let pool = r2d2::Pool::builder()
            .max_size(config.pool_size)
            .min_idle(Some(0))
            // The default asks the server at each check-out: one more round trip.
            .test_on_check_out(false)
            .connection_timeout(config.connect_timeout + config.response_timeout)
            .thread_pool(Arc::new(threads))
            .build_unchecked(Slots);
        Ok(Self {
            pool,
            client,
            config,
            run_number: AtomicU64::new(counters.next_run_number()),
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

    /// The server's run, where it does not tell which one it is.
    pub(super) fn untold_run(&self) -> RunId {
        RunId::untold(self.run_number.load(SeqCst))
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
        let mut slot = self.pool.get().map_err(|_| {
            let size = self.config.pool_size;
            let error = unavailable(format!("all {size} connections are in use"), Effect::None);
            Miss::new(Fault::NotDone(error), Cause::Refused)
        })?;
        let mut failure = None;
        for _ in 0..limits::SEND_ATTEMPTS {
            let reused = slot.connection.is_some();
            let (connection, identity) = match slot.connection.take() {
                Some(known) => known,
                None => match self.connect(failure.is_some() || slot.failed) {
                    Ok(connection) => (connection, Identity::Unasked),
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
            let Slot { buffer, .. } = &mut *slot;
            buffer.asking = asking == Asking::Yes;
            let mut session = Session {
                connection,
                packed: buffer,
                node: self,
                identity,
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
                        identity,
                        redirect,
                        spoilt,
                        ..
                    } = session;
                    // Behind the same name there may be another server by now: the primary.
                    let demoted = redirect == Some(Redirect::ReadOnly);
                    slot.connection = (!spoilt && !demoted).then_some((connection, identity));
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
            let number = self.counters.next_run_number();
            self.run_number.store(number, SeqCst);
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

/// A place in the pool. Its connection is made by the thread that needs it, so that a failure is that thread's own and
/// at once, where the pool would wait and retry.
#[derive(Default)]
struct Slot {
    connection: Option<(Connection, Identity)>,
    /// Its last connection was lost.
    failed: bool,
    /// Kept from request to request: packing into a warm one saves 4 to 13 percent at 256 KiB.
    buffer: Packed,
}

impl Slot {
    /// Gives the memory of an unusually big request back.
    fn trim(&mut self) {
        self.buffer.clear();
        self.buffer.bytes.shrink_to(limits::WARM_BUFFER_BYTES);
    }
}

struct Slots;

impl r2d2::ManageConnection for Slots {
    type Connection = Slot;
    type Error = Infallible;

    fn connect(&self) -> Result<Slot, Infallible> {
        Ok(Slot::default())
    }

    fn is_valid(&self, _: &mut Slot) -> Result<(), Infallible> {
        Ok(())
    }

    fn has_broken(&self, _: &mut Slot) -> bool {
        false
    }
}
