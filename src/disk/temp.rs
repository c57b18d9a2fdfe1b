//! Temporary files: written beside the document, locked by their writer while it lives.

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
    /// What tells its name from those of the document's other temporary files.
    pub(super) token: String,
    name: String,
    file: Lockable,
}

/// The name of a document's temporary file; `token` is 16 hex digits.
pub(super) fn name(document: &str, token: &str) -> String {
    format!(".{document}.{token}{SUFFIX}")
}

/// The tokens that there are.
pub(super) fn tokens() -> impl Iterator<Item = String> {
    (0..limits::TEMP_NAMES).map(|n| format!("{n:016x}"))
}

impl Temp {
    /// Writes `bytes` to a new file that is like the document which it will replace, in rights and extended attributes, as far as
    /// that is allowed. `path` is for messages. `None` where every name is taken.
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
            // Nothing was shown yet; what cannot be deleted now is swept by the next save.
            let _ = temp.discard(dir);
        })?;
        Ok(Some(temp))
    }

    /// Makes an empty one, locked. Between its making and its locking another writer's sweep may take it for a dead
    /// writer's, and removes it: then the next name is tried.
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

    /// One that a dead writer left; `None` where it is not there. No lock: whoever may sweep it has the sidecar's.
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

    /// The content first, which takes capabilities and set-user-id bits away; the rights last, which may let others in.
    fn fill(&self, document: Option<&File>, bytes: &[u8], path: &Path) -> io::Result<()> {
        (&*self.file).write_all(bytes)?;
        let Some(document) = document else {
            return Ok(());
        };
        rights::give_owner(document, &self.file)?;
        attributes::copy(document, &self.file, path)?;
        rights::copy(document, &self.file, path)
    }

    /// Sets the modification time and says which stamp the file has now.
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

    /// Makes it the document. A rename that reports a failure may have happened on a network file system: the inode decides.
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

/// Deletes the document's temporary files that nobody holds locked: their writers are dead. Under the sidecar's lock, so that
/// nobody else does. Another account's, which has mode 0600, stays: whether its writer is dead only that account's next save can tell.
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
        // Where its writer was alive after all, and is through with it, the name may lead to another writer's by now.
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
            // As under the sidecar's lock, one sweep at a time.
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    sweep(&dir, &path, "d").unwrap();
                }
            });
            let written: io::Result<()> = (0..3_000).try_for_each(|_| {
                // Every name may be at the sweep's hands just then.
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
