//! Extended attributes of an open file, on systems that have them.

use super::folder;
use rustix::{
    buffer::spare_capacity,
    fs::XattrFlags,
    io::{Errno, Result},
    path::Arg,
};
use std::{ffi::CString, fs::File};

/// Linux's limit, both for a list of names and for a value.
const MAX_BYTES: usize = 64 * 1024;
/// Enough for most, so that one small call suffices.
const SHORT_BYTES: usize = 1024;
#[cfg(target_vendor = "apple")]
const ABSENT: Errno = Errno::NOATTR;
#[cfg(not(target_vendor = "apple"))]
const ABSENT: Errno = Errno::NODATA;

/// The attribute names that this process may see; empty if the file system does not support
/// attributes.
pub(super) fn names(file: &File) -> Result<Vec<CString>> {
    let list = whole(|buffer| rustix::fs::flistxattr(file, spare_capacity(buffer)))?;
    let list = list.unwrap_or_default();
    let names = list
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    // Split at every NUL, so no name contains one.
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

/// `None` if the file has no attribute of that name, or if the file system does not support
/// attributes.
pub(super) fn get(file: &File, name: impl Arg + Copy) -> Result<Option<Vec<u8>>> {
    whole(|buffer| rustix::fs::fgetxattr(file, name, spare_capacity(buffer)))
}

fn whole(ask: impl Fn(&mut Vec<u8>) -> Result<usize>) -> Result<Option<Vec<u8>>> {
    let mut buffer = Vec::with_capacity(SHORT_BYTES);
    let mut got = ask(&mut buffer);
    if got == Err(Errno::RANGE) {
        buffer.reserve_exact(MAX_BYTES);
        got = ask(&mut buffer);
    }
    match got {
        Ok(_) => Ok(Some(buffer)),
        Err(ABSENT) => Ok(None),
        Err(e) if folder::is_unsupported(e) => Ok(None),
        Err(e) => Err(e),
    }
}

pub(super) fn set(file: &File, name: impl Arg, value: &[u8]) -> Result<()> {
    rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn remove(file: &File, name: &str) -> Result<()> {
    rustix::fs::fremovexattr(file, name)
}
