//! A connection in use: requests out, replies in.

use super::{
    failure::{Failure, nonsense},
    link::Link,
    peer::Peer,
    redirect::Redirect,
    refusal::{Meaning, ends_the_connection, unavailable},
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
    /// The connection's server, as far as it was asked.
    pub(super) identity: Identity,
    /// What the last replies said about where to go instead.
    pub(super) redirect: Option<Redirect>,
    /// Whether one of the last replies said that a key holds something else.
    pub(super) wrong_type: bool,
    /// What the boot found holds no longer: another one is needed.
    pub(super) forgets_boot: bool,
    /// The connection is in a state that nobody knows: it does not go back to the pool.
    pub(super) spoilt: bool,
}

impl Session<'_> {
    /// Packs requests, sends them in one write and waits for their replies, errors among them.
    pub(super) fn exchange(
        &mut self,
        pack: impl FnOnce(&mut Packed),
    ) -> Result<Vec<Value>, Failure> {
        self.packed.clear();
        pack(self.packed);
        self.peer.counters().count_round_trip();
        // Until the replies are there, a late one could be taken for the next request's.
        let spoilt = std::mem::replace(&mut self.spoilt, true);
        let sent = self.connection.send(&self.packed.bytes);
        sent.map_err(lost)?;
        let mut replies = Vec::with_capacity(self.packed.count);
        while replies.len() < self.packed.count {
            match self.connection.receive().map_err(lost)? {
                Value::Push { .. } => {}
                Value::ServerError(error) if is_last_word(&error) => {
                    return Err(ended(&error, replies.is_empty()));
                }
                reply => replies.push(reply),
            }
        }
        self.spoilt = spoilt;
        let replies = self.packed.answers(replies);
        // Of a pipeline the last one counts: it is the request that the others were made for.
        self.redirect = replies.iter().rev().find_map(Redirect::of);
        self.wrong_type = replies.iter().any(is_wrong_type);
        Ok(replies)
    }

    /// Two requests in one round trip.
    pub(super) fn ask_two(
        &mut self,
        pack: impl FnOnce(&mut Packed),
    ) -> Result<[Value; 2], Failure> {
        let replies = self.exchange(pack)?;
        replies
            .try_into()
            .map_err(|_| nonsense("two replies were expected"))
    }

    /// Runs `work`, in which each answer may take so long.
    pub(super) fn with_patience<T>(
        &mut self,
        patience: Duration,
        work: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let usual = self.peer.response_timeout();
        if patience == usual {
            return work(self);
        }
        let unset = |e: io::Error| Failure::Lost {
            error: unavailable(e.to_string(), Effect::None),
            closed: false,
        };
        self.connection.set_patience(patience).map_err(unset)?;
        let done = work(self);
        self.spoilt |= self.connection.set_patience(usual).is_err();
        done
    }

    /// Runs `work` in the database of the locks. A connection that does not come back from there is of no use.
    pub(super) fn in_lock_database<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let Some(databases) = self.peer.databases() else {
            return work(self);
        };
        self.select(databases.lock)?;
        self.spoilt = true;
        let done = work(self)?;
        self.select(databases.cache)?;
        self.spoilt = false;
        Ok(done)
    }

    fn select(&mut self, database: u32) -> Result<(), Failure> {
        match self.ask(|packed| packed.select(database))? {
            Value::Okay => Ok(()),
            Value::ServerError(error) => Err(Failure::Refused(server_error(&error))),
            _ => Err(nonsense("SELECT")),
        }
    }

    /// What the boot had tried may no longer be called: the next call tries again.
    pub(super) fn forget_if_denied(&mut self, reply: &Value) {
        self.forgets_boot |= is_denied(reply);
    }

    /// One request, one reply.
    pub(super) fn ask(&mut self, pack: impl FnOnce(&mut Packed)) -> Result<Value, Failure> {
        let mut replies = self.exchange(pack)?;
        match replies.pop() {
            Some(reply) if replies.is_empty() => Ok(reply),
            _ => Err(nonsense("one reply was expected")),
        }
    }
}

/// A transaction's results are in its reply.
pub(super) fn is_wrong_type(reply: &Value) -> bool {
    match reply {
        Value::Array(results) => results.iter().any(is_wrong_type),
        Value::ServerError(error) => meaning_of(error) == Meaning::WrongType,
        _ => false,
    }
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
