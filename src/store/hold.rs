//! The lock behind a guard, and saving under it.

use super::{
    KeepAlive, LostLock, Save, Store,
    backend::Workspace,
    keep_alive::{self, Life},
    names::Names,
    observed::Saving,
};
#[cfg(feature = "tokio")]
use crate::cache::Cache;
use crate::{
    cache::{Task, observe::SaveKind},
    disk::Known,
    drive::now,
    engine::Net,
    json::{self, Outer},
    model::{Bytes, Entry, Error, Lock, Result, error::Kind},
    protocol::{
        self, Held, Outcome, Run,
        group::Member,
        lock,
        save::{Plan, Right, Writer},
    },
};
use arcstr::Substr;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::HashSet, sync::Arc, time::Duration};

/// Error text: the lock was already released.
const GONE: &str = "it was let go of before";

/// The lock behind a guard, and what the guard has seen of the file.
pub struct Hold {
    store: Store,
    names: Arc<Names>,
    /// `None` once it was released.
    lock: Option<Lock>,
    fence: u64,
    life: Arc<Life>,
    /// Whether a thread or a task has the guard.
    net: Net,
    /// Dropped before the lock is released.
    keeper: Option<Task>,
    /// For a lock that the server did not grant ([`WhileAway::OsLock`](crate::WhileAway::OsLock)):
    /// its files hold the OS lock instead, and a save with its own workspace would wait for that in
    /// vain.
    work: Option<Workspace>,
    /// Operations sent to the server by runs under this lock.
    round_trips: u32,
    read: Option<Known>,
    last_mtime_ns: i64,
    outer: Outer,
}

impl Hold {
    pub(super) fn new(
        net: Net,
        store: Store,
        names: Arc<Names>,
        held: Held,
        work: Option<Workspace>,
    ) -> (Self, Option<Bytes>) {
        let (read, bytes) = held.read.map(|found| (found.known(), found.bytes)).unzip();
        let life = Life::new(&store, &names.place.folder, &names.listed, held.expires);
        let keeper = match store.0.keep_alive {
            _ if work.is_some() => None,
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
            net,
            keeper,
            work,
            round_trips: 0,
            last_mtime_ns: held
                .last_mtime_ns
                .max(read.as_ref().map_or(0, |read| read.version.stamp.mtime_ns)),
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
            right: Right::Lock {
                lock: self.lock.clone().ok_or_else(|| self.lost(GONE))?,
                fence: self.fence,
                expires: self.life.expires().clone(),
            },
            read: self.read.clone(),
            last_mtime_ns: self.last_mtime_ns,
        })
    }

    /// Forgets the lock: the server's step released it, or it is left to its TTL.
    pub(super) fn let_go_of(&mut self) {
        self.keeper = None;
        self.life.over();
        self.lock = None;
        self.work = None;
    }

    /// Runs a protocol under this lock.
    pub(super) async fn drive<D: Send + 'static>(&mut self, run: Run<D>) -> Result<D> {
        let mut fresh = None;
        let work = match &mut self.work {
            Some(work) => work,
            None => fresh.insert(self.store.workspace()),
        };
        let before = work.round_trips;
        let done = self.store.drive_by(self.net, work, run).await;
        // A runtime that ended in the middle keeps the workspace.
        self.round_trips += work.round_trips.saturating_sub(before);
        done
    }

    fn lost(&self, why: &'static str) -> Error {
        let document = self.names.document.clone();
        Error::new(Kind::LockLost { document, why })
    }

    /// Saves this text of the document and returns the outcome.
    pub(super) async fn save(
        &mut self,
        bytes: Result<Bytes>,
        save: &Save,
        release: bool,
    ) -> Result<Outcome> {
        let (names, store) = (self.names.clone(), self.store.clone());
        let documents = [&*names];
        let mut saving = Saving::begin(store.cache(), SaveKind::Save, &documents, &save.tasks);
        let span = saving.span.clone();
        let saved = self.save_as_part(bytes, save, release, &mut saving);
        let saved = span.around(saved).await;
        saving.end(saved.as_ref());
        saved
    }

    /// Like `save`, as a part of an operation that makes the event.
    pub(super) async fn save_as_part(
        &mut self,
        bytes: Result<Bytes>,
        save: &Save,
        release: bool,
        saving: &mut Saving<'_>,
    ) -> Result<Outcome> {
        let (names, store, bytes) = (self.names.clone(), self.store.clone(), bytes?);
        let cache = store.cache();
        let plan = Plan {
            release,
            ..store.plan(&names, save, bytes, self.writer()?)?
        };
        let bytes = plan.bytes.clone();
        self.begin_save();
        let (on_server, before) = (self.work.is_none(), self.round_trips);
        let saved = self.drive(protocol::save::save(plan)).await;
        saving.round_trips += self.round_trips - before;
        self.end_save(release && saved.is_ok());
        let saved = saved.map_err(|e| self.why_lost(e))?;
        if saved.lock_lost && on_server {
            match release {
                true => saving.lock_lost(),
                false => self.life.lose("it ran out or was cleared", cache),
            }
        }
        self.read = Some(Known::saved(saved.stamp, bytes));
        self.last_mtime_ns = saved.stamp.mtime_ns;
        Ok(saved.outcome)
    }

    /// From here until [`Self::end_save`], a missing lock does not count as lost.
    pub(super) fn begin_save(&self) {
        self.life.saving();
    }

    /// What a renewal finds after the release does not count: a released lock ends without being
    /// held again in between.
    pub(super) fn end_save(&mut self, released: bool) {
        match released {
            true => self.let_go_of(),
            false => self.life.saved(self.store.cache()),
        }
    }

    /// A lock that is known to be lost has no time left, so a save first reports whether somebody
    /// else was faster.
    pub(super) fn why_lost(&self, error: Error) -> Error {
        match self.life.lost() {
            Some(why) if error.is_lock_lost() => self.lost(why),
            _ => error,
        }
    }

    pub(super) fn on_lost(&self, hook: Box<dyn FnOnce(&LostLock) + Send>) {
        self.life.on_lost(hook);
    }

    /// The document's part in a transaction. Its dependents are its own to delete, except for
    /// entries that were named before.
    pub(super) fn member(
        &self,
        save: &Save,
        bytes: Bytes,
        named: &mut HashSet<Substr>,
    ) -> Result<Member> {
        let names = &self.names;
        let (mut dependents, params) = self.store.expand(names, save)?;
        dependents.retain(|entry| named.insert(entry.value.clone()));
        Ok(Member {
            document: names.document.clone(),
            place: names.place.clone(),
            bytes,
            own: names.entry.clone(),
            ttl_ms: self.store.ttl_ms(names)?,
            dependents: self.store.cache().split(&names.entry, dependents)?,
            params,
            writer: self.writer()?,
        })
    }

    pub(super) fn to_bytes<T: Serialize>(&self, value: &T) -> Result<Bytes> {
        let (document, style) = (&self.names.document, self.store.0.style);
        json::to_bytes(document, value, style, Some(&self.outer)).map(Into::into)
    }

    pub(super) fn parse<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T> {
        json::parse(&self.names.document, bytes)
    }

    /// Operations sent to the server by runs under this lock.
    pub(super) fn round_trips(&self) -> u32 {
        self.round_trips
    }

    pub(super) fn names(&self) -> Arc<Names> {
        Arc::clone(&self.names)
    }

    pub(super) fn document(&self) -> &str {
        &self.names.document
    }

    pub(super) fn entry(&self) -> &Entry {
        &self.names.entry
    }

    pub(super) fn remaining(&self) -> Duration {
        self.life.expires().get().saturating_sub(now().boot)
    }

    pub(super) async fn renew(&mut self) -> Result<()> {
        if let Some(why) = self.life.lost() {
            return Err(self.lost(why));
        }
        let lock = self.lock.clone().ok_or_else(|| self.lost(GONE))?;
        if self.work.is_some() {
            return Ok(());
        }
        let names = &self.names;
        let run = lock::renew(
            names.document.clone(),
            lock,
            names.fence_key.clone(),
            self.store.0.lock_ttl,
        );
        let mut work = self.store.workspace();
        match self.store.drive_by(self.net, &mut work, run).await {
            Ok(expires) => {
                self.life.expires().renewed(expires);
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

impl Hold {
    /// The run that releases the lock, if this hold still has it and the server granted it.
    fn release(&mut self) -> Option<Run<()>> {
        self.keeper = None;
        self.life.over();
        let on_server = self.work.is_none();
        // Also if the lock seems lost: it may only have expired by this machine's clock, while a
        // renewal whose reply was lost extended it.
        let lock = self.lock.take().filter(|_| on_server)?;
        Some(lock::release(self.names.document.clone(), lock))
    }

    #[cfg(feature = "tokio")]
    pub(super) fn cache(&self) -> &Cache {
        self.store.cache()
    }

    /// Releases the lock in a task, to completion.
    #[cfg(feature = "tokio")]
    pub(super) async fn release_in_task(mut self) {
        let (cache, net) = (self.cache().clone(), self.net);
        let released = cache.to_its_end(net, async move {
            match self.release() {
                Some(release) => self.drive(release).await,
                None => Ok(()),
            }
        });
        // As in the drop below.
        let _ = released.await;
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // The protocol logs a failure and leaves the lock to its TTL.
        if let Some(release) = self.release() {
            match self.net {
                Net::Threads => drop(self.store.drive(release)),
                // There may be no runtime any more, and a task must not wait for a disk.
                #[cfg(feature = "tokio")]
                Net::Tasks => self.store.release_later(release),
            }
        }
    }
}
