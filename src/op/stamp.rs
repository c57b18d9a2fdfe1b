//! The version of a document file, and the entry that vouches for a cached copy of it.

use std::fmt;
use xxhash_rust::xxh3::xxh3_64;

/// The version of a document file. Every save moves the modification time forward, so no stamp comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    /// Modification time in ns since 1970.
    pub(crate) mtime_ns: i64,
    /// Bytes.
    pub(crate) size: u64,
    pub(crate) inode: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.mtime_ns, self.size, self.inode)
    }
}

/// What stands under `sibling(V, stamp)`: `<file stamp>:<commit id>:<digest of V>`.
///
/// The digest binds it to the bytes under V, so that a foreign `SET` of V alone is never taken for current.
pub(crate) fn voucher(stamp: &Stamp, commit_id: &str, value: &[u8]) -> String {
    format!("{stamp}:{commit_id}:{:016x}", xxh3_64(value))
}

/// The same for what a reader fills: its token stands for the commit id, and `-` for the stamp of a value that has no file.
pub(crate) fn fill_voucher(stamp: Option<&Stamp>, token: &str, value: &[u8]) -> String {
    match stamp {
        Some(stamp) => voucher(stamp, token, value),
        None => format!("-:{token}:{:016x}", xxh3_64(value)),
    }
}

/// Whether `voucher` says that `value` is the content of the file with that stamp.
pub(crate) fn vouches(voucher: &[u8], stamp: &Stamp, value: &[u8]) -> bool {
    let file = voucher.split(|byte| *byte == b':').next();
    file == Some(stamp.to_string().as_bytes()) && fits(voucher, value)
}

/// Whether `voucher` is of `value`, whatever file that may be of, if any.
pub(crate) fn fits(voucher: &[u8], value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(voucher) else {
        return false;
    };
    let mut parts = text.split(':');
    let (_, id, digest) = (parts.next(), parts.next(), parts.next());
    id.is_some()
        && parts.next().is_none()
        && digest == Some(format!("{:016x}", xxh3_64(value)).as_str())
}
