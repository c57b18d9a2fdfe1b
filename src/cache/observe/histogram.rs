//! Histograms of durations.

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper bounds of the buckets, in us. One more bucket counts longer durations.
const BOUNDS_US: [u64; 20] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000, 20_000_000,
];

/// Counts of durations in 21 buckets: up to 10, 20, 50, 100 us, … 20 s, and longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; BOUNDS_US.len() + 1],
    sum_us: u64,
}

impl Histogram {
    /// How many durations were recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all durations, each rounded down to a us.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// Each bucket's upper bound and its count. A duration counts only in the smallest bucket that
    /// fits it. The last bucket has no bound.
    pub fn buckets(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        let bounds = BOUNDS_US.into_iter().map(Duration::from_micros).map(Some);
        bounds.chain([None]).zip(self.counts)
    }

    /// The upper bound of the bucket that contains this quantile (0.99, say): at most 2.5 times the
    /// exact value. `None` without any duration, and if the quantile is over 20 s.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::{Cache, Params, Rules};
    /// use std::time::Duration;
    ///
    /// let rules = Rules::from_path("rules/nodb.json")?;
    /// let cache = Cache::builder(rules).in_memory().measure_latencies().open()?;
    /// let params = Params::new().with("run_id", "copacetic-sled");
    /// cache.get_or_load("wepp", &params, || Ok("computed".as_bytes()))?;
    /// let loads = cache.stats().latencies.expect("they are measured").loads;
    /// assert_eq!(loads.count(), 1);
    /// assert!(loads.quantile(0.99) >= Some(Duration::from_micros(10)));
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * quantile.clamp(0.0, 1.0))
            .ceil()
            .max(1.0);
        let mut seen = 0;
        let mut buckets = self.buckets();
        let at_rank = buckets.find(|(_, count)| {
            seen += count;
            seen as f64 >= rank
        });
        at_rank?.0
    }
}

/// `count`, `sum_us`, `p50_us` and `p99_us` (`null` if there is none), and `buckets`: pairs of a
/// bound in us and a count, the last bound `null`.
impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let us = |bound: Option<Duration>| bound.map(|bound| bound.as_micros() as u64);
        let buckets: Vec<_> = self.buckets().map(|(le, count)| (us(le), count)).collect();
        let mut shown = serializer.serialize_struct("Histogram", 5)?;
        shown.serialize_field("count", &self.count())?;
        shown.serialize_field("sum_us", &self.sum_us)?;
        shown.serialize_field("p50_us", &us(self.quantile(0.5)))?;
        shown.serialize_field("p99_us", &us(self.quantile(0.99)))?;
        shown.serialize_field("buckets", &buckets)?;
        shown.end()
    }
}

/// A histogram that threads share.
#[derive(Debug, Default)]
pub(super) struct SharedHistogram {
    counts: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl SharedHistogram {
    pub(super) fn record(&self, duration: Duration) {
        let exceeds = |bound: &u64| duration > Duration::from_micros(*bound);
        self.counts[BOUNDS_US.partition_point(exceeds)].fetch_add(1, Relaxed);
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.sum_us.fetch_add(us, Relaxed);
    }

    pub(super) fn read(&self) -> Histogram {
        Histogram {
            counts: std::array::from_fn(|n| self.counts[n].load(Relaxed)),
            sum_us: self.sum_us.load(Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_the_smallest_bucket_that_has_them() {
        let shared = SharedHistogram::default();
        assert_eq!(shared.read().quantile(0.5), None);
        let us = Duration::from_micros;
        for duration in [
            us(0),
            us(10),
            us(11),
            Duration::from_nanos(20_001),
            us(20_000_001),
        ] {
            shared.record(duration);
        }
        let read = shared.read();
        let filled: Vec<_> = read.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            filled,
            [
                (Some(us(10)), 2),
                (Some(us(20)), 1),
                (Some(us(50)), 1),
                (None, 1)
            ]
        );
        assert_eq!((read.count(), read.sum()), (5, us(20_000_042)));
        assert_eq!(read.quantile(0.0), Some(us(10)));
        assert_eq!(read.quantile(0.5), Some(us(20)));
        assert_eq!(read.quantile(0.8), Some(us(50)));
        assert_eq!(read.quantile(1.0), None);
    }
}
