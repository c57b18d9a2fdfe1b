//! A lock, and who holds it.

use std::{fmt, time::Duration};

/// A lock and the value that shows who holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) key: String,
    /// Compared whole.
    pub(crate) value: String,
}

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockHolder {
    /// `host:pid`, or the lock's whole value where it is not in the library's form.
    pub owner: String,
    /// How long the lock still lives unless it is renewed; [`Duration::MAX`] for a foreign one that never ends by itself.
    pub remaining: Duration,
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.remaining == Duration::MAX {
            return write!(f, "{}, and does not run out by itself", self.owner);
        }
        write!(
            f,
            "{}, {:.1} s left",
            self.owner,
            self.remaining.as_secs_f64()
        )
    }
}
