//! The own file's records, kept in memory too, so that a replay reads no file.

use super::{Bounds, Invalidation, Work, line};
use crate::{model::limits, rules::Params};
use std::collections::{BTreeMap, HashMap};

/// A record that is not done.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    work: Work,
    /// Whether a save is still using it, and will ripen or retire it.
    in_flight: bool,
    line_bytes: usize,
}

impl Pending {
    pub(super) fn deferred(work: Work) -> Self {
        Self {
            work,
            in_flight: false,
            line_bytes: 0,
        }
    }

    pub(super) fn intent(work: Work) -> Self {
        Self {
            in_flight: true,
            ..Self::deferred(work)
        }
    }

    /// Reduces it to one record of its params. An intent stays as it is, since it names the keys
    /// that its save marked; so does a record that only releases a lock.
    pub(super) fn collapsed(self) -> Self {
        match &self.work {
            Work::Keys(what) if !self.in_flight && !what.entries.is_empty() => {
                Self::deferred(Work::Everything {
                    params: what.params.clone(),
                    at_ns: what.at_ns,
                })
            }
            _ => self,
        }
    }

    pub(super) fn is_intent(&self) -> bool {
        self.in_flight
    }

    pub(super) fn line(&self, id: u64) -> String {
        line::record(id, &self.work, self.in_flight)
    }
}

/// The records of the own file, in order.
#[derive(Default)]
pub(super) struct Queue {
    records: BTreeMap<u64, Pending>,
    /// Bytes of all lines.
    line_bytes: usize,
    in_flight: usize,
    pub(super) next_id: u64,
    pub(super) bounds: Bounds,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    pub(super) fn has_room_for(&self, line: &str) -> bool {
        self.records.len() < self.bounds.records
            && self.line_bytes + line.len() <= self.bounds.bytes
    }

    /// The older `Everything` record of the same params, which `new` replaces.
    pub(super) fn everything_of(&self, new: &Pending) -> Option<u64> {
        let Work::Everything { params, .. } = &new.work else {
            return None;
        };
        self.ripe()
            .find(|(_, work)| matches!(work, Work::Everything { params: of, .. } if of == params))
            .map(|(id, _)| id)
    }

    /// An older record with the same content as this one, which can be replayed in its place.
    pub(super) fn older_twin_of(&self, id: u64) -> Option<u64> {
        let Work::Keys(new) = &self.records.get(&id)?.work else {
            return None;
        };
        let same = |old: &Invalidation| {
            (&old.entries, &old.raises, &old.release, &old.params)
                == (&new.entries, &new.raises, &new.release, &new.params)
        };
        self.ripe()
            .find(|(other, work)| *other < id && matches!(work, Work::Keys(old) if same(old)))
            .map(|(other, _)| other)
    }

    pub(super) fn push(&mut self, pending: Pending, line_bytes: usize) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.line_bytes += line_bytes;
        self.in_flight += usize::from(pending.in_flight);
        let pending = Pending {
            line_bytes,
            ..pending
        };
        self.records.insert(id, pending);
        id
    }

    pub(super) fn remove(&mut self, id: u64) -> bool {
        let removed = self.records.remove(&id);
        if let Some(pending) = &removed {
            self.line_bytes -= pending.line_bytes;
            self.in_flight -= usize::from(pending.in_flight);
        }
        removed.is_some()
    }

    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.line_bytes = 0;
        self.in_flight = 0;
    }

    pub(super) fn ripen(&mut self, id: u64) {
        if let Some(pending) = self.records.get_mut(&id) {
            self.in_flight -= usize::from(pending.in_flight);
            pending.in_flight = false;
        }
    }

    /// Whether a save is using any record.
    pub(super) fn is_in_flight(&self) -> bool {
        self.in_flight > 0
    }

    /// How many records could be replayed now.
    pub(super) fn ripe_records(&self) -> usize {
        self.records.len() - self.in_flight
    }

    /// The records that could be replayed now.
    pub(super) fn ripe(&self) -> impl Iterator<Item = (u64, &Work)> {
        let records = self.records.iter();
        records
            .filter(|(_, pending)| !pending.in_flight)
            .map(|(id, pending)| (*id, &pending.work))
    }

    /// All records, as lines of a file.
    pub(super) fn lines(&self) -> String {
        let mut lines = String::with_capacity(self.line_bytes);
        for (id, pending) in &self.records {
            lines.push_str(&pending.line(*id));
        }
        lines
    }

    /// Size limit of the file: less than half of it may be records that are done.
    pub(super) fn file_bytes(&self) -> u64 {
        2 * self.line_bytes as u64 + limits::OUTBOX_IDLE_BYTES
    }

    /// Replaces all ripe records by one per set of params; whether there was anything to merge.
    /// Records that a save is using stay.
    pub(super) fn collapse(&mut self) -> bool {
        if !self.ripe().any(|(_, work)| matches!(work, Work::Keys(_))) {
            return false;
        }
        let mut latest: HashMap<String, (Params, i64)> = HashMap::new();
        let mut ripe = Vec::with_capacity(self.ripe_records());
        for (id, work) in self.ripe() {
            ripe.push(id);
            let (params, at_ns) = match work {
                // A lock alone is left to its TTL.
                Work::Keys(what) if what.entries.is_empty() => continue,
                Work::Keys(what) => (&what.params, what.at_ns),
                Work::Everything { params, at_ns } => (params, *at_ns),
            };
            latest.insert(format!("{params:?}"), (params.clone(), at_ns));
        }
        for id in ripe {
            self.remove(id);
        }
        for (params, at_ns) in latest.into_values() {
            let pending = Pending::deferred(Work::Everything { params, at_ns });
            let bytes = pending.line(self.next_id).len();
            self.push(pending, bytes);
        }
        true
    }
}
