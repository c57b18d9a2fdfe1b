//! Temporary files: written beside the document, and locked by their writer while it lives.

use super::{attributes, folder, os_lock::Lockable, rights};
use crate::model::{Result, Stamp, error::io_error, limits};
use rustix::{
    fs::{Mode, OFlags, Timespec, Timestamps, UTIME_OMIT},
    io::{Errno, retry_on_intr},
};
use std::{
    collections::BTreeSet,
    fs::File,
    io,
    io::Write,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

const SUFFIX: &str = ".tmp";

#[derive(Debug)]
pub(super) struct Temp {
    /// Distinguishes its name from the document's other temporary files.
    pub(super) token: String,
    name: String,
    file: Lockable,
}

/// The name of a document's temporary file; `token` is 16 hex digits.
pub(super) fn name(document: &str, token: &str) -> String {
    format!(".{document}.{token}{SUFFIX}")
}

/// All possible tokens.
pub(super) fn tokens() -> impl Iterator<Item = String> {
    (0..limits::TEMP_NAMES).map(|n| format!("{n:016x}"))
}

impl Temp {
    /// Writes `bytes` to a new file with the rights and extended attributes of the document that it
    /// will replace, as far as permitted. `path` is for messages. `None` if every name is taken.
    pub(super) fn write(
        dir: &File,
        file: &str,
        document: Option<&File>,
        bytes: &[u8],
        path: &Path,
    ) -> io::Result<Option<Self>> {
        let Some(temp) = Self::make(dir, file, document.is_some())? else {
            return Ok(None);
        };
        temp.fill(document, bytes, path).inspect_err(|_| {
            // Nothing was published yet. If the file cannot be deleted now, the next save sweeps
            // it.
            let _ = temp.discard(dir);
        })?;
        Ok(Some(temp))
    }

    /// Creates an empty temporary file, locked. Between creation and locking, another writer's
    /// sweep may take it for a dead writer's and remove it; then the next name is tried.
    fn make(dir: &File, file: &str, narrow: bool) -> io::Result<Option<Self>> {
        let mode = Mode::from_raw_mode(if narrow { 0o600 } else { 0o666 });
        for token in tokens() {
            let name = name(file, &token);
            let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let temp = match folder::open_at(dir, &name, new, mode) {
                Ok(file) => Self {
                    token,
                    name,
                    file: file.into(),
                },
                Err(Errno::EXIST) => continue,
                Err(e) => return Err(e.into()),
            };
            match temp.file.try_lock() {
                Ok(true) if folder::leads_to(dir, &temp.name, &temp.file)? => {
                    return Ok(Some(temp));
                }
                Ok(_) => {}
                Err(e) => {
                    let _ = temp.discard(dir);
                    return Err(e);
                }
            }
        }
        Ok(None)
    }

    /// A temporary file that a dead writer left; `None` if it does not exist. Takes no lock: only
    /// the holder of the sidecar's lock may sweep it.
    pub(super) fn left(dir: &File, file: &str, token: &str) -> io::Result<Option<Self>> {
        let name = name(file, token);
        match folder::open_at(dir, &name, OFlags::RDONLY, Mode::empty()) {
            Ok(file) => Ok(Some(Self {
                token: token.to_owned(),
                name,
                file: file.into(),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    pub(super) fn stamp(&self) -> io::Result<Stamp> {
        Ok(folder::stamp(&rustix::fs::fstat(&*self.file)?))
    }

    /// Order matters. Writing content clears capabilities and set-user-id bits, so it comes first;
    /// rights may let others in, so they come last.
    fn fill(&self, document: Option<&File>, bytes: &[u8], path: &Path) -> io::Result<()> {
        (&*self.file).write_all(bytes)?;
        let Some(document) = document else {
            return Ok(());
        };
        rights::give_owner(document, &self.file)?;
        attributes::copy(document, &self.file, path)?;
        rights::copy(document, &self.file, path)
    }

    /// Sets the modification time and returns the file's resulting stamp.
    #[allow(clippy::unnecessary_cast)]
    pub(super) fn set_mtime(&self, mtime_ns: i64) -> io::Result<Stamp> {
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT as _,
            },
            last_modification: Timespec {
                tv_sec: mtime_ns.div_euclid(1_000_000_000),
                tv_nsec: mtime_ns.rem_euclid(1_000_000_000) as _,
            },
        };
        retry_on_intr(|| rustix::fs::futimens(&*self.file, &times))?;
        self.stamp()
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    pub(super) fn discard(&self, dir: &File) -> Result<(), Errno> {
        folder::unlink_at(dir, &self.name)
    }

    /// Renames it to the document. On a network file system, a rename that reports a failure may
    /// have happened: the inode decides.
    pub(super) fn rename(&self, dir: &File, file: &str) -> io::Result<()> {
        let rename = || rustix::fs::renameat(dir, &self.name, dir, file);
        let Err(e) = retry_on_intr(rename) else {
            return Ok(());
        };
        let own = self.stamp()?.inode;
        match folder::stat_at(dir, file) {
            Ok(Some(stat)) if folder::stamp(&stat).inode == own => Ok(()),
            _ => Err(e.into()),
        }
    }
}

/// Deletes the document's temporary files that nobody holds locked: their writers are dead. Call it
/// with the sidecar's lock held, so that only one sweep runs at a time.
/// A file of another account, with mode 0600, stays: only that account's next save can tell whether
/// its writer is dead.
pub(super) fn sweep(dir: &File, path: &Path, file: &str) -> Result<()> {
    for token in tokens() {
        let name = name(file, &token);
        let left = match folder::open_at(dir, &name, OFlags::RDONLY, Mode::empty()) {
            Ok(left) => left,
            Err(e) => {
                if e == Errno::ACCESS {
                    warn_once(path.join(&name));
                }
                continue;
            }
        };
        let left = Lockable::from(left);
        // If its writer was alive after all and has finished, the name may lead to another writer's
        // file by now.
        if !matches!(left.try_lock(), Ok(true))
            || !folder::leads_to(dir, &name, &left).unwrap_or(false)
        {
            continue;
        }
        let path = path.join(&name);
        log::info!("{}: removing what a dead writer left", path.display());
        match folder::unlink_at(dir, &name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(io_error(&path, "remove a temporary file", e.into())),
        }
    }
    Ok(())
}

/// Of a temporary file that cannot be opened, once for each.
fn warn_once(path: PathBuf) {
    static WARNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.len() >= limits::MAX_WARNED_CAUSES {
        warned.clear();
    }
    if warned.contains(&path) {
        return;
    }
    log::warn!(
        "{}: another account's temporary file, which this one may not open: if its writer is dead, the next save by that account removes it",
        path.display()
    );
    warned.insert(path);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[test]
    fn a_sweep_never_takes_a_living_writer_s_file() {
        let path = std::env::temp_dir().join(crate::model::token::hex_64().unwrap());
        std::fs::create_dir(&path).unwrap();
        let dir = File::open(&path).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // One sweep at a time, as under the sidecar's lock.
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    sweep(&dir, &path, "d").unwrap();
                }
            });
            let written: io::Result<()> = (0..3_000).try_for_each(|_| {
                // The sweep may be inspecting every name at this moment.
                loop {
                    if let Some(temp) = Temp::write(&dir, "d", None, b"{}", &path)? {
                        return temp.rename(&dir, "d");
                    }
                }
            });
            done.store(true, Relaxed);
            written.expect("every writer keeps its file");
        });
        std::fs::remove_dir_all(&path).unwrap();
    }
}
