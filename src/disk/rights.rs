//! File permissions: what a document keeps through a save, and what the files beside it grant.

use super::{
    acl::{Acl, Named},
    folder,
};
use rustix::{
    fs::{FileType, Gid, Mode, RawMode, Stat, fchmod, fchown, fstat},
    io::Errno,
    process::geteuid,
};
use std::{collections::BTreeMap, fs::File, io, path::Path};

/// Permission bits, without the file type.
const MODE_BITS: RawMode = 0o7777;
const SET_UID: RawMode = 0o4000;
const SET_GID: RawMode = 0o2000;
const READ_WRITE: u16 = 6;
const ALL: u16 = 7;
/// Needed to create, rename and delete files in a folder.
const WRITE_ENTER: u16 = 3;

/// Gives a new file the owner and group of the document that it will replace, as far as permitted.
pub(super) fn give_owner(document: &File, new: &File) -> io::Result<()> {
    Ok(folder::give_to(new, &fstat(document)?)?)
}

/// Gives a new file the ACL and the mode of the document that it will replace. Only the new file's
/// owner may use it before that. If the ACL, the mode or the document's group cannot be copied,
/// nobody gets more access than the document gave.
pub(super) fn copy(document: &File, new: &File, path: &Path) -> io::Result<()> {
    let (like, own) = (fstat(document)?, fstat(new)?);
    let group_kept = own.st_gid == like.st_gid;
    let mut mode = like.st_mode & MODE_BITS;
    if own.st_uid != like.st_uid {
        mode &= !SET_UID;
    }
    if !group_kept {
        mode &= !SET_GID;
    }
    let shown = Acl::of_mode(mode);
    let acl = Acl::read(document).inspect_err(|e| {
        let path = path.display();
        log::warn!("{path}: its ACL cannot be read, so its group gets what others get: {e}");
    });
    let group_known = group_kept && acl.is_ok();
    let mut kept = false;
    if let Ok(Some(mut acl)) = acl {
        if !group_kept {
            acl.group &= acl.other;
        }
        let written = acl.write(new);
        kept = written.is_ok();
        if let Err(e) = written {
            let path = path.display();
            log::warn!("{path}: its ACL cannot be kept, so whom it names loses access: {e}");
            // The mode's group bits hold the ACL mask, which is more than the group had.
            mode = with_group(mode, acl.effective().group);
        }
    } else if !group_known {
        mode = with_group(mode, shown.group & shown.other);
    }
    if !kept {
        Acl::remove(new)?;
    }
    Ok(fchmod(new, Mode::from_raw_mode(mode))?)
}

#[allow(clippy::cast_lossless)] // a mode has 16 bits on some platforms
fn with_group(mode: RawMode, group: u16) -> RawMode {
    (mode & !0o070) | ((group as RawMode) << 3)
}

/// Gives everyone who may write in `folder` access to a file or folder created in it. Otherwise a
/// file made as root, or under a narrow umask, would block all other users' saves. Does nothing if
/// this process is not the owner.
pub(super) fn share(new: &File, folder: &File) {
    if let Err(e) = try_to_share(new, folder) {
        log::debug!("the rights of a folder cannot be given to what is in it: {e}");
    }
}

/// The same for a sidecar: every user who may write its document may write it too.
pub(super) fn share_sidecar(sidecar: &File, folder: &File, document: &str) {
    if let Err(e) = try_to_share_sidecar(sidecar, folder, document) {
        log::debug!("the rights of a document cannot be given to its sidecar: {e}");
    }
}

fn try_to_share(new: &File, folder: &File) -> Result<(), Errno> {
    let above = fstat(folder)?;
    if folder::is_sticky(&above) || !is_mine(&fstat(new)?) {
        return Ok(());
    }
    let own = owned_like(new, &above)?;
    let most = match folder::file_type(&own) {
        FileType::Directory => ALL,
        _ => READ_WRITE,
    };
    let before = Rights::of(new, &own)?;
    let mut after = before.clone();
    after.acl.user |= most;
    after.acl.other &= Rights::of(folder, &above)?.acl.other;
    after.add_writers_of(folder, most)?;
    after.replace(&before, new, &own)
}

fn try_to_share_sidecar(sidecar: &File, folder: &File, document: &str) -> Result<(), Errno> {
    if !is_mine(&fstat(sidecar)?) {
        return Ok(());
    }
    let document = folder::document(folder, document)?;
    let like = fstat(document.as_ref().unwrap_or(folder))?;
    let own = owned_like(sidecar, &like)?;
    let before = Rights::of(sidecar, &own)?;
    let mut after = match &document {
        Some(document) => Rights::of(document, &like)?,
        // A default ACL applies to the document only.
        None => Rights {
            acl: Acl {
                named: BTreeMap::new(),
                ..before.acl.clone()
            },
            ..before
        },
    };
    after.acl.user = READ_WRITE;
    after.acl.group &= READ_WRITE;
    after.acl.other &= READ_WRITE;
    after
        .acl
        .named
        .values_mut()
        .for_each(|perm| *perm &= READ_WRITE);
    let (group_id, group) = (after.group_id, after.acl.group);
    after.add_writers_of(folder, READ_WRITE)?;
    if after.group_id != group_id && group & !after.acl.other != 0 {
        *after.acl.named.entry(Named::Group(group_id)).or_default() |= group;
    }
    after.replace(&before, sidecar, &own)
}

/// Whether this process may change the file's rights. Not if it has a second hard link: anyone who
/// may write in the folder could have linked any file there, and would gain access to it.
fn is_mine(stat: &Stat) -> bool {
    let linked = folder::file_type(stat) != FileType::Directory && stat.st_nlink > 1;
    !linked && (geteuid().is_root() || stat.st_uid == geteuid().as_raw())
}

/// If this process is root, gives the file the owner and group of `like`.
fn owned_like(file: &File, like: &Stat) -> Result<Stat, Errno> {
    if geteuid().is_root() {
        folder::give_to(file, like)?;
    }
    fstat(file)
}

/// Everyone's permissions on a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rights {
    group_id: u32,
    /// With the mask already applied.
    acl: Acl,
}

impl Rights {
    fn of(file: &File, stat: &Stat) -> Result<Self, Errno> {
        let acl = Acl::read(file)?.unwrap_or_else(|| Acl::of_mode(stat.st_mode));
        Ok(Self {
            group_id: stat.st_gid,
            acl: acl.effective(),
        })
    }

    /// Adds those who may create and rename files in the folder, with the part of `most` that they
    /// have there. Nobody is added in a sticky folder, where only owners replace files.
    fn add_writers_of(&mut self, folder: &File, most: u16) -> Result<(), Errno> {
        let stat = fstat(folder)?;
        if folder::is_sticky(&stat) {
            return Ok(());
        }
        let Self { group_id, acl } = Self::of(folder, &stat)?;
        let writes = |perm: u16| perm & WRITE_ENTER == WRITE_ENTER;
        if writes(acl.group) {
            if self.group_id != group_id {
                (self.group_id, self.acl.group) = (group_id, 0);
            }
            self.acl.group |= acl.group & most;
        }
        if writes(acl.other) {
            self.acl.other |= acl.other & most;
        }
        for (who, perm) in acl.named.into_iter().filter(|(_, perm)| writes(*perm)) {
            *self.acl.named.entry(who).or_default() |= perm & most;
        }
        Ok(())
    }

    /// Applies these rights to a file that has other ones, as far as this process may.
    fn replace(mut self, before: &Self, file: &File, stat: &Stat) -> Result<(), Errno> {
        if self == *before {
            return Ok(());
        }
        if stat.st_gid != self.group_id
            && fchown(file, None, Some(Gid::from_raw(self.group_id))).is_err()
        {
            // The group cannot be changed, so it gets no more than others get.
            self.acl.group &= self.acl.other;
        }
        let named = !self.acl.named.is_empty();
        let kept = named && self.acl.write(file).is_ok();
        if !kept {
            Acl::remove(file)?;
        }
        let shown = if kept {
            self.acl.shown_group()
        } else {
            self.acl.group
        };
        let mode = RawMode::from(self.acl.user) << 6 | RawMode::from(self.acl.other);
        let special = stat.st_mode & (MODE_BITS & !0o777);
        fchmod(file, Mode::from_raw_mode(special | with_group(mode, shown)))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::{os::unix::fs::OpenOptionsExt, process::Command};

    /// A mounted file system without ACLs; unmounted on drop.
    struct Mounted(tempfile::TempDir);

    impl Mounted {
        fn new() -> Option<Self> {
            let mounted = Self(tempfile::tempdir().unwrap());
            let mount = Command::new("mount")
                .args(["-t", "ramfs", "none"])
                .arg(mounted.0.path())
                .output();
            mount.is_ok_and(|it| it.status.success()).then_some(mounted)
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg(self.0.path()).output();
        }
    }

    #[test]
    fn where_an_acl_cannot_be_kept_the_group_gets_no_more_than_it_had() {
        let test = "where_an_acl_cannot_be_kept_the_group_gets_no_more_than_it_had";
        let home = tempfile::tempdir().unwrap();
        let document = File::create(home.path().join("document")).unwrap();
        let named = |perm| BTreeMap::from([(Named::User(12_345), perm)]);
        // The mode shows 6 for the group in all cases.
        for (group, named, left) in [(0, named(6), 0), (4, named(6), 4), (6, named(0), 6)] {
            let acl = Acl {
                user: 6,
                group,
                other: 0,
                mask: Some(6),
                named,
            };
            let mounted = Mounted::new().filter(|_| acl.write(&document).is_ok());
            let Some(mounted) = mounted else {
                eprintln!("SKIPPED {test}: needs root, `mount` and ACLs");
                return;
            };
            let (path, mut options) = (mounted.0.path().join("new"), File::options());
            let new = options.write(true).create_new(true).mode(0o600).open(&path);
            let new = new.unwrap();
            copy(&document, &new, &path).unwrap();
            assert_eq!(Acl::of_mode(fstat(&document).unwrap().st_mode).group, 6);
            let kept = Acl::of_mode(fstat(&new).unwrap().st_mode);
            assert_eq!((kept.user, kept.group, kept.other), (6, left, 0));
        }
    }
}
