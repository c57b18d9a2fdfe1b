//! Threads that want to know the same thing of servers.

use crate::Result;
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::SeqCst},
};

/// One thread asks; those that come meanwhile wait, and take what came of it, also where it is nothing: were each to ask
/// in its turn, the last one would wait for as many time-outs as there are threads.
#[derive(Debug)]
pub(super) struct Turns {
    /// What came of the last one.
    last: Mutex<Result<()>>,
    /// How many are over.
    over: AtomicU64,
}

impl Turns {
    pub(super) fn new() -> Self {
        Self {
            last: Mutex::new(Ok(())),
            over: AtomicU64::new(0),
        }
    }

    pub(super) fn take(&self, ask: impl FnOnce() -> Result<()>) -> Result<()> {
        let over = self.over.load(SeqCst);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if self.over.load(SeqCst) == over {
            *last = ask();
            self.over.fetch_add(1, SeqCst);
        }
        last.clone()
    }
}
