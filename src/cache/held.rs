//! Leases that readers of this process have.

use super::Cache;
use crate::{
    Result,
    op::{Bytes, Entry},
    protocol::load,
};
use scheduled_thread_pool::{JobHandle, ScheduledThreadPool};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// A lease that this reader has. It goes back when this is dropped without a fill: the loader failed or panicked.
pub(super) struct Held<'a> {
    cache: &'a Cache,
    entry: Entry,
    token: String,
    renewal: JobHandle,
    filled: bool,
}

impl<'a> Held<'a> {
    /// Renews the lease from now on, three times in its life, until it turns out to be lost.
    pub(super) fn new(cache: &'a Cache, entry: Entry, token: String) -> Self {
        let ttl = cache.0.lease_ttl;
        let extended = (entry.clone(), token.clone());
        // Weak, so that a job that waits keeps nothing alive.
        let inner = Arc::downgrade(&cache.0);
        let renewal = cache
            .0
            .renewals
            .get()
            .execute_with_dynamic_delay(ttl / 3, move || {
                let cache = Cache(inner.upgrade()?);
                let (entry, token) = extended.clone();
                let still_held = cache.drive(load::extend(entry, token, ttl)).ok()?;
                still_held.then_some(ttl / 3)
            });
        Self {
            cache,
            entry,
            token,
            renewal,
            filled: false,
        }
    }

    pub(super) fn fill(mut self, value: &Bytes, ttl: Duration) -> Result<load::Filled> {
        self.renewal.cancel();
        self.filled = true;
        let (entry, token) = (self.entry.clone(), self.token.clone());
        let filled = load::finish(entry, token, value.clone(), ttl);
        let filled = self.cache.drive(filled)?;
        let counters = self.cache.counters();
        match filled {
            load::Filled::Set => counters.fills.add(),
            load::Filled::Refused => counters.fills_refused.add(),
            load::Filled::Unknown => {}
        }
        Ok(filled)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.renewal.cancel();
        if !self.filled {
            let (entry, token) = (self.entry.clone(), self.token.clone());
            // It says itself what went wrong.
            let _ = self.cache.drive(load::give_back(entry, token));
        }
    }
}

/// The one thread that renews leases and marks, started with the first of them.
#[derive(Default)]
pub(super) struct Renewals(OnceLock<ScheduledThreadPool>);

impl Renewals {
    pub(super) fn get(&self) -> &ScheduledThreadPool {
        self.0.get_or_init(|| {
            ScheduledThreadPool::builder()
                .num_threads(1)
                .thread_name_pattern("cachetx-leases-{}")
                .build()
        })
    }
}
