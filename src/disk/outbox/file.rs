//! The own file: locked before it gets its name, appended to, never repaired.

use crate::disk::{folder, os_lock::Lockable, rights, root::make_durably};
use rustix::fs::{Mode, OFlags};
use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const SUFFIX: &str = ".outbox";
/// Suffix of a file that does not have its name yet.
const NEW: &str = ".new";
/// Suffix for lines of a taken-over file that could not be read.
const POISON: &str = ".poison";

/// Whether a record has to be durable when an append returns.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    Now,
    Later,
}

/// The kind of file that a name in the folder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Outbox,
    /// It never got its name, so none of its records was acknowledged.
    New,
    Poison,
}

pub(super) fn named(name: &str) -> Option<Named> {
    let is = |suffix| {
        name.strip_suffix(suffix)
            .is_some_and(crate::model::token::is_hex_64)
    };
    match name {
        _ if is(SUFFIX) => Some(Named::Outbox),
        _ if is(NEW) => Some(Named::New),
        _ if is(POISON) => Some(Named::Poison),
        _ => None,
    }
}

/// The name of the file for the damaged lines of the file `name`.
pub(super) fn poison_of(name: &str) -> String {
    format!("{}{POISON}", name.strip_suffix(SUFFIX).unwrap_or(name))
}

/// The outboxes' folder.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) dir: File,
    pub(super) path: PathBuf,
}

impl Folder {
    /// Refuses a symbolic link: it could lead out of the store.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self {
            dir: rustix::fs::open(path, flags, Mode::empty())?.into(),
            path: path.to_owned(),
        })
    }

    pub(super) fn make(path: &Path) -> io::Result<Self> {
        match Self::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                make_durably(path)?;
                Self::open(path)
            }
            opened => opened,
        }
    }

    /// Makes the names in it durable, if the file system can.
    pub(super) fn sync(&self) -> io::Result<()> {
        folder::sync(&self.dir, &self.path).map(drop)
    }

    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        Ok(folder::unlink_at(&self.dir, name)?)
    }
}

#[derive(Debug)]
pub(super) struct OwnFile {
    folder: Folder,
    name: String,
    /// Locked.
    file: Lockable,
    len: u64,
    /// Whether an append failed. Then the end of the file is unknown, and a later sync may wrongly
    /// report success.
    broken: bool,
}

impl OwnFile {
    pub(super) fn create(folder: Folder, lines: &str) -> io::Result<Self> {
        let token = crate::model::token::hex_64()?;
        let (new, name) = (format!("{token}{NEW}"), format!("{token}{SUFFIX}"));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND;
        let file = folder::open_at(&folder.dir, &new, flags, Mode::from_raw_mode(0o666))?;
        rights::share(&file, &folder.dir);
        let mut own = Self {
            folder,
            name,
            file: file.into(),
            len: 0,
            broken: false,
        };
        own.publish(&new, lines).inspect_err(|_| {
            // Another process may have locked the file first, taken it for a dead owner's and swept
            // it. Or the file has its name already, and would soon be taken over with the intents
            // of saves that are still running.
            let _ = own.folder.remove(&new);
            let _ = own.folder.remove(&own.name);
        })?;
        Ok(own)
    }

    fn publish(&mut self, new: &str, lines: &str) -> io::Result<()> {
        if !self.file.try_lock()? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.append(lines, Sync::Now)?;
        let dir = &self.folder.dir;
        rustix::io::retry_on_intr(|| rustix::fs::renameat(dir, new, dir, &self.name))?;
        self.folder.sync()
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path.join(&self.name)
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn has_room_for(&self, line: &str, bytes: u64) -> bool {
        !self.broken && self.len + line.len() as u64 <= bytes
    }

    pub(super) fn append(&mut self, line: &str, sync: Sync) -> io::Result<()> {
        if self.broken {
            return Err(io::Error::other("an earlier append failed"));
        }
        self.broken = true;
        (&*self.file).write_all(line.as_bytes())?;
        if sync == Sync::Now {
            self.file.sync_data()?;
            // The file was removed: nobody would find its records.
            if self.file.metadata()?.nlink() == 0 {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        self.len += line.len() as u64;
        self.broken = false;
        Ok(())
    }

    /// Removes the file once its records are done or in another file. Not synced: if the file comes
    /// back, it is replayed once more.
    pub(super) fn remove(self) {
        if let Err(e) = self.folder.remove(&self.name)
            && e.kind() != io::ErrorKind::NotFound
        {
            log::warn!("{}: cannot remove it: {e}", self.path().display());
        }
    }
}
