//! Reads a whole document, and verifies that its identity did not change meanwhile.

use super::{Got, Identity, Root, folder};
use crate::model::{
    Error, Result,
    error::{Kind, io_error},
    limits,
};
use rustix::{
    buffer::spare_capacity,
    fs::{FileType, Mode, OFlags, Stat},
    io::{Errno, retry_on_intr},
};
use std::{fs::File, path::Path};

/// Identity by file name. Enough if only this machine writes.
pub(super) fn stat(dir: &File, path: &Path, file: &str) -> Result<Got> {
    match folder::stat_at(dir, file) {
        Ok(Some(stat)) => identity(path, &stat, false),
        Ok(None) => Ok(Got::Identity(None)),
        Err(e) => torn_if_stale(path, "stat", e),
    }
}

/// Identity by opening the file: a network file system asks its server on open, but may answer a
/// `stat` from its cache.
pub(super) fn stat_open(dir: &File, path: &Path, file: &str) -> Result<Got> {
    let open = match open(dir, path, file)? {
        Ok(open) => open,
        Err(Got::Missing) => return Ok(Got::Identity(None)),
        Err(other) => return Ok(other),
    };
    match rustix::fs::fstat(&open) {
        Ok(stat) => identity(path, &stat, true),
        Err(e) => torn_if_stale(path, "stat", e),
    }
}

fn identity(path: &Path, stat: &Stat, network: bool) -> Result<Got> {
    plain_file(path, stat).map(|()| Got::Identity(Some(folder::identity(stat, network))))
}

/// The open file, or the answer for the reader if there is none.
fn open(dir: &File, path: &Path, file: &str) -> Result<Result<File, Got>> {
    match folder::open_at(dir, file, OFlags::RDONLY, Mode::empty()) {
        Ok(open) => Ok(Ok(open)),
        Err(Errno::NOENT) => Ok(Err(Got::Missing)),
        Err(e) if folder::is_link(dir, file) => {
            log::debug!("{}: {e}", path.display());
            Err(not_plain(path, "a symbolic link, which is not followed"))
        }
        Err(e) => torn_if_stale(path, "open", e).map(Err),
    }
}

/// A network file system reports `ESTALE` if a file or folder was replaced on its server meanwhile.
/// Looking again finds the new one.
fn torn_if_stale(path: &Path, action: &'static str, e: Errno) -> Result<Got> {
    match e {
        Errno::STALE => Ok(Got::Torn),
        e => Err(io_error(path, action, e.into())),
    }
}

pub(super) fn read(dir: &File, path: &Path, file: &str, root: &Root) -> Result<Got> {
    let open = match open(dir, path, file)? {
        Ok(open) => open,
        Err(instead) => return Ok(instead),
    };
    let before = match rustix::fs::fstat(&open) {
        Ok(stat) => stat,
        Err(e) => return torn_if_stale(path, "stat", e),
    };
    plain_file(path, &before)?;
    let before = folder::identity(&before, root.network);
    too_large(path, before.stamp.size, root.max_bytes)?;
    match read_all(&open, before, root.network) {
        Ok(Some(bytes)) => Ok(Got::File(before, bytes.into())),
        Ok(None) => Ok(Got::Torn),
        Err(e) => torn_if_stale(path, "read", e),
    }
}

/// The bytes, if the identity did not change and their number equals its size.
fn read_all(open: &File, before: Identity, network: bool) -> Result<Option<Vec<u8>>, Errno> {
    let size = before.stamp.size;
    // Room for one byte more than the stated size, so that growth is detected; reading stops then.
    // The memory is not reserved all at once: a sparse file's stated size may be huge.
    let room = size.min(limits::READ_AHEAD_BYTES);
    let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0) + 1);
    while bytes.len() as u64 <= size {
        if bytes.len() == bytes.capacity() {
            bytes.reserve(1);
        }
        if retry_on_intr(|| rustix::io::read(open, spare_capacity(&mut bytes)))? == 0 {
            break;
        }
    }
    let after = folder::identity(&rustix::fs::fstat(open)?, network);
    Ok((after == before && bytes.len() as u64 == size).then_some(bytes))
}

pub(super) fn too_large(path: &Path, bytes: u64, limit: u64) -> Result<()> {
    if bytes <= limit {
        return Ok(());
    }
    Err(Error::new(Kind::TooLarge {
        document: path.display().to_string(),
        bytes,
        limit,
    }))
}

fn plain_file(path: &Path, stat: &Stat) -> Result<()> {
    match folder::file_type(stat) {
        FileType::RegularFile => Ok(()),
        FileType::Directory => Err(not_plain(path, "a directory")),
        FileType::Symlink => Err(not_plain(path, "a symbolic link, which is not followed")),
        _ => Err(not_plain(path, "not a plain file")),
    }
}

fn not_plain(path: &Path, what: &str) -> Error {
    Error::new(Kind::Document {
        document: path.display().to_string(),
        message: format!("is {what}; a document is a plain file"),
    })
}
