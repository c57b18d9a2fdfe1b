//! Temporary files: written beside the document, locked by their writer while it lives.

use super::folder;
use crate::{Result, error::io_error, op::Stamp};
use rustix::{
    fs::{AtFlags, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT},
    io::Errno,
};
use std::{fs::File, io, io::Write, path::Path};

const SUFFIX: &str = ".tmp";
/// Permission bits, without the file type.
const MODE_BITS: rustix::fs::RawMode = 0o7777;

#[derive(Debug)]
pub(super) struct Temp {
    pub(super) name: String,
    file: File,
}

fn prefix(file: &str) -> String {
    format!(".{file}.")
}

impl Temp {
    /// Writes `bytes` to a new file with the mode, and where that is allowed the owner, of the document it will replace.
    pub(super) fn write(
        dir: &File,
        file: &str,
        document: Option<&Stat>,
        bytes: &[u8],
    ) -> io::Result<Self> {
        let name = format!("{}{}{SUFFIX}", prefix(file), crate::token::hex_64()?);
        let mode = if document.is_some() { 0o600 } else { 0o666 };
        let file = folder::open_at(
            dir,
            &name,
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
            Mode::from_raw_mode(mode),
        )?;
        let temp = Self { name, file };
        temp.fill(document, bytes).inspect_err(|_| {
            // Nothing was shown yet; what cannot be deleted now is swept by the next save.
            let _ = temp.discard(dir);
        })?;
        Ok(temp)
    }

    fn fill(&self, document: Option<&Stat>, bytes: &[u8]) -> io::Result<()> {
        self.file.try_lock()?;
        if let Some(stat) = document {
            folder::give_to(&self.file, stat)?;
            let bits = Mode::from_raw_mode(stat.st_mode & MODE_BITS);
            rustix::fs::fchmod(&self.file, bits)?;
        }
        (&self.file).write_all(bytes)
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
        rustix::fs::futimens(&self.file, &times)?;
        Ok(folder::stamp(&rustix::fs::fstat(&self.file)?))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    pub(super) fn discard(&self, dir: &File) -> Result<(), Errno> {
        rustix::fs::unlinkat(dir, &self.name, AtFlags::empty())
    }

    /// Makes it the document. A rename that reports a failure may have happened on a network file system: the inode decides.
    pub(super) fn rename(&self, dir: &File, file: &str) -> io::Result<()> {
        let Err(e) = rustix::fs::renameat(dir, &self.name, dir, file) else {
            return Ok(());
        };
        let own = folder::stamp(&rustix::fs::fstat(&self.file)?).inode;
        match folder::stat_at(dir, file) {
            Ok(Some(stat)) if folder::stamp(&stat).inode == own => Ok(()),
            _ => Err(e.into()),
        }
    }
}

/// Deletes the document's temporary files that nobody holds locked: their writers are dead.
pub(super) fn sweep(dir: &File, path: &Path, file: &str) -> Result<()> {
    let prefix = prefix(file);
    for name in folder::names(dir, path)? {
        let token = name
            .strip_prefix(&prefix)
            .and_then(|rest| rest.strip_suffix(SUFFIX));
        if !token.is_some_and(crate::token::is_hex_64) {
            continue;
        }
        let Ok(left) = folder::open_at(dir, &name, OFlags::RDONLY, Mode::empty()) else {
            continue;
        };
        if left.try_lock().is_ok() {
            log::info!(
                "{}: removing what a dead writer left",
                path.join(&name).display()
            );
            rustix::fs::unlinkat(dir, &name, AtFlags::empty())
                .map_err(|e| io_error(&path.join(&name), "remove a temporary file", e.into()))?;
        }
    }
    Ok(())
}
