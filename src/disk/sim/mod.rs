//! A simulated disk: it answers every file action, and keeps apart what is visible from what would survive a power loss.
//!
//! What it promises is what POSIX does, and no more:
//! - the content and the times of a file are durable once the file was synced; until then a power loss leaves the old ones, the
//!   new ones, none, or a part, and of content and time either without the other;
//! - a name that was made, moved or deleted is durable once its folder was synced; until then each of these changes may have
//!   happened or not, *whatever became of the others*. Journalling file systems keep their order (ext4, XFS) and so leave
//!   fewer possibilities; none is left out here;
//! - a rename happens as a whole or not at all;
//! - syncing a file does not make its name durable, nor does syncing a folder its own name;
//! - an OS lock belongs to the session that took it, and ends with it; an inode's number is used again at once.
//!
//! A document is read in one step: a file that changes while it is read is the real disk's to notice.

mod file;
mod journal;
mod names;
mod power;
mod session;
#[cfg(test)]
mod tests;

pub(crate) use session::SimSession;

use crate::model::Stamp;
use file::File;
use names::Names;
use std::{collections::BTreeMap, sync::Arc};

/// Names a file for as long as the simulation lasts; an inode's number is used again.
type FileId = u64;

/// A disk with one check taken out: what a test that passes on it would be worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weakness {
    /// `SyncTemp` says yes and does nothing.
    NoFileSync,
    /// `SyncTemp` is done after the rename, with the sweep.
    FileSyncAfterRename,
    /// `SyncFolder` says yes and does nothing.
    NoFolderSync,
    /// `SyncFolder` and `SyncRoot` say that they cannot: no check that was taken out, but a file system that there is.
    NotSyncable,
    /// `SyncJournal` says yes and does nothing.
    NoJournalSync,
    /// `SyncSidecar` says yes and does nothing.
    NoSidecarSync,
    /// `SyncRoot` says yes and does nothing.
    NoRootSync,
    /// The OS lock on a sidecar is given to whoever asks, and the last look is missing: on a real disk somebody else's rename fits
    /// between that look and its own.
    NoSidecarLock,
    /// `Sweep` finds nothing.
    NoSweep,
    /// A rename or deletion does not look whether its sidecar and document are still what they were.
    NoLastLook,
    /// Every temporary file is of 1970, whatever was asked for, and so is every change; the answer does not tell.
    DeafToTimes,
}

/// One file system with one root.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk {
    files: BTreeMap<FileId, File>,
    /// The run folders' names. Where they lead is the key of `folders`.
    root: Names,
    folders: BTreeMap<Arc<str>, Names>,
    /// Which session holds a file's OS lock.
    locks: BTreeMap<FileId, u64>,
    next_file: FileId,
    next_session: u64,
    /// What is kept of a modification time: multiples of so many ns.
    time_step_ns: i64,
    weakness: Option<Weakness>,
}

/// A file as everybody sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seen {
    name: String,
    inode: u64,
    mtime_ns: i64,
    text: String,
}

impl SimDisk {
    /// An empty one that keeps every ns of a modification time.
    pub(crate) fn new() -> Self {
        Self {
            files: BTreeMap::new(),
            root: Names::default(),
            folders: BTreeMap::new(),
            locks: BTreeMap::new(),
            next_file: 1,
            next_session: 1,
            time_step_ns: 1,
            weakness: None,
        }
    }

    pub(crate) fn with_time_step(self, time_step_ns: i64) -> Self {
        Self {
            time_step_ns,
            ..self
        }
    }

    pub(crate) fn weaken(&mut self, weakness: Option<Weakness>) {
        self.weakness = weakness;
    }

    /// The open files of one protocol run.
    pub(crate) fn session(&mut self) -> SimSession {
        self.next_session += 1;
        SimSession::new(self.next_session)
    }

    /// The names in a run folder that everybody sees.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let names = self.folders.get(folder).map(|folder| folder.now().keys());
        names.into_iter().flatten().cloned().collect()
    }

    /// What everybody sees under a name.
    pub(crate) fn document(&self, folder: &str, name: &str) -> Option<(Stamp, Vec<u8>)> {
        let file = self.files.get(&self.lookup(folder, name)?)?;
        Some((file.stamp(), file.bytes().to_vec()))
    }

    /// All there is for everybody to see.
    pub(crate) fn content(&self) -> Vec<Seen> {
        let folders = self.folders.iter();
        let names =
            folders.flat_map(|(folder, names)| names.now().keys().map(move |n| (folder, n)));
        let seen = names.filter_map(|(folder, name)| {
            let (stamp, bytes) = self.document(folder, name)?;
            Some(Seen {
                name: format!("{folder}/{name}"),
                inode: stamp.inode,
                mtime_ns: stamp.mtime_ns,
                text: String::from_utf8_lossy(&bytes).into_owned(),
            })
        });
        seen.collect()
    }

    /// Puts the marker that forbids writing into a folder.
    pub(crate) fn make_read_only(&mut self, folder: &str) {
        let marker = self.new_file(0);
        if let Some(folder) = self.folders.get_mut(folder) {
            folder.link(super::READ_ONLY_MARKER, marker);
        }
    }

    /// Takes a document's sidecar away for good: as if another program had put the document there.
    pub(crate) fn lose_sidecar(&mut self, folder: &str, file: &str) {
        if let Some(folder) = self.folders.get_mut(folder) {
            folder.unlink(&super::sidecar::name(file));
            folder.sync();
        }
    }

    fn is(&self, weakness: Weakness) -> bool {
        self.weakness == Some(weakness)
    }

    fn looks(&self) -> bool {
        !self.is(Weakness::NoLastLook) && !self.is(Weakness::NoSidecarLock)
    }

    fn lookup(&self, folder: &str, name: &str) -> Option<FileId> {
        self.folders.get(folder)?.now().get(name).copied()
    }

    fn new_file(&mut self, wall_ns: i64) -> FileId {
        let id = self.next_file;
        self.next_file += 1;
        let number = self.free_number();
        let mtime_ns = self.kept_of(wall_ns);
        self.files.insert(id, File::new(number, mtime_ns));
        id
    }

    /// The lowest inode number that no visible or locked file has: used again as soon as it can be.
    fn free_number(&self) -> u64 {
        let named = self
            .folders
            .values()
            .flat_map(|folder| folder.now().values());
        let used: Vec<u64> = named
            .chain(self.locks.keys())
            .filter_map(|id| self.files.get(id).map(|file| file.number))
            .collect();
        (1..).find(|number| !used.contains(number)).unwrap_or(0)
    }

    fn kept_of(&self, mtime_ns: i64) -> i64 {
        mtime_ns - mtime_ns.rem_euclid(self.time_step_ns)
    }

    /// Whether the session has the file's OS lock now.
    fn lock(&mut self, file: FileId, session: u64) -> bool {
        *self.locks.entry(file).or_insert(session) == session
    }

    fn unlock(&mut self, file: FileId, session: u64) {
        if self.locks.get(&file) == Some(&session) {
            self.locks.remove(&file);
        }
    }
}
