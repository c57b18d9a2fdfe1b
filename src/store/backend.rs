//! Runs of a store: on its cache's server and outbox, and on its files.

use super::{Store, Trace};
#[cfg(feature = "tokio")]
use crate::disk::Ticket;
use crate::{
    disk::{FileAction, Got, OutboxAction, OutboxGot, Session},
    drive::{self, Backend, Local},
    engine::{Ear, Net},
    model::{Place, Result},
    op::{Fault, Op, Reply},
    protocol::{Action, Run},
};
use std::time::Duration;

/// What one run acts on.
struct StoreBackend<'a> {
    store: &'a Store,
    files: &'a mut Session,
    /// Where the run waits in a channel's queue: it stays there until it ends.
    ear: Option<Ear>,
    trace: Option<&'a Trace>,
}

impl Store {
    pub(super) fn files(&self) -> Session {
        Session::new(self.0.root.clone())
    }

    pub(super) fn drive<D>(&self, run: Run<D>) -> Result<D> {
        self.drive_traced(&mut self.files(), run, self.0.trace.as_ref())
    }

    /// Lets a lock go in a thread of the cache's.
    #[cfg(feature = "tokio")]
    pub(super) fn release_later(&self, release: Run<()>) {
        let store = self.clone();
        // The protocol logs a failure and leaves the lock to its TTL.
        let job = move || drop(store.drive(release));
        self.cache().timer().once(job);
    }

    /// Drives a run by whoever waits, with files that outlive it.
    pub(super) async fn drive_by<D: Send + 'static>(
        &self,
        net: Net,
        files: &mut Session,
        run: Run<D>,
    ) -> Result<D> {
        match net {
            #[cfg(cachetx_by_tasks)]
            Net::Threads => crate::engine::by_tasks(self.drive_in_task(files, run)),
            #[cfg(not(cachetx_by_tasks))]
            Net::Threads => self.drive_traced(files, run, self.0.trace.as_ref()),
            #[cfg(feature = "tokio")]
            Net::Tasks => self.drive_in_task(files, run).await,
        }
    }

    #[cfg(feature = "tokio")]
    async fn drive_in_task<D: Send + 'static>(
        &self,
        files: &mut Session,
        run: Run<D>,
    ) -> Result<D> {
        files.begin_run();
        let local = TaskFiles {
            store: self.clone(),
            files: std::mem::replace(files, self.files()),
            intended: Vec::new(),
        };
        let remote = TaskServer {
            store: self,
            ear: None,
        };
        let (local, done) = drive::drive_in_task(run, local, remote).await;
        if let Some(mut local) = local {
            std::mem::swap(files, &mut local.files);
        }
        done
    }

    pub(super) fn drive_traced<D>(
        &self,
        files: &mut Session,
        run: Run<D>,
        trace: Option<&Trace>,
    ) -> Result<D> {
        files.begin_run();
        let backend = StoreBackend {
            store: self,
            files,
            ear: None,
            trace,
        };
        drive::drive(run, backend)
    }
}

impl Local for StoreBackend<'_> {
    fn begin(&self, action: &Action) {
        if let Some(trace) = self.trace {
            trace(&action.name());
        }
    }

    fn outbox(&mut self, action: &OutboxAction) -> Result<OutboxGot> {
        self.store.cache().keep(action)
    }

    fn disk(&mut self, place: &Place, action: &FileAction) -> Result<Got> {
        self.files.perform(place, action)
    }
}

impl Backend for StoreBackend<'_> {
    fn server(&mut self, op: Op) -> Result<Reply, Fault> {
        self.store.cache().perform(op)
    }

    fn listen(&mut self, channel: String, pause: Duration) -> Result<bool> {
        let same = self.ear.take().filter(|ear| ear.channel() == channel);
        let listening = same.unwrap_or_else(|| self.store.cache().listen(&channel));
        let messages_come = listening.wait(pause);
        self.ear = Some(listening);
        Ok(messages_come)
    }
}

/// The files of a run that a task drives, for the threads that may block.
#[cfg(feature = "tokio")]
struct TaskFiles {
    store: Store,
    files: Session,
    /// Records that the run has made and not ended.
    intended: Vec<Ticket>,
}

#[cfg(feature = "tokio")]
impl Local for TaskFiles {
    fn begin(&self, action: &Action) {
        if let Some(trace) = &self.store.0.trace {
            trace(&action.name());
        }
    }

    fn outbox(&mut self, action: &OutboxAction) -> Result<OutboxGot> {
        let got = self.store.cache().keep(action);
        match (action, &got) {
            (OutboxAction::Intend(_), Ok(OutboxGot::Kept(ticket))) => self.intended.push(*ticket),
            (OutboxAction::Ripen(ended) | OutboxAction::Retire(ended), _) => {
                self.intended.retain(|ticket| ticket != ended);
            }
            _ => {}
        }
        got
    }

    fn disk(&mut self, place: &Place, action: &FileAction) -> Result<Got> {
        self.files.perform(place, action)
    }
}

/// Where the runtime shuts down in the middle, what the run has recorded is replayed.
#[cfg(feature = "tokio")]
impl Drop for TaskFiles {
    fn drop(&mut self) {
        for ticket in std::mem::take(&mut self.intended) {
            log::warn!("a save was cut short by its runtime's end: its record is replayed");
            if let Err(e) = self.store.cache().keep(&OutboxAction::Ripen(ticket)) {
                log::error!("it is replayed when this process ends: {e}");
            }
        }
    }
}

/// What such a run waits for beside files.
#[cfg(feature = "tokio")]
struct TaskServer<'a> {
    store: &'a Store,
    /// As a thread's.
    ear: Option<Ear>,
}

#[cfg(feature = "tokio")]
impl drive::Remote for TaskServer<'_> {
    async fn server(&mut self, op: Op) -> Result<Reply, Fault> {
        self.store.cache().perform_in_task(op).await
    }

    async fn listen(&mut self, channel: String, pause: Duration) -> bool {
        let same = self.ear.take().filter(|ear| ear.channel() == channel);
        let listening = same.unwrap_or_else(|| self.store.cache().listen(&channel));
        let messages_come = listening.wait_in_task(pause).await;
        self.ear = Some(listening);
        messages_come
    }
}
