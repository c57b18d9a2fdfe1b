//! Distinguishes a document's file from every other one that was, or will be, in its place.
//!
//! Anyone may set a modification time, and inode numbers are reused. The change time is set by the
//! kernel, but in ticks: two changes within one tick have the same change time. So an identity is
//! unique only once its tick is over; until then the content decides.

use crate::model::{Bytes, Stamp, limits};
use xxhash_rust::xxh3::xxh3_64;

/// A file's identity, as one look at it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Identity {
    pub(crate) stamp: Stamp,
    /// The change time in ns since 1970. A rename, `chmod`, `chown` or `link` changes it too.
    pub(crate) changed_ns: i64,
    /// Two changes less than this many ns apart may have the same change time.
    pub(crate) tick_ns: i64,
}

impl Identity {
    /// Identity of a file whose change time is by this machine's clock.
    pub(crate) fn local(stamp: Stamp, changed_ns: i64) -> Self {
        // A whole second means that the file system keeps no more, except for one change time in
        // 10^9.
        let tick_ns = match changed_ns.rem_euclid(1_000_000_000) {
            0 => limits::COARSE_TICK_NS,
            _ => limits::FINE_TICK_NS,
        };
        Self {
            stamp,
            changed_ns,
            tick_ns,
        }
    }

    /// Identity of a file whose change time may be by another machine's clock.
    pub(crate) fn remote(stamp: Stamp, changed_ns: i64) -> Self {
        Self {
            stamp,
            changed_ns,
            tick_ns: limits::COARSE_TICK_NS,
        }
    }

    /// Whether no change at `now_ns` or later can result in this identity.
    pub(crate) fn is_over(&self, now_ns: i64) -> bool {
        now_ns.saturating_sub(self.changed_ns) >= self.tick_ns
    }
}

/// A version of a file that was read or written before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) stamp: Stamp,
    /// `None` if it could not be trusted when it was seen: then only the content decides.
    changed_ns: Option<i64>,
}

impl Version {
    /// Set `trusted` if no later change can result in this identity.
    pub(crate) fn seen(identity: &Identity, trusted: bool) -> Self {
        Self {
            stamp: identity.stamp,
            changed_ns: trusted.then_some(identity.changed_ns),
        }
    }

    /// Whether a file with this identity is this version; `None` if only its content can tell.
    pub(crate) fn is(&self, now: &Identity) -> Option<bool> {
        if self.stamp != now.stamp {
            return Some(false);
        }
        let same = self.changed_ns == Some(now.changed_ns) || cfg!(cachetx_without_change_time);
        same.then_some(true)
    }
}

/// A version and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) version: Version,
    pub(crate) bytes: Bytes,
}

impl Known {
    /// A file written just now: the tick of its rename is not over.
    pub(crate) fn saved(stamp: Stamp, bytes: Bytes) -> Self {
        let version = Version {
            stamp,
            changed_ns: None,
        };
        Self { version, bytes }
    }
}

pub(crate) fn digest(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        mtime_ns: 1,
        size: 2,
        inode: 3,
    };
    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn a_change_time_counts_once_its_tick_is_over() {
        for (changed_ns, tick_ns) in [
            (7 * SECOND, limits::COARSE_TICK_NS),
            (7 * SECOND + 4_000_000, limits::FINE_TICK_NS),
        ] {
            let identity = Identity::local(STAMP, changed_ns);
            let read = |after_ns| Version::seen(&identity, identity.is_over(changed_ns + after_ns));
            assert_eq!(read(tick_ns).is(&identity), Some(true));
            assert_eq!(read(tick_ns - 1).is(&identity), None);
            assert_eq!(read(-SECOND).is(&identity), None, "the clock was set back");
        }
        let far = Identity::remote(STAMP, 7 * SECOND + 1);
        assert!(!far.is_over(far.changed_ns + limits::COARSE_TICK_NS - 1));
    }

    #[test]
    fn another_stamp_is_another_version_and_another_change_time_may_be() {
        let identity = Identity::local(STAMP, 7 * SECOND + 1);
        let known = Version::seen(&identity, true);
        let touched = Identity::local(STAMP, identity.changed_ns + 1);
        assert_eq!(known.is(&touched), None);
        let stamp = Stamp { inode: 4, ..STAMP };
        assert_eq!(known.is(&Identity { stamp, ..identity }), Some(false));
        let saved = Known::saved(STAMP, Bytes::from(&b"{}"[..]));
        assert_eq!(saved.version.is(&identity), None);
    }

    /// File times in whole seconds, and a foreign writer that renames twice within one second:
    /// size, time and inode are repeated.
    #[test]
    fn within_a_second_that_is_not_over_the_content_decides() {
        let seen = Identity::local(STAMP, 7 * SECOND);
        let known = Version::seen(&seen, seen.is_over(7 * SECOND + SECOND / 2));
        let again = Identity::local(STAMP, 7 * SECOND);
        assert_eq!((seen, known.is(&again)), (again, None));
    }
}
