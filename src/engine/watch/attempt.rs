//! One attempt: look under WATCH, then write in the transaction or leave.

use crate::{
    engine::{
        failure::{Failure, nonsense},
        plain,
        refusal::Meaning,
        reply::{code, meaning_of, server_error},
        session::{Session, is_wrong_type},
        source::Databases,
        wire::Packed,
    },
    model::{Effect, Error},
};
use redis::Value;

/// What an attempt learned from the one before.
#[derive(Clone, Copy, Default)]
pub(in crate::engine) struct Style {
    /// A hash of leases has fields, so they must be read.
    pub(super) in_flight: bool,
    /// Send no transaction: a full server refuses them all.
    pub(super) one_by_one: bool,
}

/// Why an attempt has no reply.
pub(in crate::engine) enum Stop {
    Failed(Failure),
    /// A watched key was changed.
    Contended,
    /// The fields of the leases must be read too: try again with [`Style::in_flight`].
    InFlight,
    /// The server is full and refused the transaction before its first write.
    Full(Error),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What an operation refuses by its own checks, before any write.
pub(super) fn refuse(why: &str) -> Stop {
    let message = why.to_owned();
    Stop::Failed(Failure::Refused(Error::new(
        crate::model::error::Kind::Server { message },
    )))
}

/// The connection of an attempt, and its progress.
pub(in crate::engine) struct Attempt<'a, 'n> {
    session: &'a mut Session<'n>,
    style: Style,
    sent: &'a mut bool,
    /// A transaction is open, and the watch with it.
    open: bool,
}

impl<'a, 'n> Attempt<'a, 'n> {
    pub(in crate::engine) fn new(
        session: &'a mut Session<'n>,
        style: Style,
        sent: &'a mut bool,
    ) -> Self {
        Self {
            session,
            style,
            sent,
            open: false,
        }
    }

    pub(super) fn style(&self) -> Style {
        self.style
    }

    /// Watches keys, reads them and opens the transaction. Locks, and what is kept beside them, may
    /// be in a database of their own: each database has its own keys and reads.
    pub(in crate::engine) async fn look(
        &mut self,
        lock_keys: &[&str],
        lock_reads: impl FnOnce(&mut Packed),
        keys: &[&str],
        reads: impl FnOnce(&mut Packed),
    ) -> Result<Seen, Stop> {
        let (style, databases) = (self.style, self.session.peer.databases());
        // The positions of the replies to reads; all other replies are OK.
        let mut places = Vec::new();
        let replies = self
            .session
            .exchange(|packed| {
                if let Some(databases) = databases {
                    packed.select(databases.lock);
                }
                watch(style, lock_keys, packed);
                let first = packed.count;
                lock_reads(packed);
                places.extend(first..packed.count);
                if let Some(databases) = databases {
                    packed.select(databases.cache);
                }
                watch(style, keys, packed);
                let first = packed.count;
                reads(packed);
                places.extend(first..packed.count);
                if !style.one_by_one {
                    packed.request(&[b"MULTI"]);
                }
            })
            .await?;
        self.open = !style.one_by_one && replies.last() == Some(&Value::Okay);
        let mut seen = Vec::with_capacity(places.len());
        let mut places = places.into_iter().peekable();
        for (place, reply) in replies.into_iter().enumerate() {
            match places.next_if_eq(&place) {
                Some(_) => seen.push(reply),
                None => self.must_be_ok(&reply)?,
            }
        }
        Ok(Seen(seen.into_iter()))
    }

    /// Where locks are.
    pub(super) fn locks(&self) -> Locks {
        Locks(self.session.peer.databases())
    }

    /// Sends the writes and EXEC. Returns the writes' replies, none of which is an error.
    pub(in crate::engine) async fn write(
        &mut self,
        writes: impl FnOnce(&mut Packed),
    ) -> Result<Vec<Value>, Stop> {
        self.write_and_tell(&[], writes).await
    }

    /// The same, and then tells the waiters for these locks. The messages go in the same round trip
    /// but outside the transaction: a message that the ACL denies would abort it. If the
    /// transaction does nothing, the waiters check needlessly.
    pub(in crate::engine) async fn write_and_tell(
        &mut self,
        freed: &[&str],
        writes: impl FnOnce(&mut Packed),
    ) -> Result<Vec<Value>, Stop> {
        *self.sent = true;
        let transaction = !self.style.one_by_one;
        let mut replies = self
            .session
            .exchange(|packed| {
                writes(packed);
                if transaction {
                    packed.request(&[b"EXEC"]);
                }
                plain::pack_messages(freed, packed);
            })
            .await?;
        replies.truncate(replies.len().saturating_sub(freed.len()));
        if !transaction {
            return executed(replies);
        }
        let answer = replies.pop().unwrap_or(Value::Okay);
        match answer {
            Value::Array(results) => {
                self.open = false;
                executed(results)
            }
            Value::Nil => {
                self.open = false;
                Err(Stop::Contended)
            }
            Value::ServerError(error) if error.code() == "EXECABORT" => {
                self.open = false;
                let cause = replies.iter().find(|reply| code(reply).is_some());
                Err(self.aborted(cause, &error))
            }
            Value::ServerError(error) => {
                // EXEC itself was refused, so the transaction is still open.
                let refused = server_error(&error);
                self.session.forget_if_denied(&Value::ServerError(error));
                Err(Stop::Failed(Failure::Refused(refused)))
            }
            _ => Err(nonsense("EXEC").into()),
        }
    }

    /// Ends the watch unless EXEC has: DISCARD ends transaction and watch. If it fails, the
    /// connection is given up.
    pub(in crate::engine) async fn leave<T>(
        mut self,
        done: &Result<T, Stop>,
    ) -> Result<(), Failure> {
        let lost = matches!(done, Err(Stop::Failed(Failure::Lost { .. })));
        if !self.open || lost {
            return Ok(());
        }
        // DISCARD must not overwrite what the server said before: where to go instead, and why.
        let said = (self.session.redirect.take(), self.session.wrong_type);
        let reply = self
            .session
            .ask(|packed| packed.request(&[b"DISCARD"]))
            .await?;
        (self.session.redirect, self.session.wrong_type) = said;
        match self.must_be_ok(&reply) {
            Err(Stop::Failed(failure)) if done.is_ok() => Err(failure),
            _ => Ok(()),
        }
    }

    /// Anything but OK to SELECT, WATCH, MULTI or DISCARD leaves the connection in an unknown
    /// state.
    fn must_be_ok(&mut self, reply: &Value) -> Result<(), Stop> {
        match reply {
            Value::Okay => Ok(()),
            Value::ServerError(error) => {
                self.give_up();
                self.session.forget_if_denied(reply);
                Err(Stop::Failed(Failure::Refused(server_error(error))))
            }
            _ => Err(nonsense("OK was expected").into()),
        }
    }

    fn give_up(&mut self) {
        self.open = false;
        self.session.spoilt = true;
    }

    /// A command was refused when it was queued, or the server refused EXEC and named the reason.
    fn aborted(&self, cause: Option<&Value>, exec: &redis::ServerError) -> Stop {
        let cause = match cause {
            Some(Value::ServerError(error)) => error,
            // `EXECABORT Transaction discarded because of: READONLY …`
            _ => exec,
        };
        match meaning_of(cause) {
            Meaning::Full => Stop::Full(server_error(cause)),
            _ => Stop::Failed(Failure::Refused(server_error(cause))),
        }
    }
}

/// A command that fails in a transaction does not undo the others.
fn executed(replies: Vec<Value>) -> Result<Vec<Value>, Stop> {
    for reply in &replies {
        if let Value::ServerError(error) = reply {
            let error = server_error(error).effect_is(Effect::Unknown);
            return Err(Stop::Failed(Failure::Midway(error)));
        }
    }
    Ok(replies)
}

/// The database of the locks, if it is another one.
#[derive(Clone, Copy)]
pub(super) struct Locks(Option<Databases>);

impl Locks {
    /// Packs writes to locks. Selecting their database, and the cache's again, adds one reply each.
    pub(super) fn pack(self, packed: &mut Packed, writes: impl FnOnce(&mut Packed)) {
        if let Some(databases) = self.0 {
            packed.select(databases.lock);
        }
        writes(packed);
        if let Some(databases) = self.0 {
            packed.select(databases.cache);
        }
    }
}

fn watch(style: Style, keys: &[&str], packed: &mut Packed) {
    if style.one_by_one || keys.is_empty() {
        return;
    }
    packed.begin(1 + keys.len());
    packed.arg(b"WATCH");
    keys.iter().for_each(|key| packed.arg(key.as_bytes()));
}

/// What a look has read, in the order of the requests.
pub(in crate::engine) struct Seen(std::vec::IntoIter<Value>);

impl Seen {
    fn next(&mut self) -> Result<Value, Stop> {
        match self.0.next() {
            Some(Value::ServerError(error)) => {
                Err(Stop::Failed(Failure::Refused(server_error(&error))))
            }
            Some(value) => Ok(value),
            None => Err(nonsense("too few replies").into()),
        }
    }

    /// The reply to a GET.
    pub(in crate::engine) fn text(&mut self) -> Result<Option<Vec<u8>>, Stop> {
        match self.next()? {
            Value::BulkString(bytes) => Ok(Some(bytes)),
            Value::Nil => Ok(None),
            _ => Err(nonsense("GET").into()),
        }
    }

    /// The reply to TYPE.
    pub(super) fn word(&mut self) -> Result<String, Stop> {
        match self.next()? {
            Value::SimpleString(word) => Ok(word),
            _ => Err(nonsense("TYPE").into()),
        }
    }

    pub(super) fn number(&mut self) -> Result<i64, Stop> {
        match self.next()? {
            Value::Int(n) => Ok(n),
            _ => Err(nonsense("a number was expected").into()),
        }
    }

    /// The reply to an HMGET of `count` fields. If the key is of another type, no field exists.
    pub(super) fn fields(&mut self, count: usize) -> Result<Vec<Option<Vec<u8>>>, Stop> {
        match self.0.as_slice().first() {
            Some(reply) if is_wrong_type(reply) => {
                self.0.next();
                Ok(vec![None; count])
            }
            _ => self.texts(),
        }
    }

    /// The reply to an HMGET.
    pub(super) fn texts(&mut self) -> Result<Vec<Option<Vec<u8>>>, Stop> {
        let Value::Array(values) = self.next()? else {
            return Err(nonsense("HMGET").into());
        };
        let texts = values.into_iter().map(|value| match value {
            Value::BulkString(bytes) => Ok(Some(bytes)),
            Value::Nil => Ok(None),
            _ => Err(nonsense("HMGET").into()),
        });
        texts.collect()
    }
}
