//! A connection to a server: requests out, replies in, each until its time is over.
//!
//! The client library parses URLs and replies; the sockets are our own. Its TLS is a feature that breaks the build of a
//! program that uses it with tokio, checks no other server name than the host that it connects to, and takes a call that
//! a signal interrupts for a lost reply.

mod enter;
mod socket;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod way;

pub(super) use enter::Unopened;
pub(super) use way::{Target, Way, is_tls};

use super::{Credentials, TlsOptions};
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
pub(super) struct Link {
    wire: Box<dyn Wire>,
    parser: Parser,
}

impl Link {
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

    /// The next reply or push message. After a time-out the rest of it may still be received.
    pub(super) fn receive(&mut self) -> RedisResult<Value> {
        self.parser.parse_value(&mut *self.wire)
    }
}
