//! How long entries live, and how long before they expire they are loaded early.

use crate::model::{Error, Result, error::Kind, limits, token};
use std::time::Duration;

/// How a cache's options change the TTLs of the rules.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lives {
    /// The largest part of a life that may be cut; zero cuts nothing.
    pub(super) jitter: f64,
    /// Zero loads nothing early.
    pub(super) early: Duration,
}

impl Lives {
    pub(super) fn check(self) -> Result<()> {
        let most = limits::MAX_TTL_JITTER;
        // NaN is in no range.
        if (0.0..=most).contains(&self.jitter) {
            return Ok(());
        }
        Err(Error::new(Kind::Config(format!(
            "a jitter of {} is not between 0 and {most} (CacheBuilder::ttl_jitter)",
            self.jitter
        ))))
    }

    /// The life of an entry that is set now.
    pub(super) fn entry(self, ttl: Duration) -> Duration {
        if self.jitter == 0.0 {
            return ttl;
        }
        self.shortened(ttl, token::seed())
    }

    /// `ttl`, shortened by up to `jitter`. `drawn` is a uniform random number.
    fn shortened(self, ttl: Duration, drawn: u64) -> Duration {
        // One of 2^53 steps: as many as an `f64` tells apart.
        let part = (drawn >> 11) as f64 / (1_u64 << 53) as f64;
        ttl.mul_f64(1.0 - self.jitter * part)
    }

    /// How long before it expires an entry is loaded early: never in the first half of even the
    /// shortest life.
    pub(super) fn early(self, ttl: Duration) -> Duration {
        self.early.min(self.shortened(ttl, u64::MAX) / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(1_000);

    #[test]
    fn a_life_is_shortened_by_no_more_than_the_jitter_and_never_lengthened() {
        let lives = Lives {
            jitter: 0.25,
            early: Duration::ZERO,
        };
        assert_eq!(lives.shortened(TTL, 0), TTL);
        assert_eq!(lives.shortened(TTL, 1 << 63), TTL * 7 / 8);
        let shortest = lives.shortened(TTL, u64::MAX);
        assert!(shortest >= TTL * 3 / 4 && shortest < TTL * 3 / 4 + Duration::from_millis(1));
        assert_eq!(Lives::default().entry(TTL), TTL);
    }

    #[test]
    fn nothing_is_loaded_early_in_the_first_half_of_the_shortest_life() {
        let lives = |jitter, seconds| Lives {
            jitter,
            early: Duration::from_secs(seconds),
        };
        assert_eq!(lives(0.0, 0).early(TTL), Duration::ZERO);
        assert_eq!(lives(0.5, 30).early(TTL), Duration::from_secs(30));
        assert_eq!(lives(0.0, u64::MAX).early(TTL), TTL / 2);
        let shortest = lives(0.5, u64::MAX).shortened(TTL, u64::MAX);
        assert_eq!(lives(0.5, u64::MAX).early(TTL), shortest / 2);
    }

    #[test]
    fn a_jitter_is_a_part_of_at_most_a_half() {
        let with = |jitter| Lives {
            jitter,
            early: Duration::ZERO,
        };
        assert!(with(0.0).check().is_ok() && with(0.5).check().is_ok());
        for bad in [-0.1, 0.51, f64::NAN, f64::INFINITY] {
            assert!(with(bad).check().is_err_and(|e| e.is_config()), "{bad}");
        }
    }
}
