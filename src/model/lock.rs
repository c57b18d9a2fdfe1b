//! A lock and its holder.

use std::{fmt, time::Duration};

/// A lock's key, and the value that identifies its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) key: String,
    /// Compared as a whole.
    pub(crate) value: String,
}

/// The holder of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockHolder {
    /// `host:pid`, or the lock's whole value if it is not in the library's form.
    pub owner: String,
    /// Remaining life without renewal; [`Duration::MAX`] for a foreign lock that never expires.
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
