//! What tasks leave to a cache when their futures and guards are dropped. `aio::Cache::close` waits
//! for it.

use super::Cache;
use crate::{
    engine::Net,
    model::{Result, limits},
};
use std::sync::Arc;
use tokio::{
    sync::{Semaphore, watch},
    time::timeout,
};

pub(super) struct Tasks {
    /// How many calls are under way, and how many guards are given back.
    under_way: watch::Sender<usize>,
    /// Bounds the blocking calls.
    room: Arc<Semaphore>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            under_way: watch::Sender::new(0),
            room: Arc::new(Semaphore::new(limits::ASIDE)),
        }
    }
}

/// One piece of work; it ends when this is dropped.
pub(super) struct Ongoing(watch::Sender<usize>);

impl Tasks {
    fn begin(&self) -> Ongoing {
        self.under_way.send_modify(|count| *count += 1);
        Ongoing(self.under_way.clone())
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Cache {
    /// Gives something back in a thread of the cache.
    pub(crate) fn later(&self, job: impl FnOnce() + Send + 'static) {
        let ongoing = self.0.tasks.begin();
        self.timer().once(move || {
            job();
            drop(ongoing);
        });
    }

    /// Waits until no call of a task is under way and every dropped guard is given back.
    pub(crate) async fn settled(&self) {
        let mut under_way = self.0.tasks.under_way.subscribe();
        let none = under_way.wait_for(|count| *count == 0);
        if timeout(limits::CLOSE_WAIT, none).await.is_err() {
            log::warn!(
                "closing: calls of tasks are still under way after {:?}",
                limits::CLOSE_WAIT
            );
        }
    }

    /// Runs a blocking job in a thread of the runtime, to completion. A bounded number run at a
    /// time, since saves need such threads too. A task of its own waits for its turn: a future that
    /// is not polled any more keeps nobody's.
    pub(crate) async fn aside<R: Send + 'static>(
        &self,
        job: impl FnOnce() -> Result<R> + Send + 'static,
    ) -> Result<R> {
        let room = Arc::clone(&self.0.tasks.room);
        let done = Net::Tasks.to_its_end(async move {
            let room = room.acquire_owned().await;
            let job = move || {
                let _room = room;
                job()
            };
            Net::Tasks.aside(job).await
        });
        done.await
    }

    /// Counts a call until the result is dropped.
    pub(super) fn ongoing(&self, net: Net) -> Option<Ongoing> {
        (net == Net::Tasks).then(|| self.0.tasks.begin())
    }
}
