//! Children that run as another account, with files that belong to several accounts. Needs root.

use super::skipped;
use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::Path,
    process::Command,
};

/// Accounts and a group that nobody else has.
pub const ALICE: u32 = 12_345;
pub const TEAM: u32 = 12_346;
pub const BOB: u32 = 12_347;

/// Whether this process is root; else the test is reported as skipped.
pub fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skipped(test, "needs root");
    }
    root
}

/// Gives a file or folder its owner, group and mode.
pub fn give(path: &Path, owner: u32, group: u32, mode: u32) {
    chown(path, Some(owner), Some(group)).expect("given away");
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
}

/// Runs the child as `user` in the groups `groups`. Returns its output; `None`, with the test
/// reported as skipped, if that is not possible here.
pub fn run_as(
    test: &str,
    user: u32,
    groups: &str,
    umask: &str,
    child: &Command,
) -> Option<Result<String, String>> {
    let ran = Command::new("setpriv")
        .arg(format!("--reuid={user}"))
        .arg(format!("--regid={user}"))
        .arg(format!("--groups={groups}"))
        .args([
            "sh",
            "-c",
            &format!("umask {umask}; echo STARTED; exec \"$@\""),
            "sh",
        ])
        .arg(child.get_program())
        .args(child.get_args())
        .envs(child.get_envs().filter_map(|(n, v)| Some((n, v?))))
        .output();
    let (passed, said) = match &ran {
        Ok(ran) => (
            ran.status.success(),
            [&*ran.stdout, b"\n", &ran.stderr].concat(),
        ),
        Err(e) => (false, e.to_string().into_bytes()),
    };
    let said = String::from_utf8_lossy(&said).into_owned();
    if !said.contains("STARTED") || !said.contains("running 1 test") {
        skipped(test, &format!("it cannot be run as another user: {said}"));
        return None;
    }
    Some(if passed { Ok(said) } else { Err(said) })
}

/// An ACL in Linux's format: the owner may read and write, the user `who` has `perm`.
pub fn acl(who: u32, perm: u16, group: u16, mask: u16, other: u16) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let entries = [
        (1_u16, if perm & 1 == 1 { 7 } else { 6 }, NOBODY),
        (2, perm, who),
        (4, group, NOBODY),
        (16, mask, NOBODY),
        (32, other, NOBODY),
    ];
    let mut bytes = vec![2, 0, 0, 0];
    for (tag, perm, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(u16::to_le_bytes(perm));
        bytes.extend(id.to_le_bytes());
    }
    bytes
}
