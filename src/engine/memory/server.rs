use super::{clock::Clock, keyspace::Keyspace};
use crate::engine::Bells;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

/// A server inside the process, for
/// [`CacheBuilder::memory_server`](crate::CacheBuilder::memory_server): caches that share one see
/// each other's entries and locks, like processes that share a Redis. Clones are the same server.
///
/// Entries and locks disappear when their time is over; a later write frees their memory.
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, NO_TASKS, Params, Rules, testing::MemoryServer};
/// use std::time::Duration;
///
/// let rules = Rules::from_path("rules/minimal.json")?;
/// let server = MemoryServer::with_manual_clock();
/// let cache = Cache::builder(rules).memory_server(&server).open()?;
/// server.stop();
/// let outcome = cache.invalidate(NO_TASKS, &Params::new())?;
/// assert!(!outcome.is_settled());
/// server.start();
/// server.advance(Duration::from_secs(3_600));
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryServer(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    keyspace: Mutex<Keyspace>,
    clock: Clock,
    stopped: AtomicBool,
    bells: Arc<Bells>,
}

impl MemoryServer {
    /// An empty server with a real clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Clock::Real(Instant::now()))
    }

    fn with(clock: Clock) -> Self {
        Self(Arc::new(Shared {
            keyspace: Mutex::default(),
            clock,
            stopped: AtomicBool::new(false),
            bells: Arc::new(Bells::always_live()),
        }))
    }

    pub(super) fn bells(&self) -> &Arc<Bells> {
        &self.0.bells
    }

    /// The keys as they are now; `None` while the server is stopped.
    pub(crate) fn keyspace(&self) -> Option<MutexGuard<'_, Keyspace>> {
        if self.0.stopped.load(Ordering::SeqCst) {
            return None;
        }
        let keyspace = self.0.keyspace.lock();
        // A panic cannot leave an operation half done: nothing in it fails once it has begun to
        // write.
        let mut keyspace = keyspace.unwrap_or_else(PoisonError::into_inner);
        keyspace.go_on_to(self.0.clock.now_ms());
        Some(keyspace)
    }
}

#[cfg(any(test, feature = "testing"))]
impl MemoryServer {
    /// An empty server whose clock moves only by [`advance`](Self::advance).
    #[must_use]
    pub fn with_manual_clock() -> Self {
        Self::with(Clock::Manual(0.into()))
    }

    /// Advances a manual clock. A real clock runs by itself, so this does nothing to it.
    pub fn advance(&self, time: std::time::Duration) {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.0.clock.advance(ms);
    }

    /// From now on every operation finds the server unavailable. It keeps its content.
    pub fn stop(&self) {
        self.0.stopped.store(true, Ordering::SeqCst);
    }

    /// Ends [`stop`](Self::stop).
    pub fn start(&self) {
        self.0.stopped.store(false, Ordering::SeqCst);
    }

    /// Whether `key` exists; `false` while the server is stopped.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.keyspace().is_some_and(|keys| keys.contains(key))
    }
}

#[cfg(all(test, feature = "testing"))]
impl MemoryServer {
    /// A server with the same content: a snapshot, for [`restart_from`](Self::restart_from).
    pub(crate) fn copy(&self) -> Self {
        let copy = Self::with(Clock::Manual(self.0.clock.now_ms().into()));
        copy.restart_from(self);
        copy
    }

    /// Replaces the content by a snapshot's, as a restart does. Time has passed meanwhile.
    pub(crate) fn restart_from(&self, snapshot: &Self) {
        let kept = snapshot.keyspace().map(|keys| keys.clone());
        if let (Some(mut keys), Some(kept)) = (self.keyspace(), kept) {
            let now_ms = keys.now_ms();
            *keys = kept;
            keys.go_on_to(now_ms);
        }
    }
}

impl Default for MemoryServer {
    fn default() -> Self {
        Self::new()
    }
}
