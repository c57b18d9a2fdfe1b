use super::{
    KeepAlive, LostLock, Save, SaveError, Store,
    keep_alive::{self, Life},
    names::Names,
};
use crate::{
    Error, Outcome, Result,
    cache::{Task, now},
    disk::Session,
    error::Kind,
    json::{self, Outer},
    op::{Bytes, Lock, Stamp},
    protocol::{
        self, Held, Run, lock,
        save::{Plan, Writer},
    },
    token,
};
use serde::Serialize;
use std::{
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

    /// Gives the lock its whole TTL again. It is done in the background, unless the store says
    /// [`KeepAlive::Off`](crate::KeepAlive::Off).
    ///
    /// # Errors
    ///
    /// [`Error::is_lock_lost`] where it ran out or was cleared; a server that is away, which leaves it as it was.
    pub fn renew(this: &mut Self) -> Result<()> {
        this.hold.renew()
    }

    /// Whether the lock is known to be lost, or has run out by this machine's clock. A save then fails. It is found out in
    /// the background: at once where an operator clears the lock, else within a third of its TTL; see
    /// [`Locked::on_lost`].
    #[must_use]
    pub fn is_lost(this: &Self) -> bool {
        Self::remaining(this).is_zero()
    }

    /// Calls `hook` as soon as the lock is found lost, in the thread that finds out; at once where it is. Not at all where
    /// it is let go of before. See [`StoreBuilder::on_lock_lost`](crate::StoreBuilder::on_lock_lost).
    ///
    /// # Examples
    ///
    /// ```
    /// # use cachetx::{Cache, Document, Locked, RawObject, Rules, Store};
    /// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
    ///
    /// # let root = tempfile::tempdir()?;
    /// # let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).in_memory().open()?;
    /// # let store = Store::builder(&cache).root(root.path()).open()?;
    /// # let climate: Document<RawObject> = store.document("copacetic-sled", "climate")?;
    /// # climate.create(&RawObject::from_json("{}")?)?;
    /// let mut held = climate.lock()?;
    /// let give_up = Arc::new(AtomicBool::new(false));
    /// let lost = give_up.clone();
    /// Locked::on_lost(&mut held, move |_| lost.store(true, Ordering::Relaxed));
    /// // … work that looks at `give_up` now and then …
    /// held.dump_and_unlock()?;
    /// # Ok::<(), cachetx::BoxError>(())
    /// ```
    pub fn on_lost(this: &mut Self, hook: impl FnOnce(&LostLock) + Send + 'static) {
        this.hold.life.on_lost(Box::new(hook));
    }

    /// How long the lock surely lives unless it is renewed.
    #[must_use]
    pub fn remaining(this: &Self) -> Duration {
        this.hold.life.expires().saturating_sub(now().boot)
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

/// Of a guard whose lock was let go of.
const GONE: &str = "it was let go of before";

/// The lock behind a guard, and what the guard has seen of the file.
pub(super) struct Hold {
    store: Store,
    names: Arc<Names>,
    /// `None` once it was let go of.
    lock: Option<Lock>,
    fence: u64,
    life: Arc<Life>,
    /// Dropped before the lock is let go of.
    keeper: Option<Task>,
    /// Of a lock that the server did not give ([`WhileAway::OsLock`](crate::WhileAway::OsLock)): they hold the OS lock in its
    /// place, for which a save of its own would wait in vain.
    files: Option<Session>,
    read: Option<Stamp>,
    last_mtime_ns: i64,
    outer: Outer,
}

impl Hold {
    pub(super) fn new(
        store: Store,
        names: Arc<Names>,
        held: Held,
        files: Option<Session>,
    ) -> (Self, Option<Bytes>) {
        let (read, bytes) = held.read.unzip();
        let life = Life::new(&store, &names.place.folder, &names.controller, held.expires);
        let keeper = match store.0.keep_alive {
            _ if files.is_some() => None,
            KeepAlive::Off => None,
            KeepAlive::On => Some(keep_alive::keep(
                &store,
                &life,
                &names.document,
                &held.lock,
                &names.fence_key,
            )),
        };
        let hold = Self {
            store,
            names,
            lock: Some(held.lock),
            fence: held.fence,
            life,
            keeper,
            files,
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
        Ok(Writer {
            lock: self.lock.clone().ok_or_else(|| self.lost(GONE))?,
            fence: self.fence,
            expires: self.life.expires(),
            read: self.read,
            last_mtime_ns: self.last_mtime_ns,
        })
    }

    /// Forgets the lock: it was released by the server's step, or is left to its TTL.
    pub(super) fn let_go_of(&mut self) {
        self.keeper = None;
        self.life.over();
        self.lock = None;
        self.files = None;
    }

    /// Runs a protocol under this lock.
    pub(super) fn drive<D>(&mut self, run: Run<D>) -> Result<D> {
        match &mut self.files {
            Some(files) => self.store.drive_with(files, run),
            None => self.store.drive(run),
        }
    }

    fn lost(&self, why: &'static str) -> Error {
        let document = self.names.document.clone();
        Error::new(Kind::LockLost { document, why })
    }

    pub(super) fn save<T: Serialize>(
        &mut self,
        value: &T,
        save: &Save,
        release: bool,
    ) -> Result<Outcome> {
        let (names, store) = (self.names.clone(), self.store.clone());
        let cache = store.cache();
        let mut params = save.params.clone();
        for (name, value) in names.params.iter() {
            if params.get(name).is_none() {
                params = params.with(name, value.clone());
            }
        }
        let dependents = cache
            .rules()
            .expand_for(&names.controller, &save.tasks, &params)?;
        let bytes = json::to_bytes(
            &names.document,
            value,
            self.store.0.style,
            Some(&self.outer),
        )?;
        let plan = Plan {
            document: names.document.clone(),
            place: names.place.clone(),
            id: token::hex_128()?,
            bytes: bytes.into(),
            own: names.entry.clone(),
            ttl_ms: u64::try_from(cache.entry_life(names.ttl).as_millis()).unwrap_or(u64::MAX),
            dependents: cache.split(&names.entry, cache.entries(&dependents))?,
            params,
            writer: self.writer()?,
            release,
            wait: save
                .wait
                .or(self.store.0.wait)
                .filter(|wait| wait.replicas > 0),
            guarantee: save.guarantee.unwrap_or(self.store.0.guarantee),
            mark_ttl: cache.mark_ttl(),
            patience: cache.response_timeout(),
        };
        self.life.saving();
        let on_server = self.files.is_none();
        let saved = self.drive(protocol::save::save(plan));
        // What a released lock's renewal finds means nothing, so this one is over without being held once more.
        match release && saved.is_ok() {
            true => self.let_go_of(),
            false => self.life.saved(),
        }
        // A lock that is known to be lost has no time left: so the save says first whether somebody else was faster.
        let saved = saved.map_err(|e| match self.life.lost() {
            Some(why) if e.is_lock_lost() => self.lost(why),
            _ => e,
        })?;
        cache.note(&names.document, &saved.outcome.cache);
        if saved.lock_lost && on_server {
            log::warn!("{}: saved, but the lock was lost meanwhile", names.document);
            match release {
                true => cache.counters().locks_lost.add(),
                false => drop(self.life.lose("it ran out or was cleared", cache)),
            }
        }
        self.read = Some(saved.stamp);
        self.last_mtime_ns = saved.stamp.mtime_ns;
        Ok(saved.outcome)
    }

    fn renew(&mut self) -> Result<()> {
        if let Some(why) = self.life.lost() {
            return Err(self.lost(why));
        }
        let lock = self.lock.clone().ok_or_else(|| self.lost(GONE))?;
        if self.files.is_some() {
            return Ok(());
        }
        let names = &self.names;
        let run = lock::renew(
            names.document.clone(),
            lock,
            names.fence_key.clone(),
            self.store.0.lock_ttl,
        );
        match self.store.drive(run) {
            Ok(expires) => {
                self.life.renewed(expires);
                Ok(())
            }
            Err(e) => {
                if let Some(why) = keep_alive::why(&e) {
                    self.life.lose(why, self.store.cache());
                }
                Err(e)
            }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.keeper = None;
        let lost = self.life.lost().is_some();
        self.life.over();
        let on_server = self.files.is_none();
        if let Some(lock) = self.lock.take().filter(|_| on_server && !lost) {
            // The protocol logs a failure and leaves the lock to its TTL.
            let _ = self
                .store
                .drive(lock::release(self.names.document.clone(), lock));
        }
    }
}
