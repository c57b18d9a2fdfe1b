//! Temporary files: written beside the document, locked by their writer while it lives.

use super::{attributes, folder, os_lock, rights};
use crate::{Result, error::io_error, limits, op::Stamp};
use rustix::{
    fs::{Mode, OFlags, Timespec, Timestamps, UTIME_OMIT},
    io::{Errno, retry_on_intr},
};
use std::{fs::File, io, io::Write, path::Path};

const SUFFIX: &str = ".tmp";

#[derive(Debug)]
pub(super) struct Temp {
    /// What tells its name from those of the document's other temporary files.
    pub(super) token: String,
    name: String,
    file: File,
}

/// The name of a document's temporary file; `token` is 16 hex digits.
pub(super) fn name(document: &str, token: &str) -> String {
    format!(".{document}.{token}{SUFFIX}")
}

/// Whether a name is that of one of the document's temporary files.
pub(super) fn is_one_of(document: &str, name: &str) -> bool {
    let token = name
        .strip_prefix('.')
        .and_then(|rest| rest.strip_prefix(document)?.strip_prefix('.'))
        .and_then(|rest| rest.strip_suffix(SUFFIX));
    token.is_some_and(crate::token::is_hex_64)
}

impl Temp {
    /// Writes `bytes` to a new file that is like the document which it will replace, in rights and extended attributes, as far as
    /// that is allowed. `path` is for messages.
    pub(super) fn write(
        dir: &File,
        file: &str,
        document: Option<&File>,
        bytes: &[u8],
        path: &Path,
    ) -> io::Result<Self> {
        let temp = Self::make(dir, file, document.is_some())?;
        temp.fill(document, bytes, path).inspect_err(|_| {
            // Nothing was shown yet; what cannot be deleted now is swept by the next save.
            let _ = temp.discard(dir);
        })?;
        Ok(temp)
    }

    /// Makes an empty one, locked. Between its making and its locking another writer's sweep may take it for a dead
    /// writer's: then another is made.
    fn make(dir: &File, file: &str, narrow: bool) -> io::Result<Self> {
        let mode = Mode::from_raw_mode(if narrow { 0o600 } else { 0o666 });
        for _ in 0..limits::TEMP_ATTEMPTS {
            let token = crate::token::hex_64()?;
            let name = name(file, &token);
            let new = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
            let temp = Self {
                file: folder::open_at(dir, &name, new, mode)?,
                token,
                name,
            };
            match os_lock::try_lock(&temp.file) {
                Ok(true) if folder::stat_at(dir, &temp.name)?.is_some() => return Ok(temp),
                Ok(_) => {
                    let _ = temp.discard(dir);
                }
                Err(e) => {
                    let _ = temp.discard(dir);
                    return Err(e);
                }
            }
        }
        Err(io::Error::other("others removed it again and again"))
    }

    /// One that a dead writer left; `None` where it is not there. No lock: whoever may sweep it has the sidecar's.
    pub(super) fn left(dir: &File, file: &str, token: &str) -> io::Result<Option<Self>> {
        let name = name(file, token);
        match folder::open_at(dir, &name, OFlags::RDONLY, Mode::empty()) {
            Ok(file) => Ok(Some(Self {
                token: token.to_owned(),
                name,
                file,
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    pub(super) fn stamp(&self) -> io::Result<Stamp> {
        Ok(folder::stamp(&rustix::fs::fstat(&self.file)?))
    }

    /// The content first, which takes capabilities and set-user-id bits away; the rights last, which may let others in.
    fn fill(&self, document: Option<&File>, bytes: &[u8], path: &Path) -> io::Result<()> {
        (&self.file).write_all(bytes)?;
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
        retry_on_intr(|| rustix::fs::futimens(&self.file, &times))?;
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

/// Deletes the document's temporary files that nobody holds locked: their writers are dead.
pub(super) fn sweep(dir: &File, path: &Path, file: &str) -> Result<()> {
    for name in folder::names(dir, path)? {
        if !is_one_of(file, &name) {
            continue;
        }
        let Ok(left) = folder::open_at(dir, &name, OFlags::RDONLY, Mode::empty()) else {
            continue;
        };
        if matches!(os_lock::try_lock(&left), Ok(true)) {
            log::info!(
                "{}: removing what a dead writer left",
                path.join(&name).display()
            );
            match folder::unlink_at(dir, &name) {
                // Its writer was alive after all, and is through with it.
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => {
                    let path = path.join(&name);
                    return Err(io_error(&path, "remove a temporary file", e.into()));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[test]
    fn a_sweep_never_takes_a_living_writer_s_file() {
        let path = std::env::temp_dir().join(crate::token::hex_64().unwrap());
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
                let temp = Temp::write(&dir, "d", None, b"{}", &path)?;
                temp.rename(&dir, "d")
            });
            done.store(true, Relaxed);
            written.expect("every writer keeps its file");
        });
        std::fs::remove_dir_all(&path).unwrap();
    }
}
