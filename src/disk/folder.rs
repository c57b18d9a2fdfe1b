//! File operations inside an open folder, all relative to its descriptor.

use super::Identity;
use crate::model::{Result, Stamp, error::io_error};
use rustix::{
    fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid},
    io::{Errno, retry_on_intr},
};
use std::{
    collections::BTreeSet,
    fs::File,
    io,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::{Mutex, PoisonError},
};

/// Opens one path component. `NONBLOCK`, so that a FIFO in a document's place is refused instead of
/// blocking.
pub(super) fn open_at(dir: &File, name: &str, flags: OFlags, mode: Mode) -> Result<File, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    retry_on_intr(|| rustix::fs::openat(dir, name, flags, mode)).map(File::from)
}

/// Opens the document to inspect its attributes; `None` if it does not exist.
pub(super) fn document(dir: &File, name: &str) -> Result<Option<File>, Errno> {
    match open_at(dir, name, OFlags::RDONLY, Mode::empty()) {
        Ok(document) => Ok(Some(document)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

pub(super) fn stat_at(dir: &File, name: &str) -> Result<Option<Stat>, Errno> {
    match retry_on_intr(|| rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e),
    }
}

pub(super) fn unlink_at(dir: &File, name: &str) -> Result<(), Errno> {
    retry_on_intr(|| rustix::fs::unlinkat(dir, name, AtFlags::empty()))
}

/// The stat fields' types differ between platforms, so the casts are needed on some only.
#[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
pub(super) fn stamp(stat: &Stat) -> Stamp {
    Stamp {
        mtime_ns: (stat.st_mtime as i64)
            .saturating_mul(1_000_000_000)
            .saturating_add(stat.st_mtime_nsec as i64),
        size: stat.st_size as u64,
        inode: stat.st_ino as u64,
    }
}

/// The stamp plus the change time, which may be by another machine's clock.
#[allow(clippy::unnecessary_cast)]
pub(super) fn identity(stat: &Stat, network: bool) -> Identity {
    let changed_ns = (stat.st_ctime as i64)
        .saturating_mul(1_000_000_000)
        .saturating_add(stat.st_ctime_nsec as i64);
    match network {
        true => Identity::remote(stamp(stat), changed_ns),
        false => Identity::local(stamp(stat), changed_ns),
    }
}

/// Whether both are the same file.
pub(super) fn same_file(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// Whether the name leads to this open file.
pub(super) fn leads_to(dir: &File, name: &str, file: &File) -> Result<bool, Errno> {
    let own = rustix::fs::fstat(file)?;
    Ok(stat_at(dir, name)?.is_some_and(|named| same_file(&named, &own)))
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Whether the folder is sticky: users then cannot replace each other's files in it.
pub(super) fn is_sticky(folder: &Stat) -> bool {
    folder.st_mode & 0o1000 != 0
}

/// Whether the file system does not support the request.
pub(super) fn is_unsupported(e: Errno) -> bool {
    [Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS].contains(&e)
}

/// Makes the names in a folder durable, or reports that the file system cannot (some in user space
/// and some on networks). That is not an error, since a retry would not help: callers continue and
/// report that durability is unknown.
pub(super) fn sync(dir: &File, path: &Path) -> io::Result<Names> {
    let Err(e) = dir.sync_all() else {
        return Ok(Names::Durable);
    };
    match Errno::from_io_error(&e) {
        Some(errno) if errno == Errno::INVAL || is_unsupported(errno) => {
            warn_once(dir, path, &e);
            Ok(Names::NotSyncable)
        }
        _ => Err(e),
    }
}

/// Warns once per file system.
fn warn_once(dir: &File, path: &Path, e: &io::Error) {
    static WARNED: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());
    let Ok(device) = dir.metadata().map(|dir| dir.dev()) else {
        return;
    };
    let mut warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    if warned.insert(device) {
        log::warn!(
            "{}: its file system cannot sync folders, so whether files that are made, renamed or deleted there outlive a power loss is not known: {e}",
            path.display()
        );
    }
}

/// Result of a folder's sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    Durable,
    NotSyncable,
}

pub(super) fn is_link(dir: &File, name: &str) -> bool {
    matches!(stat_at(dir, name), Ok(Some(stat)) if file_type(&stat) == FileType::Symlink)
}

/// Sets a file's owner and group to those of `like`, as far as permitted.
pub(super) fn give_to(file: &File, like: &Stat) -> Result<(), Errno> {
    let own = rustix::fs::fstat(file)?;
    if (own.st_uid, own.st_gid) == (like.st_uid, like.st_gid) {
        return Ok(());
    }
    let (uid, gid) = (Uid::from_raw(like.st_uid), Gid::from_raw(like.st_gid));
    // Only root may change the owner. Other users become the owner, as with any editor, and keep
    // the group if they are members: the mode is copied from the document and refers to that group.
    if rustix::fs::fchown(file, Some(uid), Some(gid)).is_err() {
        let _ = rustix::fs::fchown(file, None, Some(gid));
    }
    Ok(())
}

/// The names in a folder, unordered. Names that are not UTF-8 are skipped: the library makes none.
pub(super) fn names(dir: &File, path: &Path) -> Result<Vec<String>> {
    let failed = |e: Errno| io_error(path, "list the folder", e.into());
    let mut names = Vec::new();
    for entry in Dir::read_from(dir).map_err(failed)? {
        if let Ok(name) = entry.map_err(failed)?.file_name().to_str() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
