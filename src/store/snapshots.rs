//! Snapshots of what this process has read: for each document and each type it was read as, the
//! `Arc<T>` that its readers share.
//!
//! A snapshot is returned only if its identity equals one taken after the read began, so a reader
//! never gets anything older than the file was at its call. If another version of the file could
//! have the same identity, the file is read, and the snapshot is returned only for the same bytes.

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

/// `None` if no snapshots are kept.
pub(super) struct Snapshots(Option<Cache<Key, Slot, Weights>>);

/// The result of a load.
pub(super) struct Loaded<T> {
    pub(super) value: Arc<T>,
    /// The size of the JSON text.
    pub(super) bytes: u64,
    pub(super) version: Version,
    /// The digest of the text.
    pub(super) digest: u64,
}

/// A parsed document, and the digest of its bytes.
pub(super) struct Kept<T> {
    pub(super) value: Arc<T>,
    pub(super) digest: u64,
}

/// What a reader gets.
#[derive(Debug)]
pub(super) struct Got<T> {
    pub(super) value: Arc<T>,
    /// Whether it is a snapshot rather than what this reader loaded.
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
            // Otherwise an entry of more than 97 percent of the capacity is never kept: a single
            // document, if `entries` is 1.
            .hot_allocation(1.0)
            .build();
        // Building fails only if a capacity is missing.
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

    /// The snapshot, if `now` says that it is the file's.
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

    /// The snapshot, if `now` says that it is the file's; otherwise the result of `load`, which
    /// gets the old snapshot so that it need not parse the same bytes again. Readers that arrive
    /// during a load wait for it, for a bounded time. If they cannot use its result, they load in
    /// parallel.
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
            // A newer one that another reader stored meanwhile stays.
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
                // Also if the load failed, so that all waiting readers continue at once. An error
                // means that it was evicted.
                let _ = guard.insert(slot);
                if !keep {
                    kept.remove_if(&key, Option::is_none);
                }
                return loaded.map(Got::loaded);
            }
            // That load may have begun before this read. It is this reader's only if the present
            // identity, or the bytes, are the same.
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

/// `None` only briefly: a load that failed.
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

/// A key for lookups only, so that a hot read clones no reference.
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

/// The cache has one weight, but there are two bounds. Each snapshot weighs its bytes, but at least
/// the average weight at the bound of their number. So neither bound is exceeded.
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
