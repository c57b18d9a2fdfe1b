//! The value of a lock: who holds it, in the form that other programs of the domain read.

use super::run::Now;
use crate::model::LockHolder;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How many characters of a foreign lock's value are shown.
const SHOWN_CHARS: usize = 80;

/// A compact JSON object. The server's TTL decides when the lock ends; the times are for people.
#[derive(Serialize)]
struct Value<'a> {
    token: &'a str,
    owner: &'a str,
    /// Time of the request, in seconds since 1970, with milliseconds.
    acquired_at: f64,
    /// End without renewal, in seconds since 1970.
    expires_at: i64,
    /// The TTL in seconds, rounded up.
    ttl: i64,
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn compose(token: &str, owner: &str, now: Now, ttl: Duration) -> String {
    let acquired_ms = now.wall_ns.div_euclid(1_000_000);
    let ttl = i64::try_from(ttl.as_millis().div_ceil(1_000)).unwrap_or(i64::MAX);
    let value = Value {
        token,
        owner,
        acquired_at: acquired_ms as f64 / 1_000.0,
        expires_at: acquired_ms.div_euclid(1_000).saturating_add(ttl),
        ttl,
    };
    // Strings and finite numbers always serialize; the token alone would be a valid lock too.
    serde_json::to_string(&value).unwrap_or_else(|_| token.to_owned())
}

pub(crate) fn holder(value: &str, left_ms: u64) -> LockHolder {
    #[derive(Deserialize)]
    struct Foreign {
        owner: String,
    }
    let owner = serde_json::from_str(value)
        .map(|f: Foreign| f.owner)
        .unwrap_or_else(|_| value.to_owned());
    LockHolder {
        owner: owner.chars().take(SHOWN_CHARS).collect(),
        // `u64::MAX`: a lock that another program set without a TTL.
        remaining: match left_ms {
            u64::MAX => Duration::MAX,
            ms => Duration::from_millis(ms),
        },
        is_this_process: false,
    }
}

/// The age of the lock according to its value, in the library's form or the domain's. `None` if the
/// value does not give the time, or gives one in the future. Exact to the millisecond if the
/// value is.
pub(crate) fn age(value: &str, wall_ns: i64) -> Option<Duration> {
    #[derive(Deserialize)]
    struct Foreign {
        /// Seconds since 1970; some programs write whole ones.
        acquired_at: f64,
    }
    let foreign: Foreign = serde_json::from_str(value).ok()?;
    let acquired = Duration::try_from_secs_f64(foreign.acquired_at).ok()?;
    // A float of this size is a part of a microsecond off.
    let acquired_ms = acquired
        .saturating_add(Duration::from_micros(500))
        .as_millis();
    let acquired = Duration::from_millis(u64::try_from(acquired_ms).ok()?);
    let now = Duration::from_nanos(u64::try_from(wall_ns).ok()?);
    now.checked_sub(acquired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_names_its_owner_and_a_foreign_one_is_shown_as_it_is() {
        let now = Now {
            wall_ns: 1_700_000_000_900_000_000,
            boot: Duration::ZERO,
        };
        let value = compose("ab", "host:7", now, Duration::from_millis(1_500));
        assert_eq!(
            value,
            r#"{"token":"ab","owner":"host:7","acquired_at":1700000000.9,"expires_at":1700000002,"ttl":2}"#
        );
        assert_eq!(holder(&value, 1_500).owner, "host:7");
        let later = |ms: i64| now.wall_ns + ms * 1_000_000;
        for ms in [0, 1, 99, 3_000] {
            assert_eq!(
                age(&value, later(ms)),
                u64::try_from(ms).ok().map(Duration::from_millis)
            );
        }
        assert_eq!(age(&value, later(-3_000)), None);
        // As this library wrote it before.
        let whole = value.replace(".9,", ",");
        assert_eq!(age(&whole, now.wall_ns), Some(Duration::from_millis(900)));
        let quoted = compose("ab", "a \"host\":7", now, Duration::ZERO);
        assert_eq!(holder(&quoted, 1).owner, "a \"host\":7");
        let foreign = r#"{"owner": "h:1", "acquired_at": 1700000000.5, "ttl": 21600}"#;
        assert_eq!(age(foreign, now.wall_ns), Some(Duration::from_millis(400)));
        for unknown in [
            "somebody else",
            "{}",
            r#"{"acquired_at": -1}"#,
            r#"{"acquired_at": 1e300}"#,
        ] {
            assert_eq!(age(unknown, now.wall_ns), None, "{unknown}");
        }
        assert_eq!(holder("somebody else", 5).owner, "somebody else");
        assert_eq!(
            holder(&"é".repeat(500), 5).owner.chars().count(),
            SHOWN_CHARS
        );
    }
}
