use super::{Save, SaveError, Store, names::Names};
use crate::{
    Error, Outcome, Params, Result,
    cache::now,
    error::Kind,
    json::{self, Outer},
    op::{Bytes, Entry, Lock, Stamp},
    protocol::{
        self, Held,
        group::Member,
        lock,
        save::{Plan, Writer},
    },
    token,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    collections::HashSet,
    fmt,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

/// A locked document: the data, and the right to save it. Dropping it lets the lock go without saving.
///
/// It has no lifetime, so it can be moved anywhere. Methods beside the saves are associated functions
/// (`Locked::renew(&mut guard)`), so that they never hide one of `T`'s.
#[must_use = "dropping it releases the lock without saving"]
pub struct Locked<T> {
    value: T,
    hold: Hold,
}

impl<T> Locked<T> {
    pub(super) fn new(value: T, hold: Hold) -> Self {
        Self { value, hold }
    }

    /// Lets the lock go without saving, and gives the data back.
    pub fn unlock(this: Self) -> T {
        let Self { value, hold } = this;
        drop(hold);
        value
    }

    /// Gives the lock its whole TTL again.
    ///
    /// # Errors
    ///
    /// [`Error::is_lock_lost`] where it ran out or was cleared; a server that is away, which leaves it as it was.
    pub fn renew(this: &mut Self) -> Result<()> {
        this.hold.renew()
    }

    /// Whether the lock is known to be lost, or has run out by this machine's clock. A save then fails.
    #[must_use]
    pub fn is_lost(this: &Self) -> bool {
        Self::remaining(this).is_zero()
    }

    /// How long the lock surely lives unless it is renewed.
    #[must_use]
    pub fn remaining(this: &Self) -> Duration {
        this.hold.remaining()
    }
}

impl<T: Serialize> Locked<T> {
    /// Writes the file, sets the entry, deletes what depends on this document by the rules' `depends_on`, and lets the lock
    /// go.
    ///
    /// # Errors
    ///
    /// See [`Locked::dump_and_unlock_with`].
    pub fn dump_and_unlock(self) -> Result<Outcome, SaveError<T>> {
        self.dump_and_unlock_with(Save::new())
    }

    /// The same, and deletes what the tasks make out of date, all in one atomic step on the server.
    ///
    /// # Errors
    ///
    /// See [`Locked::dump_and_unlock_with`].
    pub fn dump_and_unlock_with_transaction(
        self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Outcome, SaveError<T>> {
        self.dump_and_unlock_with(Save::new().tasks(tasks))
    }

    /// The same with everything a [`Save`] can say.
    ///
    /// # Errors
    ///
    /// Only before the new file is there: an unknown task, data that JSON cannot hold (`NaN`), a full disk, an outbox that
    /// cannot record a crash-safe save ([`Error::is_outbox`]), a `READONLY` marker, or a guard that may no longer write ([`Error::is_conflict`], [`Error::is_fenced`],
    /// [`Error::is_lock_lost`]). Nothing was changed, and the error gives the guard back. Once the file is there no
    /// trouble of the server's makes a save fail: [`Outcome::cache`] tells.
    pub fn dump_and_unlock_with(mut self, save: Save) -> Result<Outcome, SaveError<T>> {
        match self.hold.save(&self.value, &save, true) {
            Ok(outcome) => Ok(outcome),
            Err(e) => Err(SaveError::new(e, self)),
        }
    }

    /// Saves and keeps the lock.
    ///
    /// # Errors
    ///
    /// As [`Locked::dump_and_unlock_with`].
    pub fn dump(this: &mut Self, save: Save) -> Result<Outcome> {
        this.hold.save(&this.value, &save, false)
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Locked<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Locked")
            .field("document", &self.hold.names.document)
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}

/// The lock behind a guard, and what the guard has seen of the file.
pub struct Hold {
    store: Store,
    names: Arc<Names>,
    /// `None` once it was let go of.
    lock: Option<Lock>,
    fence: u64,
    expires: Duration,
    read: Option<Stamp>,
    last_mtime_ns: i64,
    outer: Outer,
}

impl Hold {
    pub(super) fn new(store: Store, names: Arc<Names>, held: Held) -> (Self, Option<Bytes>) {
        let (read, bytes) = held.read.unzip();
        let hold = Self {
            store,
            names,
            lock: Some(held.lock),
            fence: held.fence,
            expires: held.expires,
            last_mtime_ns: held
                .last_mtime_ns
                .max(read.map_or(0, |stamp| stamp.mtime_ns)),
            read,
            outer: Outer::default(),
        };
        (hold, bytes)
    }

    /// Remembers the white space around the file's JSON, which a save keeps.
    pub(super) fn outer_of(mut self, bytes: &[u8]) -> Self {
        self.outer = Outer::of(bytes);
        self
    }

    pub(super) fn writer(&self) -> Result<Writer> {
        let lock = self.lock.clone().ok_or_else(|| self.lost())?;
        Ok(Writer {
            lock,
            fence: self.fence,
            expires: self.expires,
            read: self.read,
            last_mtime_ns: self.last_mtime_ns,
        })
    }

    /// Forgets the lock: it was released by the server's step, or is left to its TTL.
    pub(super) fn let_go_of(&mut self) {
        self.lock = None;
    }

    fn lost(&self) -> Error {
        Error::new(Kind::LockLost {
            document: self.names.document.clone(),
            why: "it was found lost before",
        })
    }

    pub(super) fn save<T: Serialize>(
        &mut self,
        value: &T,
        save: &Save,
        release: bool,
    ) -> Result<Outcome> {
        let (names, cache) = (&self.names, self.store.cache());
        let (dependents, params) = self.expand(save)?;
        let bytes = self.to_bytes(value)?;
        let saved = self.store.drive(protocol::save::save(Plan {
            document: names.document.clone(),
            place: names.place.clone(),
            id: token::hex_128()?,
            bytes,
            own: names.entry.clone(),
            ttl_ms: self.ttl_ms(),
            dependents: cache.split(&names.entry, dependents)?,
            params,
            writer: self.writer()?,
            release,
            wait: save.wait_or(self.store.0.wait),
            guarantee: save.guarantee.unwrap_or(self.store.0.guarantee),
            mark_ttl: cache.mark_ttl(),
            patience: cache.response_timeout(),
        }))?;
        cache.note(&names.document, &saved.outcome.cache);
        if saved.lock_lost {
            cache.counters().locks_lost.add();
            log::warn!("{}: saved, but the lock was lost meanwhile", names.document);
        }
        self.read = Some(saved.stamp);
        self.last_mtime_ns = saved.stamp.mtime_ns;
        if release || saved.lock_lost {
            self.let_go_of();
            self.expires = Duration::ZERO;
        }
        Ok(saved.outcome)
    }

    /// The document's part in a transaction: what depends on it, but for entries that were named before, is its own to delete.
    pub(super) fn member(
        &self,
        save: &Save,
        bytes: Bytes,
        named: &mut HashSet<String>,
    ) -> Result<Member> {
        let names = &self.names;
        let (mut dependents, params) = self.expand(save)?;
        dependents.retain(|entry| named.insert(entry.value.clone()));
        Ok(Member {
            document: names.document.clone(),
            place: names.place.clone(),
            bytes,
            own: names.entry.clone(),
            ttl_ms: self.ttl_ms(),
            dependents: self.store.cache().split(&names.entry, dependents)?,
            params,
            writer: self.writer()?,
        })
    }

    /// What a save makes out of date, and the params that say so.
    fn expand(&self, save: &Save) -> Result<(Vec<Entry>, Params)> {
        let (names, cache) = (&self.names, self.store.cache());
        let mut params = save.params.clone();
        for (name, value) in names.params.iter() {
            if params.get(name).is_none() {
                params = params.with(name, value.clone());
            }
        }
        let rules = cache.rules();
        let keys = rules.expand_for(&names.controller, &save.tasks, &params)?;
        Ok((cache.entries(&keys), params))
    }

    /// The entry's life.
    fn ttl_ms(&self) -> u64 {
        let life = self.store.cache().entry_life(self.names.ttl);
        u64::try_from(life.as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn to_bytes<T: Serialize>(&self, value: &T) -> Result<Bytes> {
        let (document, style) = (&self.names.document, self.store.0.style);
        json::to_bytes(document, value, style, Some(&self.outer)).map(Into::into)
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        json::parse(&self.names.document, bytes)
    }

    pub(super) fn document(&self) -> &str {
        &self.names.document
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.names.entry
    }

    pub(super) fn remaining(&self) -> Duration {
        self.expires.saturating_sub(now().boot)
    }

    pub(super) fn renew(&mut self) -> Result<()> {
        let lock = self.lock.clone().ok_or_else(|| self.lost())?;
        let names = &self.names;
        let run = lock::renew(
            names.document.clone(),
            lock,
            names.fence_key.clone(),
            self.store.0.lock_ttl,
        );
        match self.store.drive(run) {
            Ok(expires) => {
                self.expires = expires;
                Ok(())
            }
            Err(e) => {
                if e.is_lock_lost() {
                    self.store.cache().counters().locks_lost.add();
                    self.let_go_of();
                    self.expires = Duration::ZERO;
                }
                Err(e)
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            // The protocol logs a failure and leaves the lock to its TTL.
            let _ = self
                .store
                .drive(lock::release(self.names.document.clone(), lock));
        }
    }
}
