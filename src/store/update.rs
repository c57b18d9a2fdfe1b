//! Changes a document without holding its lock meanwhile.

use super::{Document, Save, observed::Saving};
use crate::{
    cache::observe::SaveKind,
    drive::nested::{self, Begun, Load},
    engine::{Net, at_once},
    json::{self, Outer},
    model::{BoxError, Error, Result, error::Kind, limits},
    protocol::{
        self, Outcome,
        save::{Right, Writer},
    },
};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use serde::{Serialize, de::DeserializeOwned};
use std::{any::TypeId, sync::Arc};

/// Marks an update among the nested calls of a thread.
struct Updating;

impl<T: Serialize + DeserializeOwned> Document<T> {
    /// Reads the document, lets the closure change it, and saves it for these tasks. It saves like
    /// [`dump_and_unlock_with_transaction`](crate::Locked::dump_and_unlock_with_transaction), but
    /// no lock is held while the closure runs. Returns the closure's result and the outcome.
    ///
    /// At its end it checks, under the OS lock of the document's sidecar, whether the file is still
    /// the one that was read. If not, the file is read again and **the closure runs again**. So the
    /// closure must change nothing but its argument, and may be called any number of times. For
    /// long work, use [`Document::lock`].
    ///
    /// Holders of [`Document::lock`] are respected: the server is asked for the lock's holder just
    /// before the file is replaced. If the lock is held, if the server does not answer within a
    /// second, or if others were faster three times, the update waits for the lock and runs under
    /// it, as [`Document::locked`]. So a thread that holds a guard of the document waits for
    /// itself, as long as `lock()` would. While the server answers, nobody who got the lock from it
    /// gets a conflict because of an update. While the server is unreachable, an update fails, or
    /// uses the OS lock if the store allows it ([`WhileAway::OsLock`](crate::WhileAway::OsLock));
    /// an update of a store without locks continues in any case, and its commit is deferred. A
    /// program that replaces the file under the server's lock without checking what it replaces
    /// must not run beside updates.
    ///
    /// It takes two round trips, like a lock and a save (two more if locks have their own
    /// database); in a store that was opened [`without_locks`](crate::StoreBuilder::without_locks),
    /// one. A crash-safe update takes one more. A hundred tries in a store without locks take about
    /// half a minute.
    ///
    /// The document's entry is set if the server has the entry of the file that was replaced.
    /// Otherwise, and after a crash-safe update, it is deleted, and the next [`Document::read`]
    /// sets it ([`CacheOutcome::Invalidated`](crate::CacheOutcome::Invalidated)).
    ///
    /// # Errors
    ///
    /// The closure's own error, returned through [`Error::caller`]. As [`Document::lock`], if the
    /// update waits for the lock. [`Error::is_conflict`], with the number of tries, if others were
    /// faster each time. [`Error::is_nested`] inside an update of the same document by this thread.
    /// And as a save. Nothing was written then.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::{Cache, Document, Rules, Store};
    /// # #[derive(serde::Serialize, serde::Deserialize)] struct Climate { years: u32 }
    ///
    /// # let root = tempfile::tempdir()?;
    /// # let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).in_memory().open()?;
    /// # let store = Store::builder(&cache).root(root.path()).open()?;
    /// let climate: Document<Climate> = store.document("copacetic-sled", "climate")?;
    /// climate.create(&Climate { years: 30 })?;
    /// let (before, outcome) = climate.update(["build_climate"], |climate| {
    ///     climate.years += 1;
    ///     Ok(climate.years - 1)
    /// })?;
    /// assert_eq!((before, climate.read()?.years), (30, 31));
    /// assert!(outcome.cache.is_settled());
    /// # Ok::<(), cachetx::BoxError>(())
    /// ```
    pub fn update<R>(
        &self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        change: impl FnMut(&mut T) -> Result<R, BoxError>,
    ) -> Result<(R, Outcome)> {
        self.update_with(Save::new().tasks(tasks), change)
    }

    /// Like [`update`](Self::update), with all options of a save.
    ///
    /// # Errors
    ///
    /// As [`Document::update`].
    pub fn update_with<R>(
        &self,
        save: Save,
        change: impl FnMut(&mut T) -> Result<R, BoxError>,
    ) -> Result<(R, Outcome)> {
        self.is_not_updating()?;
        at_once(self.update_by(Net::Threads, save, change))
    }

    pub(crate) async fn update_by<R>(
        &self,
        net: Net,
        save: Save,
        change: impl FnMut(&mut T) -> Result<R, BoxError>,
    ) -> Result<(R, Outcome)> {
        let documents = [self.names()];
        let cache = self.store().cache();
        let mut saving = Saving::begin(cache, SaveKind::Update, &documents, &save.tasks);
        let span = saving.span.clone();
        let updating = self.update_until(net, &save, change, &mut saving);
        let updated = span.around(updating).await;
        saving.end(updated.as_ref().map(|(_, outcome)| outcome));
        updated
    }

    /// Tries until it is saved, the last time under the lock.
    async fn update_until<R>(
        &self,
        net: Net,
        save: &Save,
        mut change: impl FnMut(&mut T) -> Result<R, BoxError>,
        saving: &mut Saving<'_>,
    ) -> Result<(R, Outcome)> {
        let inner = &self.store().0;
        let document = &self.names().document;
        let mut pauses = ExponentialBuilder::new()
            .with_min_delay(limits::UPDATE_PAUSE_MIN)
            .with_max_delay(limits::UPDATE_PAUSE_MAX)
            .with_jitter()
            .without_max_times()
            .build();
        for tries in 1..=limits::UPDATE_TRIES {
            let lock = match self.update_once(net, save, &mut change, saving).await {
                Err(e) if e.is_conflict() => {
                    saving.conflicts += 1;
                    tries == limits::UPDATE_TRIES_WITHOUT_LOCK
                }
                Err(e)
                    if inner.has_locks
                        && (e.is_lock_held() || e.is_busy() || e.is_unavailable()) =>
                {
                    true
                }
                done => return done,
            };
            if lock && inner.has_locks {
                let begin = || Some(self.begin_update());
                return self
                    .change_under_lock(net, save, begin, change, Some(saving))
                    .await;
            }
            if tries < limits::UPDATE_TRIES {
                let pause = pauses.next().unwrap_or(limits::UPDATE_PAUSE_MAX);
                net.sleep(pause).await;
            }
        }
        Err(Error::new(Kind::Overtaken {
            document: document.clone(),
            tries: limits::UPDATE_TRIES,
        }))
    }

    async fn update_once<R>(
        &self,
        net: Net,
        save: &Save,
        change: &mut impl FnMut(&mut T) -> Result<R, BoxError>,
        saving: &mut Saving<'_>,
    ) -> Result<(R, Outcome)> {
        let (store, names) = (self.store(), self.names());
        let mut work = store.workspace();
        let read = protocol::read::to_change(names.document.clone(), names.place.clone());
        let found = store.drive_by(net, &mut work, read).await?;
        let (result, bytes) = {
            let _begun = self.begin_update();
            let mut value = json::parse(&names.document, &found.bytes)?;
            let result = change(&mut value).map_err(|e| Error::new(Kind::Caller(e)))?;
            let outer = Outer::of(&found.bytes);
            let style = store.0.style;
            (
                result,
                json::to_bytes(&names.document, &value, style, Some(&outer))?,
            )
        };
        let writer = Writer {
            right: Right::Update {
                lock_key: store.0.has_locks.then(|| names.lock_key.clone()),
            },
            last_mtime_ns: found.stamp().mtime_ns,
            read: Some(found.known()),
        };
        let plan = store.plan(names, save, bytes.into(), writer)?;
        let saved = protocol::save::save(plan);
        let saved = store.drive_by(net, &mut work, saved).await;
        saving.round_trips += work.round_trips;
        Ok((result, saved?.outcome))
    }
}

impl<T> Document<T> {
    /// From here until the drop this thread updates the document: the caller's code may try to
    /// update it too.
    fn begin_update(&self) -> Begun {
        let (owner, kind) = self.updating();
        let name = self.names().document.clone();
        Load { owner, kind, name }.begin()
    }

    fn updating(&self) -> (usize, TypeId) {
        (
            Arc::as_ptr(&self.store().0) as usize,
            TypeId::of::<Updating>(),
        )
    }

    /// Refuses if this thread is updating the document: this call would overtake the update, or
    /// wait for it.
    pub(super) fn is_not_updating(&self) -> Result<()> {
        let (owner, kind) = self.updating();
        match Load::is_under_way(owner, kind, &self.names().document) {
            true => Err(nested::refused(&self.names().document)),
            false => Ok(()),
        }
    }
}
