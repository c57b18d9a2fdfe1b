//! A connection to a server: requests out, replies in, each within its time limit.
//!
//! The client library parses URLs and replies; the sockets are our own. The library's TLS is a
//! feature that breaks the build of a program that uses the library with tokio. It checks the
//! certificate only for the host that it connects to, not for another server name. And it treats a
//! call that a signal interrupts as a lost reply.

#[cfg(feature = "redis-1")]
mod client;
mod enter;
#[cfg(feature = "tokio")]
mod readiness;
mod socket;
#[cfg(feature = "tokio")]
mod task;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod way;

pub(super) use enter::Unopened;
#[cfg(feature = "tokio")]
pub(super) use task::TaskLink;
pub(super) use way::{Target, Way, is_tls};

#[cfg(all(feature = "tokio", feature = "redis-1"))]
use super::net::Net;
use super::{
    Credentials, TlsOptions,
    counters::IsOpen,
    failure::Failure,
    refusal::{ends_the_connection, unavailable},
    reply::server_error,
    wire::Packed,
};
use crate::model::Effect;
use redis::{Parser, RedisResult, Value};
use socket::{Bound, Wire};
#[cfg(all(feature = "tokio", feature = "redis-1"))]
use std::sync::Arc;
use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};
#[cfg(all(feature = "tokio", feature = "redis-1"))]
use tokio::sync::Semaphore;

/// Reads the files that the options name, so that errors in them show before a server is asked.
pub(super) fn check_tls(options: &TlsOptions) -> io::Result<()> {
    tls::check(options)
}

/// A connection after login.
pub(super) enum Connection {
    Wired(Wired),
    /// From the caller's own client.
    #[cfg(feature = "redis-1")]
    Client(Box<redis::Connection>, Option<IsOpen>),
}

/// A connection over our own socket.
pub(super) struct Wired {
    wire: Box<dyn Wire>,
    parser: Parser,
    counted: Option<IsOpen>,
}

/// A connection, in the form that its caller can wait for.
pub(super) enum Link {
    Thread(Connection),
    #[cfg(feature = "tokio")]
    Task(TaskLink),
    /// A blocking connection for tasks. Threads of the runtime run its exchanges, a bounded number
    /// at a time. `None` during an exchange.
    #[cfg(all(feature = "tokio", feature = "redis-1"))]
    Aside(Option<Connection>, Arc<Semaphore>),
}

impl Link {
    /// Sends all packed requests in one write and waits for as many replies. Errors count as
    /// replies; pushes do not.
    pub(super) async fn exchange(&mut self, packed: &Packed) -> Result<Vec<Value>, Failure> {
        match self {
            Self::Thread(connection) => connection.exchange(&packed.bytes, packed.count),
            #[cfg(feature = "tokio")]
            Self::Task(link) => link.exchange(packed).await,
            #[cfg(all(feature = "tokio", feature = "redis-1"))]
            Self::Aside(mine, threads) => exchange_aside(mine, threads, packed).await,
        }
    }

    /// Sets how long each later exchange waits.
    pub(super) fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        match self {
            Self::Thread(connection) => connection.set_patience(patience),
            #[cfg(feature = "tokio")]
            Self::Task(link) => {
                link.set_patience(patience);
                Ok(())
            }
            #[cfg(all(feature = "tokio", feature = "redis-1"))]
            Self::Aside(mine, _) => match mine {
                Some(connection) => connection.set_patience(patience),
                None => Err(io::ErrorKind::NotConnected.into()),
            },
        }
    }
}

/// Puts the connection back after the exchange.
#[cfg(all(feature = "tokio", feature = "redis-1"))]
async fn exchange_aside(
    mine: &mut Option<Connection>,
    threads: &Arc<Semaphore>,
    packed: &Packed,
) -> Result<Vec<Value>, Failure> {
    let thread = Arc::clone(threads).acquire_owned().await;
    let mut connection = mine.take().ok_or_else(ended_by_its_task)?;
    let (bytes, count) = (packed.bytes.clone(), packed.count);
    let asked = Net::Tasks.aside(move || {
        let _thread = thread;
        let replies = connection.exchange(&bytes, count);
        Ok((connection, replies))
    });
    let (connection, replies) = asked.await.map_err(|_| ended_by_its_task())?;
    *mine = Some(connection);
    replies
}

impl Connection {
    /// Connects and logs in within `timeout`; the name lookup is not bounded. From then on each
    /// call waits for up to `patience`.
    pub(super) fn open(
        way: &Way,
        credentials: Option<&Credentials>,
        timeout: Duration,
        patience: Duration,
    ) -> Result<Self, Unopened> {
        #[cfg(feature = "redis-1")]
        if let Some(client) = &way.client {
            let opened = client::open(client, way.resp3, timeout, patience)?;
            return Ok(Self::Client(Box::new(opened), None));
        }
        Wired::open(way, credentials, timeout, patience).map(Self::Wired)
    }

    /// Counts the connection as open until it is closed.
    pub(super) fn is_counted(&mut self, counted: IsOpen) {
        match self {
            Self::Wired(wired) => wired.counted = Some(counted),
            #[cfg(feature = "redis-1")]
            Self::Client(_, theirs) => *theirs = Some(counted),
        }
    }

    /// Sets how long each later call waits.
    pub(super) fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        match self {
            Self::Wired(wired) => wired.bind(Bound::Each(patience)),
            #[cfg(feature = "redis-1")]
            Self::Client(theirs, _) => {
                client::set_patience(theirs, patience).map_err(io::Error::other)
            }
        }
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> RedisResult<()> {
        match self {
            Self::Wired(wired) => wired.send(bytes),
            #[cfg(feature = "redis-1")]
            Self::Client(theirs, _) => theirs.send_packed_command(bytes),
        }
    }

    /// The next reply or push message. After a time-out, the rest of it may still be received.
    pub(super) fn receive(&mut self) -> RedisResult<Value> {
        match self {
            Self::Wired(wired) => wired.receive(),
            #[cfg(feature = "redis-1")]
            Self::Client(theirs, _) => theirs.recv_response(),
        }
    }

    fn exchange(&mut self, bytes: &[u8], count: usize) -> Result<Vec<Value>, Failure> {
        self.send(bytes).map_err(lost)?;
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            take(&mut replies, self.receive().map_err(lost)?)?;
        }
        Ok(replies)
    }
}

impl Wired {
    fn open(
        way: &Way,
        credentials: Option<&Credentials>,
        timeout: Duration,
        patience: Duration,
    ) -> Result<Self, Unopened> {
        let until = Instant::now() + timeout;
        let mut link = Self {
            wire: way.connect(until).map_err(Unopened::Away)?,
            parser: Parser::new(),
            counted: None,
        };
        link.bind(Bound::Until(until)).map_err(Unopened::Away)?;
        enter::enter(&mut link, way, credentials)?;
        link.bind(Bound::Each(patience)).map_err(Unopened::Away)?;
        Ok(link)
    }

    fn bind(&mut self, bound: Bound) -> io::Result<()> {
        self.wire.socket().bind(bound)
    }

    fn send(&mut self, bytes: &[u8]) -> RedisResult<()> {
        self.wire.write_all(bytes)?;
        Ok(self.wire.flush()?)
    }

    fn receive(&mut self) -> RedisResult<Value> {
        self.parser.parse_value(&mut *self.wire)
    }
}

/// Stores a reply, unless it is a push.
fn take(replies: &mut Vec<Value>, reply: Value) -> Result<(), Failure> {
    match reply {
        Value::Push { .. } => {}
        Value::ServerError(error) if is_last_word(&error) => {
            return Err(ended(&error, replies.is_empty()));
        }
        reply => replies.push(reply),
    }
    Ok(())
}

fn is_last_word(error: &redis::ServerError) -> bool {
    ends_the_connection(error.code(), error.details().unwrap_or_default())
}

/// The server reads nothing after such an error. It may have done what it answered before.
fn ended(error: &redis::ServerError, nothing_done: bool) -> Failure {
    let error = server_error(error);
    match nothing_done {
        true => Failure::Refused(error),
        false => Failure::Lost {
            error: error.effect_is(Effect::Unknown),
            closed: false,
        },
    }
}

fn lost(e: redis::RedisError) -> Failure {
    let message = if e.is_timeout() {
        "no reply in time".to_owned()
    } else {
        format!("the connection was lost: {e}")
    };
    Failure::Lost {
        closed: e.is_connection_dropped(),
        error: unavailable(message, Effect::Unknown),
    }
}

/// The runtime of the connection's task has ended.
#[cfg(feature = "tokio")]
fn ended_by_its_task() -> Failure {
    Failure::Lost {
        error: unavailable("the runtime has shut down".to_owned(), Effect::Unknown),
        closed: false,
    }
}

#[cfg(feature = "tokio")]
fn timed_out() -> Failure {
    lost(io::Error::from(io::ErrorKind::TimedOut).into())
}
