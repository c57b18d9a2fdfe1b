//! The extended attributes that a save keeps.

use std::{fs::File, io, path::Path};

/// Copies the document's extended attributes to the new file that will replace it, except for its
/// ACL, which is copied with the rights. Attributes that are not permitted or not supported are
/// left out with a warning.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(super) fn copy(document: &File, new: &File, path: &Path) -> io::Result<()> {
    use super::xattr;
    use rustix::io::Errno;

    let mut lost = Vec::new();
    for name in xattr::names(document)? {
        if !is_kept(name.to_bytes()) {
            continue;
        }
        let Some(value) = xattr::get(document, &*name)? else {
            continue;
        };
        // Labels that the system sets itself are mostly equal already, and not everyone may set
        // them.
        if xattr::get(new, &*name)?.as_ref() == Some(&value) {
            continue;
        }
        match xattr::set(new, &*name, &value) {
            Ok(()) => {}
            Err(e @ (Errno::PERM | Errno::ACCESS | Errno::INVAL)) => lost.push((name, e)),
            Err(e) if super::folder::is_unsupported(e) => lost.push((name, e)),
            Err(e) => return Err(e.into()),
        }
    }
    if !lost.is_empty() {
        log::warn!(
            "{}: extended attributes cannot be kept: {lost:?}",
            path.display()
        );
    }
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) fn copy(_: &File, _: &File, _: &Path) -> io::Result<()> {
    Ok(())
}

/// `security.evm` and `security.ima` are the kernel's signatures of one particular file; `system.`
/// is for file systems and ACLs.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_kept(name: &[u8]) -> bool {
    let copied: [&[u8]; 3] = [b"user.", b"trusted.", b"security."];
    copied.iter().any(|prefix| name.starts_with(prefix))
        && name != b"security.evm"
        && name != b"security.ima"
}

#[cfg(target_vendor = "apple")]
fn is_kept(_: &[u8]) -> bool {
    true
}
