//! POSIX access ACLs, in the form in which Linux exposes them: an extended attribute.
//!
//! The group bits of a file's mode hold the *mask* if the file has an ACL. So the mode alone shows
//! neither what the group may do nor what named users and groups may do.

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::xattr;
use rustix::{fs::RawMode, io::Errno};
use std::{collections::BTreeMap, fs::File};

/// Name of the attribute.
pub(super) const NAME: &str = "system.posix_acl_access";
/// Version of the attribute's layout: little-endian words, a version and then 8 bytes per entry.
const VERSION: [u8; 4] = [2, 0, 0, 0];
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// The id in an entry that names nobody.
const NOBODY: u32 = u32::MAX;

/// A user or group that an entry names, besides the owner, the group and others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Named {
    User(u32),
    Group(u32),
}

/// Permissions: read (4), write (2), execute (1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Acl {
    pub(super) user: u16,
    pub(super) group: u16,
    pub(super) other: u16,
    /// Upper limit for the group and for all named users and groups.
    pub(super) mask: Option<u16>,
    pub(super) named: BTreeMap<Named, u16>,
}

impl Acl {
    /// The permissions in a mode.
    #[allow(clippy::unnecessary_cast)] // a mode has 16 bits on some platforms
    pub(super) fn of_mode(mode: RawMode) -> Self {
        let bits = |shift: u32| ((mode >> shift) & 7) as u16;
        Self {
            user: bits(6),
            group: bits(3),
            other: bits(0),
            ..Self::default()
        }
    }

    /// The file's ACL; `None` if it has none, or if the file system does not support ACLs.
    pub(super) fn read(file: &File) -> Result<Option<Self>, Errno> {
        let Some(bytes) = xattr::get(file, NAME)? else {
            return Ok(None);
        };
        Self::parse(&bytes).map(Some).ok_or(Errno::INVAL)
    }

    pub(super) fn write(&self, file: &File) -> Result<(), Errno> {
        xattr::set(file, NAME, &self.bytes())
    }

    /// Removes the file's ACL, if it has one: a folder's default ACL adds one to each new file.
    pub(super) fn remove(file: &File) -> Result<(), Errno> {
        match Self::read(file)? {
            Some(_) => xattr::remove(file, NAME),
            None => Ok(()),
        }
    }

    /// The same permissions with the mask applied and removed.
    pub(super) fn effective(mut self) -> Self {
        let mask = self.mask.take().unwrap_or(7);
        self.group &= mask;
        self.named.values_mut().for_each(|perm| *perm &= mask);
        self
    }

    /// The group bits that the mode shows.
    pub(super) fn shown_group(&self) -> u16 {
        let all = self.named.values().fold(self.group, |all, perm| all | perm);
        self.mask.unwrap_or(all)
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let entries = bytes.strip_prefix(&VERSION)?.chunks(8);
        let mut acl = Self::default();
        for entry in entries {
            let [t0, t1, p0, p1, i0, i1, i2, i3] = entry.try_into().ok()?;
            let perm = u16::from_le_bytes([p0, p1]) & 7;
            let id = u32::from_le_bytes([i0, i1, i2, i3]);
            match u16::from_le_bytes([t0, t1]) {
                USER_OBJ => acl.user = perm,
                USER => drop(acl.named.insert(Named::User(id), perm)),
                GROUP_OBJ => acl.group = perm,
                GROUP => drop(acl.named.insert(Named::Group(id), perm)),
                MASK => acl.mask = Some(perm),
                OTHER => acl.other = perm,
                _ => return None,
            }
        }
        Some(acl)
    }

    /// The entries in the order that the kernel requires.
    fn bytes(&self) -> Vec<u8> {
        let named = |users: bool| {
            self.named.iter().filter_map(move |(who, perm)| match who {
                Named::User(id) if users => Some((USER, *perm, *id)),
                Named::Group(id) if !users => Some((GROUP, *perm, *id)),
                _ => None,
            })
        };
        let entries = std::iter::once((USER_OBJ, self.user, NOBODY))
            .chain(named(true))
            .chain([(GROUP_OBJ, self.group, NOBODY)])
            .chain(named(false))
            .chain([(MASK, self.shown_group(), NOBODY)])
            .chain([(OTHER, self.other, NOBODY)]);
        let mut bytes = VERSION.to_vec();
        for (tag, perm, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(perm.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }
}

/// On other systems ACLs are not extended attributes.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod xattr {
    use rustix::io::{Errno, Result};
    use std::fs::File;

    pub(super) fn get(_: &File, _: &str) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    pub(super) fn set(_: &File, _: &str, _: &[u8]) -> Result<()> {
        Err(Errno::NOTSUP)
    }

    pub(super) fn remove(_: &File, _: &str) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_in_the_kernel_s_order() {
        let acl = Acl {
            user: 6,
            group: 0,
            other: 4,
            mask: Some(6),
            named: BTreeMap::from([(Named::Group(7), 4), (Named::User(1_000), 6)]),
        };
        let bytes = acl.bytes();
        let tags: Vec<u8> = bytes[4..].iter().step_by(8).copied().collect();
        assert_eq!(tags, [1, 2, 4, 8, 16, 32]);
        assert_eq!(Acl::parse(&bytes), Some(acl));
        assert_eq!(Acl::parse(&bytes[..bytes.len() - 1]), None, "cut");
        assert_eq!(Acl::parse(b"\x03\0\0\0"), None, "another version");
    }

    #[test]
    fn a_mask_bounds_the_group_and_who_is_named() {
        let acl = Acl {
            user: 7,
            group: 7,
            other: 7,
            mask: Some(4),
            named: BTreeMap::from([(Named::User(1), 6)]),
        };
        let effective = acl.effective();
        assert_eq!((effective.user, effective.other), (7, 7));
        assert_eq!((effective.group, effective.named[&Named::User(1)]), (4, 4));
    }
}
