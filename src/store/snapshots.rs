//! What this process has read: for each document and each type it was read as, the `Arc<T>` that its readers share.
//!
//! A snapshot is returned only beside an identity that was taken after the read began and that is its own, so a reader never gets
//! anything older than the file was at its call. Where the identity may be another version's too, the file is read, and what was
//! parsed before is returned only for the same bytes.

use crate::{
    disk::{Identity, Version},
    model::{Place, Result, limits},
};
use quick_cache::{
    DefaultHashBuilder, Equivalent, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle, GuardResult},
};
use std::{
    any::{Any, TypeId},
    hash::{Hash, Hasher},
    sync::Arc,
};

/// `None` where none are kept.
pub(super) struct Snapshots(Option<Cache<Key, Slot, Weights>>);

/// What a load gave.
pub(super) struct Loaded<T> {
    pub(super) value: Arc<T>,
    /// Of JSON text.
    pub(super) bytes: u64,
    pub(super) version: Version,
    /// Of the text.
    pub(super) digest: u64,
}

/// What was parsed of bytes with this digest.
pub(super) struct Kept<T> {
    pub(super) value: Arc<T>,
    pub(super) digest: u64,
}

/// What a reader gets.
#[derive(Debug)]
pub(super) struct Got<T> {
    pub(super) value: Arc<T>,
    /// Whether it is a snapshot, and not what this reader loaded.
    pub(super) kept: bool,
}

impl Snapshots {
    pub(super) fn new(entries: usize, bytes: u64) -> Self {
        if entries == 0 || bytes == 0 {
            return Self(None);
        }
        let options = OptionsBuilder::new()
            .shards(limits::SNAPSHOT_SHARDS)
            .estimated_items_capacity(entries)
            .weight_capacity(bytes)
            // Else what takes up more than 97 percent is never kept: a single document where one is the bound.
            .hot_allocation(1.0)
            .build();
        // Building fails only where a capacity was not given.
        let Ok(options) = options else {
            return Self(None);
        };
        let least = bytes.div_ceil(entries as u64);
        Self(Some(Cache::with_options(
            options,
            Weights { least },
            DefaultHashBuilder::default(),
            DefaultLifecycle::default(),
        )))
    }

    /// The snapshot, where `now` says that it is the file's.
    #[cfg(feature = "tokio")]
    pub(super) fn current<T: Send + Sync + 'static>(
        &self,
        place: &Place,
        now: impl Fn() -> Option<Identity>,
    ) -> Option<Arc<T>> {
        let kind = TypeId::of::<T>();
        let seen = self.0.as_ref()?.get(&Asked { place, kind }).flatten()?;
        seen.if_current(now).map(|got| got.value)
    }

    /// The snapshot where `now` says that it is the file's, else what `load` gives, which gets the snapshot that there was: it
    /// need not parse the same bytes again. Readers that come while another one loads wait for that, a bounded time; where it
    /// is not theirs to use they load for themselves, side by side.
    pub(super) fn read<T: Send + Sync + 'static>(
        &self,
        place: &Place,
        now: impl Fn() -> Option<Identity>,
        load: impl FnOnce(Option<Kept<T>>) -> Result<Loaded<T>>,
    ) -> Result<Got<T>> {
        let Some(kept) = &self.0 else {
            return load(None).map(Got::loaded);
        };
        let kind = TypeId::of::<T>();
        let seen = kept.get(&Asked { place, kind }).flatten();
        if let Some(snapshot) = &seen
            && let Some(got) = snapshot.if_current(&now)
        {
            return Ok(got);
        }
        let key = Key {
            place: place.clone(),
            kind,
        };
        if let Some(old) = &seen {
            // A newer one that somebody put there meanwhile stays.
            let is_old = |slot: &Slot| {
                slot.as_ref()
                    .is_some_and(|it| (it.version, it.digest) == (old.version, old.digest))
            };
            kept.remove_if(&key, is_old);
        }
        match kept.get_value_or_guard(&key, Some(limits::SNAPSHOT_WAIT)) {
            GuardResult::Guard(guard) => {
                let loaded = load(seen.as_ref().and_then(Snapshot::kept));
                let slot = loaded.as_ref().ok().map(Snapshot::of);
                let keep = slot.is_some();
                // Also where nothing was loaded, so that those who wait go on all at once. An error means that it was evicted.
                let _ = guard.insert(slot);
                if !keep {
                    kept.remove_if(&key, Option::is_none);
                }
                return loaded.map(Got::loaded);
            }
            // That load began before this read, perhaps: only the identity of now makes it this reader's, or the same bytes.
            GuardResult::Value(Some(snapshot)) => {
                if let Some(got) = snapshot.if_current(&now) {
                    return Ok(got);
                }
                return load(snapshot.kept()).map(Got::loaded);
            }
            GuardResult::Value(None) | GuardResult::Timeout => {}
        }
        load(None).map(Got::loaded)
    }
}

impl<T> Got<T> {
    fn loaded(loaded: Loaded<T>) -> Self {
        Self {
            value: loaded.value,
            kept: false,
        }
    }
}

/// `None` for a moment only: a load that failed.
type Slot = Option<Snapshot>;

#[derive(Clone)]
struct Snapshot {
    value: Arc<dyn Any + Send + Sync>,
    bytes: u64,
    version: Version,
    digest: u64,
}

impl Snapshot {
    fn of<T: Send + Sync + 'static>(loaded: &Loaded<T>) -> Self {
        Self {
            value: loaded.value.clone(),
            bytes: loaded.bytes,
            version: loaded.version,
            digest: loaded.digest,
        }
    }

    fn kept<T: Send + Sync + 'static>(&self) -> Option<Kept<T>> {
        let value = self.value.clone().downcast().ok()?;
        let digest = self.digest;
        Some(Kept { value, digest })
    }

    fn if_current<T: Send + Sync + 'static>(
        &self,
        now: impl Fn() -> Option<Identity>,
    ) -> Option<Got<T>> {
        let current = now().and_then(|now| self.version.is(&now)) == Some(true);
        if !current && cfg!(not(cachetx_without_snapshot_check)) {
            return None;
        }
        let value = self.value.clone().downcast().ok()?;
        Some(Got { value, kept: true })
    }
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    place: Place,
    kind: TypeId,
}

/// A key that is only looked for, so that a hot read counts no references.
struct Asked<'a> {
    place: &'a Place,
    kind: TypeId,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (place, kind) = (&self.place, self.kind);
        Asked { place, kind }.hash(state);
    }
}

impl Hash for Asked<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.place, self.kind).hash(state);
    }
}

impl Equivalent<Key> for Asked<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        (self.place, self.kind) == (&key.place, key.kind)
    }
}

/// The cache knows one weight, and there are two bounds: each snapshot weighs its bytes, and at least what a snapshot may
/// weigh on average where their number is the bound. So neither bound is passed.
#[derive(Clone)]
struct Weights {
    least: u64,
}

impl Weighter<Key, Slot> for Weights {
    fn weight(&self, _: &Key, slot: &Slot) -> u64 {
        slot.as_ref().map_or(0, |it| it.bytes.max(self.least))
    }
}

#[cfg(test)]
mod tests;
