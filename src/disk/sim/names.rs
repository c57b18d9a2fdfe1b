//! A folder: the visible names, and the changes that are not durable yet.

use super::FileId;
use std::collections::BTreeMap;

type Map = BTreeMap<String, FileId>;

#[derive(Clone, Debug)]
enum Change {
    Link {
        name: String,
        file: FileId,
    },
    Unlink {
        name: String,
    },
    Rename {
        from: String,
        to: String,
        file: FileId,
    },
}

impl Change {
    fn apply(&self, names: &mut Map) {
        match self {
            Self::Link { name, file } => {
                names.insert(name.clone(), *file);
            }
            Self::Unlink { name } => {
                names.remove(name);
            }
            Self::Rename { from, to, file } => {
                names.remove(from);
                names.insert(to.clone(), *file);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    now: Map,
    /// As of the last sync.
    synced: Map,
    since: Vec<Change>,
}

impl Names {
    pub(super) fn now(&self) -> &Map {
        &self.now
    }

    pub(super) fn link(&mut self, name: &str, file: FileId) {
        let name = name.to_owned();
        self.change(Change::Link { name, file });
    }

    /// Whether the name existed.
    pub(super) fn unlink(&mut self, name: &str) -> bool {
        let there = self.now.contains_key(name);
        if there {
            let name = name.to_owned();
            self.change(Change::Unlink { name });
        }
        there
    }

    /// Whether the old name existed.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> bool {
        let Some(file) = self.now.get(from).copied() else {
            return false;
        };
        self.change(Change::Rename {
            from: from.to_owned(),
            to: to.to_owned(),
            file,
        });
        true
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.now);
        self.since.push(change);
    }

    pub(super) fn sync(&mut self) {
        self.synced = self.now.clone();
        self.since.clear();
    }

    /// What a power loss may leave: each change since the last sync happened or not, independently
    /// of the others.
    pub(super) fn after_power_loss(&self, choose: &mut dyn FnMut(usize) -> usize) -> Self {
        let mut left = self.synced.clone();
        for change in &self.since {
            if choose(2) == 1 {
                change.apply(&mut left);
            }
        }
        Self {
            now: left.clone(),
            synced: left,
            since: Vec::new(),
        }
    }
}
