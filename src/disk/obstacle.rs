//! Permanent obstacles to replacing a document. Checked before a transaction's commit point, and
//! named when a rename fails.

use super::folder;
use rustix::{
    fs::{Access, AtFlags, Stat},
    io::Errno,
    process::geteuid,
};
use std::{fs::File, io};

/// Why no file can be renamed to the document or away from it, and what to do about it; `None` if
/// no obstacle is found.
pub(super) fn of(dir: &File, file: &str) -> Option<&'static str> {
    let folder = flags(dir, "");
    let document = flags(dir, file);
    if folder.immutable {
        return Some("its folder is immutable: `chattr -i` takes that away");
    }
    if folder.append_only {
        return Some("its folder is append-only: `chattr -a` takes that away");
    }
    if document.immutable {
        return Some("it is immutable: `chattr -i` takes that away");
    }
    if document.append_only {
        return Some("it is append-only: `chattr -a` takes that away");
    }
    if document.mount {
        return Some(
            "it is a mount point, so no other file can take its name: mount its folder instead",
        );
    }
    if is_sticky_for_us(dir, file) {
        return Some(
            "its folder is sticky, and neither that nor the document belongs to this user",
        );
    }
    match rustix::fs::accessat(
        dir,
        ".",
        Access::WRITE_OK | Access::EXEC_OK,
        AtFlags::EACCESS,
    ) {
        Err(Errno::ACCESS) => Some("this user may not write in its folder"),
        Err(Errno::ROFS) => Some("its file system is mounted read-only"),
        _ => None,
    }
}

/// The same, as an error.
pub(super) fn ask(dir: &File, file: &str) -> io::Result<()> {
    match of(dir, file) {
        Some(why) => Err(io::Error::new(io::ErrorKind::PermissionDenied, why)),
        None => Ok(()),
    }
}

/// Adds the obstacle to an error that it may have caused.
pub(super) fn explain(e: io::Error, dir: &File, file: &str) -> io::Error {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, ResourceBusy};
    let may = matches!(
        e.kind(),
        PermissionDenied | ReadOnlyFilesystem | ResourceBusy
    );
    match of(dir, file).filter(|_| may) {
        Some(why) => io::Error::new(e.kind(), format!("{e}: {why}")),
        None => e,
    }
}

/// In a sticky folder, only the file's owner, the folder's owner and a privileged process may
/// replace a file.
fn is_sticky_for_us(dir: &File, file: &str) -> bool {
    let (Ok(folder), Ok(Some(document))) = (rustix::fs::fstat(dir), folder::stat_at(dir, file))
    else {
        return false;
    };
    let us = geteuid().as_raw();
    let owned = |stat: &Stat| stat.st_uid == us;
    folder::is_sticky(&folder) && !owned(&folder) && !owned(&document) && !is_above_owners()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_above_owners() -> bool {
    use rustix::thread::{CapabilitySet, capabilities};
    // If that cannot be determined, the rename will tell.
    capabilities(None).map_or(true, |sets| sets.effective.contains(CapabilitySet::FOWNER))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_above_owners() -> bool {
    geteuid().is_root()
}

/// Obstacles that neither modes nor ACLs show.
#[derive(Default)]
struct Flags {
    immutable: bool,
    append_only: bool,
    mount: bool,
}

/// Flags of a name in the folder; of the folder itself if the name is empty.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn flags(dir: &File, name: &str) -> Flags {
    use rustix::fs::{StatxAttributes, StatxFlags, statx};

    let how = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
    let Ok(found) = statx(dir, name, how, StatxFlags::empty()) else {
        return Flags::default();
    };
    let has = |flag| found.stx_attributes.contains(flag);
    Flags {
        immutable: has(StatxAttributes::IMMUTABLE),
        append_only: has(StatxAttributes::APPEND),
        mount: has(StatxAttributes::MOUNT_ROOT) && !name.is_empty(),
    }
}

#[cfg(target_vendor = "apple")]
fn flags(dir: &File, name: &str) -> Flags {
    // Set by the owner, and by root: sys/stat.h.
    const IMMUTABLE: u32 = 0x0002_0002;
    const APPEND_ONLY: u32 = 0x0004_0004;
    let stat = match name {
        "" => rustix::fs::fstat(dir).ok(),
        name => folder::stat_at(dir, name).ok().flatten(),
    };
    stat.map_or_else(Flags::default, |stat| Flags {
        immutable: stat.st_flags & IMMUTABLE != 0,
        append_only: stat.st_flags & APPEND_ONLY != 0,
        mount: false,
    })
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn flags(_: &File, _: &str) -> Flags {
    Flags::default()
}
