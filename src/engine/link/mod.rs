//! A connection to a server: requests out, replies in, each until its time is over.
//!
//! The client library parses URLs and replies; the sockets are our own. Its TLS is a feature that breaks the build of a
//! program that uses it with tokio, checks no other server name than the host that it connects to, and takes a call that
//! a signal interrupts for a lost reply.

mod enter;
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

use super::{
    Credentials, TlsOptions,
    failure::Failure,
    refusal::{ends_the_connection, unavailable},
    reply::server_error,
    wire::Packed,
};
use crate::model::Effect;
use redis::{Parser, RedisResult, Value};
use socket::{Bound, Wire};
use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

/// Reads the files of the options: what is wrong with them shows before a server is asked.
pub(super) fn check_tls(options: &TlsOptions) -> io::Result<()> {
    tls::check(options)
}

/// A server that has let us in.
pub(super) struct Connection {
    wire: Box<dyn Wire>,
    parser: Parser,
}

/// A connection, as whoever runs the engine's logic can wait for it.
pub(super) enum Link {
    Thread(Connection),
    #[cfg(feature = "tokio")]
    Task(TaskLink),
}

impl Link {
    /// Sends all that is packed in one write, and waits for as many replies, errors among them, pushes not.
    pub(super) async fn exchange(&mut self, packed: &mut Packed) -> Result<Vec<Value>, Failure> {
        match self {
            Self::Thread(connection) => connection.exchange(packed),
            #[cfg(feature = "tokio")]
            Self::Task(link) => link.exchange(packed).await,
        }
    }

    /// How long each later exchange waits.
    pub(super) fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        match self {
            Self::Thread(connection) => connection.set_patience(patience),
            #[cfg(feature = "tokio")]
            Self::Task(link) => {
                link.set_patience(patience);
                Ok(())
            }
        }
    }
}

impl Connection {
    /// Connects and is let in before `timeout` is over; looking the name up is not bounded. From then on each call waits
    /// for up to `patience`.
    pub(super) fn open(
        way: &Way,
        credentials: Option<&Credentials>,
        timeout: Duration,
        patience: Duration,
    ) -> Result<Self, Unopened> {
        let until = Instant::now() + timeout;
        let mut link = Self {
            wire: way.connect(until).map_err(Unopened::Away)?,
            parser: Parser::new(),
        };
        link.bind(Bound::Until(until)).map_err(Unopened::Away)?;
        enter::enter(&mut link, way, credentials)?;
        link.set_patience(patience).map_err(Unopened::Away)?;
        Ok(link)
    }

    /// How long each later call waits.
    pub(super) fn set_patience(&mut self, patience: Duration) -> io::Result<()> {
        self.bind(Bound::Each(patience))
    }

    fn bind(&mut self, bound: Bound) -> io::Result<()> {
        self.wire.socket().bind(bound)
    }

    pub(super) fn send(&mut self, bytes: &[u8]) -> RedisResult<()> {
        self.wire.write_all(bytes)?;
        Ok(self.wire.flush()?)
    }

    fn exchange(&mut self, packed: &Packed) -> Result<Vec<Value>, Failure> {
        self.send(&packed.bytes).map_err(lost)?;
        let mut replies = Vec::with_capacity(packed.count);
        while replies.len() < packed.count {
            take(&mut replies, self.receive().map_err(lost)?)?;
        }
        Ok(replies)
    }

    /// The next reply or push message. After a time-out the rest of it may still be received.
    pub(super) fn receive(&mut self) -> RedisResult<Value> {
        self.parser.parse_value(&mut *self.wire)
    }
}

/// Takes one that has come, unless it is a push.
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

/// The server reads nothing after that. What it has answered before, it may have done.
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

/// The runtime of its task has ended.
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
