//! Events for observers.

mod event;
mod histogram;
mod latencies;
mod options;
mod reason;
mod report;

pub use event::{DocumentName, Event, LoadOutcome, LockOutcome, SaveKind};
pub use histogram::Histogram;
pub use latencies::Latencies;
pub(super) use latencies::Recorder;
pub use reason::Reason;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

/// Receives events of a cache and of the stores on it: see
/// [`CacheBuilder::observer`](crate::CacheBuilder::observer).
///
/// It is called right after each event, in the thread or task that caused it: the caller's, a
/// worker of its runtime, or one of the cache's own threads. It delays what follows there, so it
/// must not block. It must not call the cache or its stores: some calls would wait for themselves.
/// A panic is caught and logged, and changes nothing else; with `panic = "abort"` it ends the
/// process, like any other.
///
/// Every `Fn(&Event)` is an observer.
pub trait Observer: Send + Sync + 'static {
    /// Called after each event.
    fn observe(&self, event: &Event<'_>);
}

impl<F: Fn(&Event<'_>) + Send + Sync + 'static> Observer for F {
    fn observe(&self, event: &Event<'_>) {
        self(event);
    }
}

/// All observers of a cache. Without any, no clock is read and no event is made.
#[derive(Clone, Default)]
pub(crate) struct Observers(Arc<[Arc<dyn Observer>]>);

impl Observers {
    /// Marks the start of something that makes an event when it ends.
    pub(crate) fn begin(&self) -> Began {
        Began((!self.0.is_empty()).then(Instant::now))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn tell(&self, event: &Event<'_>) {
        for observer in &*self.0 {
            if catch_unwind(AssertUnwindSafe(|| observer.observe(event))).is_err() {
                log::error!("an observer panicked");
            }
        }
    }
}

impl Extend<Arc<dyn Observer>> for Observers {
    fn extend<I: IntoIterator<Item = Arc<dyn Observer>>>(&mut self, more: I) {
        self.0 = self.0.iter().cloned().chain(more).collect();
    }
}

impl fmt::Debug for Observers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} observers", self.0.len())
    }
}

/// When something began; `None` without observers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Began(Option<Instant>);

impl Began {
    /// How long it took; `None` without observers.
    pub(crate) fn took(self) -> Option<Duration> {
        self.0.map(|began| began.elapsed())
    }
}
