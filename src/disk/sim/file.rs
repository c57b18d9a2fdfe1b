//! A file's content and time: what readers see, and what may be on the disk after a power loss.

use crate::{disk::Identity, model::Stamp};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    bytes: Vec<u8>,
    mtime_ns: i64,
}

#[derive(Clone, Debug)]
pub(super) struct File {
    /// The inode number.
    pub(super) number: u64,
    /// The change time. A power loss keeps it: no process survives that could compare it with a
    /// later one.
    changed_ns: i64,
    now: Version,
    /// As of the last sync; empty for a file that was never synced.
    synced: Version,
    /// All versions since then, including the present one. Empty if the present one is synced.
    since: Vec<Version>,
}

impl File {
    /// An empty file; its time is not durable either.
    pub(super) fn new(number: u64, mtime_ns: i64) -> Self {
        let made = Version {
            bytes: Vec::new(),
            mtime_ns,
        };
        Self {
            number,
            changed_ns: mtime_ns,
            now: made.clone(),
            synced: Version {
                mtime_ns: 0,
                ..made.clone()
            },
            since: vec![made],
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.now.bytes
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp {
            mtime_ns: self.now.mtime_ns,
            size: self.now.bytes.len() as u64,
            inode: self.number,
        }
    }

    pub(super) fn identity(&self) -> Identity {
        Identity::local(self.stamp(), self.changed_ns)
    }

    /// Updates the change time, for example after a rename.
    pub(super) fn touch(&mut self, now_ns: i64) {
        self.changed_ns = now_ns;
    }

    /// Overwrites it from its beginning; a longer rest stays.
    pub(super) fn write(&mut self, bytes: &[u8], mtime_ns: i64) {
        let rest = self
            .now
            .bytes
            .split_off(bytes.len().min(self.now.bytes.len()));
        self.now.bytes = [bytes, &rest].concat();
        self.set_mtime(mtime_ns);
        self.touch(mtime_ns);
    }

    /// Appends.
    pub(super) fn append(&mut self, bytes: &[u8], mtime_ns: i64) {
        self.now.bytes.extend_from_slice(bytes);
        self.set_mtime(mtime_ns);
        self.touch(mtime_ns);
    }

    pub(super) fn set_mtime(&mut self, mtime_ns: i64) {
        self.now.mtime_ns = mtime_ns;
        self.since.push(self.now.clone());
    }

    pub(super) fn sync(&mut self) {
        self.synced = self.now.clone();
        self.since.clear();
    }

    /// One version that a power loss may leave. The possibilities are always offered in the same
    /// order.
    pub(super) fn after_power_loss(&self, choose: &mut dyn FnMut(usize) -> usize) -> Self {
        let bytes = pick(self.contents(), choose);
        let mtime_ns = pick(self.times(), choose);
        let left = Version { bytes, mtime_ns };
        Self {
            number: self.number,
            changed_ns: self.changed_ns,
            now: left.clone(),
            synced: left,
            since: Vec::new(),
        }
    }

    /// Each content since the last sync, and also only its first half: alone (the size was not
    /// written), followed by zeros (the size was written), and followed by the old content.
    fn contents(&self) -> Vec<Vec<u8>> {
        let mut contents = vec![self.synced.bytes.clone()];
        for new in self.since.iter().map(|version| &version.bytes) {
            contents.push(new.clone());
            if *new == self.synced.bytes {
                continue;
            }
            let head = &new[..new.len() / 2];
            let old = self.synced.bytes.get(head.len()..).unwrap_or_default();
            contents.push(head.to_vec());
            contents.push([head, &vec![0; new.len() - head.len()]].concat());
            contents.push([head, old].concat());
        }
        distinct(contents)
    }

    fn times(&self) -> Vec<i64> {
        let since = self.since.iter().map(|version| version.mtime_ns);
        distinct([self.synced.mtime_ns].into_iter().chain(since).collect())
    }
}

fn distinct<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all.dedup();
    all
}

/// One of several; `choose` is not called if there is only one.
fn pick<T>(mut of: Vec<T>, choose: &mut dyn FnMut(usize) -> usize) -> T {
    let chosen = match of.len() {
        1 => 0,
        n => choose(n),
    };
    of.swap_remove(chosen)
}
