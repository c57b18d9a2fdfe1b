//! Leases that readers of this process hold.

use super::{Cache, Task};
use crate::{
    engine::Net,
    model::{Bytes, Entry, Result},
    protocol::load,
};
use std::{sync::Arc, time::Duration};

/// A lease that this reader holds. Dropping it without a fill (the loader failed or panicked) gives
/// the lease back.
pub(super) struct Held {
    cache: Cache,
    net: Net,
    entry: Entry,
    token: String,
    renewal: Task,
    filled: bool,
}

impl Held {
    /// Renews the lease three times in its life, until it turns out to be lost.
    pub(super) fn new(cache: Cache, net: Net, entry: Entry, token: String) -> Self {
        let ttl = cache.0.lease_ttl;
        let extended = (entry.clone(), token.clone());
        // Weak, so that a waiting job keeps nothing alive.
        let inner = Arc::downgrade(&cache.0);
        let renewal = cache.timer().start(ttl / 3, move |_| {
            let cache = Cache(inner.upgrade()?);
            let (entry, token) = extended.clone();
            let still_held = cache.drive(load::extend(entry, token, ttl)).ok()?;
            still_held.then_some(ttl / 3)
        });
        Self {
            cache,
            net,
            entry,
            token,
            renewal,
            filled: false,
        }
    }

    /// Sets the entry and gives the lease back.
    pub(super) async fn fill(self, value: &Bytes, ttl: Duration) -> Result<load::Filled> {
        let (cache, net, value) = (self.cache.clone(), self.net, value.clone());
        cache.to_its_end(net, self.fill_now(value, ttl)).await
    }

    async fn fill_now(mut self, value: Bytes, ttl: Duration) -> Result<load::Filled> {
        self.renewal.cancel();
        self.filled = true;
        let (entry, token) = (self.entry.clone(), self.token.clone());
        let filled = load::finish(entry, token, value, ttl);
        let filled = self.cache.drive_by(self.net, filled).await?;
        let counters = self.cache.counters();
        match filled {
            load::Filled::Set => counters.fills.add(),
            load::Filled::Refused => counters.fills_refused.add(),
            load::Filled::Unknown => {}
        }
        Ok(filled)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.renewal.cancel();
        if !self.filled {
            let (entry, token) = (self.entry.clone(), self.token.clone());
            let give_back = load::give_back(entry, token);
            // The run itself logs errors.
            match self.net {
                Net::Threads => drop(self.cache.drive(give_back)),
                #[cfg(feature = "tokio")]
                Net::Tasks => {
                    let cache = self.cache.clone();
                    self.cache.later(move || drop(cache.drive(give_back)));
                }
            }
        }
    }
}
