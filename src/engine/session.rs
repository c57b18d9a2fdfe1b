//! A connection in use: requests out, replies in.

use super::{
    failure::{Failure, nonsense},
    link::Link,
    net::Net,
    peer::Peer,
    redirect::Redirect,
    refusal::{Meaning, unavailable},
    reply::{is_denied, meaning_of, server_error},
    run_id::Identity,
    wire::Packed,
};
use crate::model::Effect;
use redis::Value;
use std::{io, time::Duration};

/// A connection in use.
pub(super) struct Session<'a> {
    pub(super) connection: Link,
    pub(super) packed: &'a mut Packed,
    pub(super) peer: &'a Peer,
    pub(super) net: Net,
    /// What is known about the connection's server.
    pub(super) identity: Identity,
    /// Where to go instead, from the last replies.
    pub(super) redirect: Option<Redirect>,
    /// Whether one of the last replies said that a key is of another type.
    pub(super) wrong_type: bool,
    /// What the boot found is out of date: boot again.
    pub(super) forgets_boot: bool,
    /// The connection's state is unknown: it does not go back to the pool.
    pub(super) spoilt: bool,
}

impl Session<'_> {
    /// Packs requests, sends them in one write and waits for their replies. Errors count as
    /// replies.
    pub(super) async fn exchange(
        &mut self,
        pack: impl FnOnce(&mut Packed),
    ) -> Result<Vec<Value>, Failure> {
        self.packed.clear();
        pack(self.packed);
        self.peer.counters().count_round_trip();
        // Until the replies are there, a late one could be taken for the next request's.
        let spoilt = std::mem::replace(&mut self.spoilt, true);
        let replies = self.connection.exchange(self.packed).await?;
        self.spoilt = spoilt;
        let replies = self.packed.answers(replies);
        // In a pipeline the last redirect counts: the other requests prepare the last one.
        self.redirect = replies.iter().rev().find_map(Redirect::of);
        self.wrong_type = replies.iter().any(is_wrong_type);
        Ok(replies)
    }

    /// Two requests in one round trip.
    pub(super) async fn ask_two(
        &mut self,
        pack: impl FnOnce(&mut Packed),
    ) -> Result<[Value; 2], Failure> {
        let replies = self.exchange(pack).await?;
        replies
            .try_into()
            .map_err(|_| nonsense("two replies were expected"))
    }

    /// Keeps the connection meanwhile.
    pub(super) async fn sleep(&mut self, pause: Duration) {
        self.net.sleep(pause).await;
    }

    /// Until [`wait_as_usual`](Self::wait_as_usual), each answer may take up to `patience`.
    pub(super) fn wait_up_to(&mut self, patience: Duration) -> Result<(), Failure> {
        let unset = |e: io::Error| Failure::Lost {
            error: unavailable(e.to_string(), Effect::None),
            closed: false,
        };
        self.connection.set_patience(patience).map_err(unset)
    }

    pub(super) fn wait_as_usual(&mut self) {
        let usual = self.peer.response_timeout();
        self.spoilt |= self.connection.set_patience(usual).is_err();
    }

    /// Selects the database of the locks, if that is another one. Unless
    /// [`leave_locks`](Self::leave_locks) follows, the connection is unusable.
    pub(super) async fn enter_locks(&mut self) -> Result<(), Failure> {
        if let Some(databases) = self.peer.databases() {
            self.select(databases.lock).await?;
            self.spoilt = true;
        }
        Ok(())
    }

    pub(super) async fn leave_locks(&mut self) -> Result<(), Failure> {
        if let Some(databases) = self.peer.databases() {
            self.select(databases.cache).await?;
            self.spoilt = false;
        }
        Ok(())
    }

    async fn select(&mut self, database: u32) -> Result<(), Failure> {
        match self.ask(|packed| packed.select(database)).await? {
            Value::Okay => Ok(()),
            Value::ServerError(error) => Err(Failure::Refused(server_error(&error))),
            _ => Err(nonsense("SELECT")),
        }
    }

    /// What the boot tried may no longer be allowed: the next call boots again.
    pub(super) fn forget_if_denied(&mut self, reply: &Value) {
        self.forgets_boot |= is_denied(reply);
    }

    /// One request, one reply.
    pub(super) async fn ask(&mut self, pack: impl FnOnce(&mut Packed)) -> Result<Value, Failure> {
        let mut replies = self.exchange(pack).await?;
        match replies.pop() {
            Some(reply) if replies.is_empty() => Ok(reply),
            _ => Err(nonsense("one reply was expected")),
        }
    }
}

/// The results of a transaction are inside its reply.
pub(super) fn is_wrong_type(reply: &Value) -> bool {
    match reply {
        Value::Array(results) => results.iter().any(is_wrong_type),
        Value::ServerError(error) => meaning_of(error) == Meaning::WrongType,
        _ => false,
    }
}
