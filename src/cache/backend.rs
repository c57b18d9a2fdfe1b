//! How a cache runs protocols: they touch no file and wait for no lock.

use super::Cache;
use crate::{
    disk::{OutboxAction, OutboxGot},
    drive::{self, Backend, Local},
    engine::Net,
    model::Result,
    op::{Ask, Fault, Op, Reply},
    protocol::{Run, mismatch},
};
#[cfg(feature = "tokio")]
use std::time::Duration;

impl Cache {
    pub(crate) fn drive<D>(&self, run: Run<D>) -> Result<D> {
        drive::drive(run, self)
    }

    /// Like `drive`, for a thread or a task.
    pub(super) async fn drive_by<D: Send + 'static>(&self, net: Net, run: Run<D>) -> Result<D> {
        match net {
            Net::Threads => self.drive(run),
            #[cfg(feature = "tokio")]
            Net::Tasks => {
                drive::drive_in_task(run, TaskOutbox(self.clone()), TaskServer(self))
                    .await
                    .1
            }
        }
    }

    /// Runs one operation outside a protocol.
    pub(crate) async fn ask_by<A: Ask>(&self, net: Net, op: A) -> Result<A::Reply, Fault> {
        let reply = match net {
            Net::Threads => self.perform(op.into_op())?,
            #[cfg(feature = "tokio")]
            Net::Tasks => self.perform_in_task(op.into_op()).await?,
        };
        A::reply(reply).ok_or_else(|| Fault::Unknown(mismatch("an engine")))
    }

    /// As [`Net::to_its_end`]. Closing a cache of tasks waits for it.
    pub(crate) async fn to_its_end<R: Send + 'static>(
        &self,
        net: Net,
        run: impl Future<Output = Result<R>> + Send + 'static,
    ) -> Result<R> {
        let ongoing = self.ongoing(net);
        let done = net.to_its_end(async move { Ok((run.await?, ongoing)) });
        // A result that nobody wants is dropped before the call counts as ended.
        done.await.map(|(done, _)| done)
    }

    /// The same, as [`Net::while_wanted`].
    pub(crate) async fn while_wanted<R: Send + 'static>(
        &self,
        net: Net,
        run: impl Future<Output = Result<R>> + Send + 'static,
    ) -> Result<R> {
        let ongoing = self.ongoing(net);
        let done = net.while_wanted(async move { Ok((run.await?, ongoing)) });
        done.await.map(|(done, _)| done)
    }

    /// Only calls of tasks are counted.
    #[cfg(not(feature = "tokio"))]
    fn ongoing(&self, _: Net) -> Option<()> {
        None
    }

    /// Writes to the outbox.
    pub(super) async fn keep_by(&self, net: Net, action: OutboxAction) -> Result<OutboxGot> {
        let cache = self.clone();
        net.aside(move || cache.keep(&action)).await
    }
}

/// Performs the outbox actions of a run that a task drives, in threads that may block.
#[cfg(feature = "tokio")]
struct TaskOutbox(Cache);

#[cfg(feature = "tokio")]
impl Local for TaskOutbox {
    fn outbox(&mut self, action: &OutboxAction) -> Result<OutboxGot> {
        self.0.keep(action)
    }
}

/// Performs the server operations of a run that a task drives.
#[cfg(feature = "tokio")]
struct TaskServer<'a>(&'a Cache);

#[cfg(feature = "tokio")]
impl drive::Remote for TaskServer<'_> {
    async fn server(&mut self, op: Op) -> Result<Reply, Fault> {
        self.0.perform_in_task(op).await
    }

    /// No run of a cache waits for a lock.
    async fn listen(&mut self, _: String, _: Duration) -> bool {
        false
    }
}

impl Local for &Cache {
    fn outbox(&mut self, action: &OutboxAction) -> Result<OutboxGot> {
        self.keep(action)
    }
}

impl Backend for &Cache {
    fn server(&mut self, op: Op) -> Result<Reply, Fault> {
        self.perform(op)
    }
}
