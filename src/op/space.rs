//! How a server divides its keys, and the part that an operation belongs to.

use super::{Op, keys::sibling};
use crate::{
    model::{Entry, Error, error::Kind},
    rules::{hash_tag, slot},
};

/// How a server divides its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Space {
    /// Not divided: any keys may be in one step.
    Whole,
    /// Into a Cluster's hash slots: only keys of one slot may be in one step.
    Slots,
}

impl Space {
    /// Adapts entries that were named for an undivided server: in a Cluster, an entry without a
    /// hash tag has a `leases(V)` of its own, in its slot.
    pub(crate) fn place(self, entries: Vec<Entry>) -> Vec<Entry> {
        match self {
            Self::Whole => entries,
            Self::Slots => entries
                .into_iter()
                .map(|entry| self.place_one(entry))
                .collect(),
        }
    }

    pub(crate) fn place_one(self, entry: Entry) -> Entry {
        if self == Self::Whole || hash_tag(&entry.value).is_some() {
            return entry;
        }
        Entry {
            leases: sibling(&entry.value, "leases").into(),
            ..entry
        }
    }

    /// Divides items into parts that one step can handle, ordered by the first item of each.
    pub(crate) fn divide<T>(self, items: Vec<T>, key: impl Fn(&T) -> &str) -> Vec<Vec<T>> {
        if self == Self::Whole {
            return if items.is_empty() {
                vec![]
            } else {
                vec![items]
            };
        }
        let mut parts: Vec<(u16, Vec<T>)> = Vec::new();
        for item in items {
            let slot = slot(key(&item));
            match parts.iter_mut().find(|(s, _)| *s == slot) {
                Some((_, part)) => part.push(item),
                None => parts.push((slot, vec![item])),
            }
        }
        parts.into_iter().map(|(_, part)| part).collect()
    }

    /// Refuses a second key that may not be in one step with the first.
    pub(crate) fn meet(self, first: &str, second: &str) -> Result<(), Error> {
        if self == Self::Whole || slot(first) == slot(second) {
            return Ok(());
        }
        let named = |key: &str| (key.to_owned(), slot(key));
        Err(Error::new(Kind::CrossSlot {
            first: named(first),
            second: named(second),
        }))
    }
}

impl Op {
    /// The keys that decide where it runs; keys derived from them are in their slots.
    fn keys(&self) -> Vec<&str> {
        match self {
            Self::Acquire(op) => vec![&op.lock.key, &op.fence_key],
            Self::Renew(op) => vec![&op.lock.key, &op.fence_key],
            Self::Release(op) => vec![&op.lock.key],
            Self::Prepare(op) => {
                let locks = op.locks.iter().map(|lock| lock.key.as_str());
                let entries = op.entries.iter();
                entries
                    .flat_map(|entry| [entry.value.as_str(), &*entry.leases])
                    .chain(locks)
                    .collect()
            }
            Self::Commit(op) => {
                let own = op.own.iter().map(|own| &own.entry);
                let locks = op.locks.iter().map(|lock| lock.key.as_str());
                own.chain(&op.dependents)
                    .flat_map(|entry| [entry.value.as_str(), &*entry.leases])
                    .chain(locks)
                    .collect()
            }
            Self::Invalidate(op) => {
                let locks = op.release.iter().map(|lock| lock.key.as_str());
                let entries = op.entries.iter();
                entries
                    .flat_map(|entry| [entry.value.as_str(), &*entry.leases])
                    .chain(locks)
                    .collect()
            }
            Self::Lease(op) => vec![&op.entry.value, &op.entry.leases],
            Self::Extend(op) => vec![&op.entry.value, &op.entry.leases],
            Self::GiveBack(op) => vec![&op.entry.value, &op.entry.leases],
            Self::Fill(op) => vec![&op.entry.value, &op.entry.leases],
            Self::Read(op) => vec![&op.entry.value],
            Self::ClearLocks(op) => op.locks.iter().map(String::as_str).collect(),
            Self::Holders(op) => op.locks.iter().map(String::as_str).collect(),
        }
    }

    /// The hash slot of all its keys; `None` if it has no key.
    ///
    /// # Errors
    ///
    /// Its keys are in several slots.
    pub(crate) fn slot(&self) -> Result<Option<u16>, Error> {
        let keys = self.keys();
        let Some((first, others)) = keys.split_first() else {
            return Ok(None);
        };
        for other in others {
            Space::Slots.meet(first, other)?;
        }
        Ok(Some(slot(first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::Lock,
        op::{Invalidate, Prepare},
    };

    fn entry(value: &str, leases: &str) -> Entry {
        Entry {
            value: value.into(),
            leases: leases.into(),
        }
    }

    #[test]
    fn in_a_cluster_a_key_without_a_tag_has_leases_of_its_own() {
        let entries = vec![
            entry("a", "cachetx:leases"),
            entry("{t}:b", "{t}:cachetx:leases"),
        ];
        assert_eq!(Space::Whole.place(entries.clone()), entries);
        let placed = Space::Slots.place(entries.clone());
        assert_eq!(&*placed[0].leases, "{a}:leases");
        assert_eq!(placed[1], entries[1]);
    }

    #[test]
    fn an_operation_is_of_one_slot_or_refused() {
        let mut op = Invalidate {
            entries: vec![
                entry("{t}:a", "{t}:cachetx:leases"),
                entry("{t}:b", "{t}:cachetx:leases"),
            ],
            raises: Vec::new(),
            token: String::new(),
            release: None,
        };
        assert_eq!(Op::Invalidate(op.clone()).slot().unwrap(), Some(slot("t")));
        op.release = Some(Lock {
            key: "elsewhere".to_owned(),
            value: String::new(),
        });
        let error = Op::Invalidate(op.clone()).slot().unwrap_err();
        assert!(error.is_cross_slot(), "{error}");
        assert!(error.to_string().contains("elsewhere"), "{error}");
        op.release = None;
        op.entries.push(entry("{t}:c", "cachetx:leases"));
        assert!(Op::Invalidate(op.clone()).slot().is_err());
        op.entries.clear();
        assert_eq!(Op::Invalidate(op).slot().unwrap(), None);
    }

    #[test]
    fn marks_are_in_the_slot_of_their_entries_and_of_the_lock() {
        let lock = |key: &str| Lock {
            key: key.to_owned(),
            value: String::new(),
        };
        let mut op = Prepare {
            locks: vec![lock("{t}:lock")],
            entries: vec![entry("{t}:a", "{t}:cachetx:leases")],
            token: String::new(),
            ttl_ms: 1,
        };
        assert_eq!(Op::Prepare(op.clone()).slot().unwrap(), Some(slot("t")));
        op.locks.push(lock("elsewhere"));
        let error = Op::Prepare(op.clone()).slot().unwrap_err();
        assert!(error.to_string().contains("elsewhere"), "{error}");
        op.locks.clear();
        op.entries.push(entry("{t}:b", "cachetx:leases"));
        assert!(Op::Prepare(op).slot().is_err());
    }

    #[test]
    fn keys_are_divided_by_slot_in_the_order_they_came() {
        let keys = vec!["{a}1", "{b}1", "{a}2", "{c}1", "{b}2"];
        let parts = Space::Slots.divide(keys.clone(), |key| key);
        assert_eq!(
            parts,
            [vec!["{a}1", "{a}2"], vec!["{b}1", "{b}2"], vec!["{c}1"]]
        );
        assert_eq!(Space::Whole.divide(keys.clone(), |key| key), [keys]);
        assert!(
            Space::Whole
                .divide(Vec::<&str>::new(), |key| key)
                .is_empty()
        );
    }
}
