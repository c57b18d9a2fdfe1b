//! Options of a cache for observers.

use super::Observer;
use crate::cache::CacheBuilder;
use std::sync::Arc;

impl CacheBuilder {
    /// Adds an observer of locks, saves, invalidations, loads, replays, lost locks, and changes of
    /// the breaker and the rules: see [`Event`](crate::observe::Event). Each call adds another one.
    /// None by default; then no clock is read and nothing is allocated for events.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::{Cache, Params, Rules, observe::Event};
    /// use std::sync::mpsc;
    ///
    /// let (say, said) = mpsc::channel();
    /// let cache = Cache::builder(Rules::from_path("rules/nodb.json")?)
    ///     .in_memory()
    ///     .observer(move |event: &Event<'_>| {
    ///         if let Event::Load { controller, outcome, .. } = event {
    ///             let _ = say.send(format!("{controller}: {}", outcome.as_str()));
    ///         }
    ///     })
    ///     .open()?;
    /// let params = Params::new().with("run_id", "copacetic-sled");
    /// cache.get_or_load("wepp", &params, || Ok("computed".as_bytes()))?;
    /// cache.get_or_load("wepp", &params, || Ok("not called".as_bytes()))?;
    /// assert_eq!(said.try_iter().collect::<Vec<_>>(), ["wepp: filled", "wepp: hit"]);
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn observer(mut self, observer: impl Observer) -> Self {
        let observer: Arc<dyn Observer> = Arc::new(observer);
        self.observers.extend([observer]);
        self
    }

    /// Measures how long saves, lock waits and loads take, in
    /// [`Stats::latencies`](crate::Stats::latencies). Off by default. It costs two readings of the
    /// clock for each of them. For figures by controller, add an [`observer`](Self::observer), such
    /// as that of the feature `metrics`.
    pub fn measure_latencies(mut self) -> Self {
        self.measures = true;
        self
    }
}
