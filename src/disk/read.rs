//! Reading a document whole, with the stamp that held still meanwhile.

use super::{Got, folder};
use crate::{
    Error, Result,
    error::{Kind, io_error},
    limits,
    op::Stamp,
};
use rustix::{
    buffer::spare_capacity,
    fs::{FileType, Mode, OFlags, Stat},
    io::{Errno, retry_on_intr},
};
use std::{fs::File, path::Path};

pub(super) fn stat(dir: &File, path: &Path, file: &str) -> Result<Option<Stamp>> {
    let stat = folder::stat_at(dir, file).map_err(|e| io_error(path, "stat", e.into()))?;
    stat.map(|stat| plain_file(path, &stat).map(|()| folder::stamp(&stat)))
        .transpose()
}

pub(super) fn read(dir: &File, path: &Path, file: &str, max_bytes: u64) -> Result<Got> {
    let open = match folder::open_at(dir, file, OFlags::RDONLY, Mode::empty()) {
        Ok(open) => open,
        Err(Errno::NOENT) => return Ok(Got::Missing),
        Err(e) if folder::is_link(dir, file) => {
            log::debug!("{}: {e}", path.display());
            return Err(not_plain(path, "a symbolic link, which is not followed"));
        }
        Err(e) => return Err(io_error(path, "open", e.into())),
    };
    let before = rustix::fs::fstat(&open).map_err(|e| io_error(path, "stat", e.into()))?;
    plain_file(path, &before)?;
    let before = folder::stamp(&before);
    too_large(path, before.size, max_bytes)?;
    // One byte more than there should be, so that a file that grows is seen; what is past that is not read. What the file
    // says of its size is no reason to take that much memory at once: it may be sparse.
    let room = before.size.min(limits::READ_AHEAD_BYTES);
    let mut bytes = Vec::with_capacity(usize::try_from(room).unwrap_or(0) + 1);
    while bytes.len() as u64 <= before.size {
        if bytes.len() == bytes.capacity() {
            bytes.reserve(1);
        }
        let read = retry_on_intr(|| rustix::io::read(&open, spare_capacity(&mut bytes)));
        if read.map_err(|e| io_error(path, "read", e.into()))? == 0 {
            break;
        }
    }
    let after = rustix::fs::fstat(&open).map_err(|e| io_error(path, "stat", e.into()))?;
    if folder::stamp(&after) != before || bytes.len() as u64 != before.size {
        return Ok(Got::Torn);
    }
    Ok(Got::File(before, bytes.into()))
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
