//! A simulated disk: it answers every file action, and keeps what is visible apart from what would
//! survive a power loss.
//!
//! It guarantees what POSIX does, and no more:
//! - a file's content and times are durable once the file was synced. Until then a power loss
//!   leaves the old ones, the new ones, none, or a part, and of content and time either without the
//!   other;
//! - a name that was created, moved or deleted is durable once its folder was synced. Until then
//!   each of these changes may have happened or not, *independently of the others*. Journalling
//!   file systems (ext4, XFS) keep their order and so leave fewer possibilities; none is left out
//!   here;
//! - a rename happens completely or not at all;
//! - syncing a file does not make its name durable, nor does syncing a folder its own name;
//! - an OS lock belongs to the session that took it, and ends with it; an inode number is reused at
//!   once.
//!
//! A document is read in one step: a file that changes while it is read is tested on the real disk
//! only.

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

/// Identifies a file for the whole simulation; inode numbers are reused.
type FileId = u64;

/// One check taken out of the disk. A test that still passes proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weakness {
    /// `SyncTemp` reports success and does nothing.
    NoFileSync,
    /// `SyncTemp` takes effect only after the rename, with the sweep.
    FileSyncAfterRename,
    /// `SyncFolder` reports success and does nothing.
    NoFolderSync,
    /// `SyncFolder` and `SyncRoot` report that they cannot sync. Not a missing check: such file
    /// systems exist.
    NotSyncable,
    /// `SyncJournal` reports success and does nothing.
    NoJournalSync,
    /// `SyncSidecar` reports success and does nothing.
    NoSidecarSync,
    /// `SyncRoot` reports success and does nothing.
    NoRootSync,
    /// Every session gets the OS lock on a sidecar, and there is no last look: on a real disk
    /// another session's rename fits between that look and its own.
    NoSidecarLock,
    /// `Sweep` finds nothing.
    NoSweep,
    /// A rename or deletion does not check that its sidecar and document are unchanged.
    NoLastLook,
    /// Every temporary file's time is in 1970, whatever was requested, and so is every change time;
    /// the answer reports the requested time.
    DeafToTimes,
}

/// One file system with one root.
#[derive(Clone, Debug)]
pub(crate) struct SimDisk {
    files: BTreeMap<FileId, File>,
    /// The run folders' names. Their contents are in `folders`, by name.
    root: Names,
    folders: BTreeMap<Arc<str>, Names>,
    /// The session that holds a file's OS lock.
    locks: BTreeMap<FileId, u64>,
    next_file: FileId,
    next_session: u64,
    /// Modification times are kept as multiples of this many ns.
    time_step_ns: i64,
    weakness: Option<Weakness>,
}

/// A file as every session sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seen {
    name: String,
    inode: u64,
    mtime_ns: i64,
    text: String,
}

impl SimDisk {
    /// An empty disk that keeps modification times to the ns.
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

    /// The visible names in a run folder.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let names = self.folders.get(folder).map(|folder| folder.now().keys());
        names.into_iter().flatten().cloned().collect()
    }

    /// The visible file under a name.
    pub(crate) fn document(&self, folder: &str, name: &str) -> Option<(Stamp, Vec<u8>)> {
        let file = self.files.get(&self.lookup(folder, name)?)?;
        Some((file.stamp(), file.bytes().to_vec()))
    }

    /// All visible files.
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

    /// Puts the `READONLY` marker into a folder.
    pub(crate) fn make_read_only(&mut self, folder: &str) {
        let marker = self.new_file(0);
        if let Some(folder) = self.folders.get_mut(folder) {
            folder.link(super::READ_ONLY_MARKER, marker);
        }
    }

    /// Removes a document's sidecar durably, as if another program had put the document there.
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

    /// The lowest inode number that no visible or locked file has, so that numbers are reused as
    /// early as possible.
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

    /// Takes the file's OS lock if it is free; whether the session has it now.
    fn lock(&mut self, file: FileId, session: u64) -> bool {
        *self.locks.entry(file).or_insert(session) == session
    }

    fn unlock(&mut self, file: FileId, session: u64) {
        if self.locks.get(&file) == Some(&session) {
            self.locks.remove(&file);
        }
    }
}
