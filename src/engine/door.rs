//! Opens connections to one server, for callers that may block.

use super::{
    address::Address,
    config::ServerConfig,
    counters::{Counters, IsOpen},
    link::{Connection, Unopened, Way},
    peer::Peer,
    redirect::{Cause, Redirect},
    refusal::{refused_at, unavailable},
};
use crate::model::{Effect, Error, Result, limits};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

/// Opens connections to one server.
pub(super) struct Door {
    way: Way,
    peer: Peer,
    /// Whether it was logged that the server lets nobody in.
    told: AtomicBool,
}

impl Door {
    pub(super) fn new(config: ServerConfig, counters: Arc<Counters>) -> Result<Self> {
        let way = config.way()?;
        let peer = Peer::new(config, way.database, counters);
        Ok(Self {
            way,
            peer,
            told: AtomicBool::new(false),
        })
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(super) fn address(&self) -> Option<Address> {
        self.way.address()
    }

    /// Whether an exchange blocks its thread, even in a task.
    #[cfg(feature = "tokio")]
    pub(super) fn blocks(&self) -> bool {
        #[cfg(feature = "redis-1")]
        return self.way.client.is_some();
        #[cfg(not(feature = "redis-1"))]
        return false;
    }

    /// `again`: to replace one that failed.
    pub(super) fn open(&self, again: bool) -> Result<Connection, (Error, Cause)> {
        if again {
            self.peer.may_be_another_run();
            log::debug!("{}: connecting again", self.peer.shown_url());
        }
        let mut connection = self.open_by(&self.way, self.peer.response_timeout())?;
        let counters = self.peer.counters();
        connection.is_counted(IsOpen::new(counters));
        if again {
            counters.count_reconnect();
        }
        Ok(connection)
    }

    /// Opens a connection for messages, whose reads time out soon. With RESP3, which tells messages
    /// from replies.
    pub(super) fn open_to_listen(&self) -> Result<Connection, (Error, Cause)> {
        let way = Way {
            resp3: true,
            database: 0,
            ..self.way.clone()
        };
        self.open_by(&way, limits::LISTEN_LOOK)
    }

    /// Tries once more if the server refuses credentials from the closure, since they may have been
    /// replaced, or if it closes the connection, as a server does that closes all of them: nothing
    /// was done on it.
    fn open_by(&self, way: &Way, patience: Duration) -> Result<Connection, (Error, Cause)> {
        let config = self.peer.config();
        let mut attempt = 1;
        loop {
            let asked = config.credentials.as_ref().map(|source| source.ask());
            let asked = asked.transpose().map_err(|why| {
                let address = self.peer.shown_url();
                let message = format!("{address}: CacheBuilder::credentials has none: {why}");
                (unavailable(message, Effect::None), Cause::Refused)
            })?;
            let credentials = asked.as_ref().or(way.credentials.as_ref());
            let timeout = config.connect_timeout;
            match Connection::open(way, credentials, timeout, patience) {
                Err(why)
                    if attempt < limits::CONNECT_ATTEMPTS
                        && (why.is_ended() || (why.is_not_let_in() && asked.is_some())) =>
                {
                    attempt += 1;
                }
                opened => return self.opened(opened),
            }
        }
    }

    /// Logs once that the server lets nobody in: that is not an outage, which the breaker logs.
    fn opened(&self, opened: Result<Connection, Unopened>) -> Result<Connection, (Error, Cause)> {
        let opened = opened.map_err(|e| self.unopened(e));
        match &opened {
            Ok(_) => self.told.store(false, Relaxed),
            Err((e, _)) if !e.is_unavailable() && !self.told.swap(true, Relaxed) => {
                log::warn!("{e} (said once, until the server lets this process in)");
            }
            Err(_) => {}
        }
        opened
    }

    fn no_answer(&self) -> String {
        let time = self.peer.config().connect_timeout;
        match &self.way.tls {
            Some(_) => format!("no answer in {time:?}; does it speak TLS on this port?"),
            None => format!("no answer in {time:?}"),
        }
    }

    fn unopened(&self, why: Unopened) -> (Error, Cause) {
        let address = self.peer.shown_url();
        let error = match why {
            Unopened::Away(e) => {
                let why = match e.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.no_answer(),
                    _ => e.to_string(),
                };
                unavailable(format!("cannot connect to {address}: {why}"), Effect::None)
            }
            Unopened::NotPrimary(why) => {
                let message = format!("{address} is not the primary: {why}");
                let elsewhere = Cause::Elsewhere(Redirect::ReadOnly);
                return (unavailable(message, Effect::None), elsewhere);
            }
            // The closure's next answer may differ, and no other server is a better one to ask.
            Unopened::NotLetIn { text, .. } if self.peer.config().credentials.is_some() => {
                let message = format!("{address}: {text} (by CacheBuilder::credentials)");
                return (unavailable(message, Effect::None), Cause::Refused);
            }
            Unopened::NotLetIn { code, text } => {
                let advice = ": give user and password in the URL, redis://USER:PASSWORD@host/, or by CacheBuilder::credentials";
                let details = text.strip_prefix(&code).map(str::trim_start);
                let details =
                    details.map(|details| details.trim_end_matches('.').to_owned() + advice);
                refused_at(&format!("{address}: "), &code, details.as_deref())
            }
            Unopened::Refused { code, text } => {
                let details = text.strip_prefix(&code).map(str::trim_start);
                refused_at(&format!("{address}: "), &code, details)
            }
        };
        let cause = match error.is_unavailable() {
            true => Cause::Unreached,
            false => Cause::Refused,
        };
        (error, cause)
    }
}
