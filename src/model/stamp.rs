//! The version of a document file.

use std::fmt;

/// The version of a document file. Every save moves the modification time forward, so no stamp is
/// repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Stamp {
    /// Modification time in ns since 1970.
    pub(crate) mtime_ns: i64,
    /// Size in bytes.
    pub(crate) size: u64,
    pub(crate) inode: u64,
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.mtime_ns, self.size, self.inode)
    }
}
