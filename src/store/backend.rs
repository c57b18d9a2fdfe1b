//! How a store runs protocols: on its cache's server and outbox, and on its files.

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

/// Local state that runs act on. Files that one run holds are available to the next.
pub(super) struct Workspace {
    files: Session,
    /// Operations sent to the server.
    pub(super) round_trips: u32,
}

impl Workspace {
    fn begin(&mut self, action: &Action, trace: Option<&Trace>) {
        if let Action::Server(_) = action {
            self.round_trips += 1;
        }
        if let Some(trace) = trace {
            trace(&action.name());
        }
    }
}

/// What one run acts on.
struct StoreBackend<'a> {
    store: &'a Store,
    work: &'a mut Workspace,
    /// The run's place in a channel's queue, kept until the run ends.
    ear: Option<Ear>,
    trace: Option<&'a Trace>,
}

impl Store {
    pub(super) fn workspace(&self) -> Workspace {
        Workspace {
            files: Session::new(self.0.root.clone()),
            round_trips: 0,
        }
    }

    pub(super) fn drive<D>(&self, run: Run<D>) -> Result<D> {
        self.drive_traced(&mut self.workspace(), run, self.0.trace.as_ref())
    }

    /// Releases a lock in a thread of the cache.
    #[cfg(feature = "tokio")]
    pub(super) fn release_later(&self, release: Run<()>) {
        let store = self.clone();
        // The protocol logs a failure and leaves the lock to its TTL.
        let job = move || drop(store.drive(release));
        self.cache().later(job);
    }

    /// Drives a run in a thread or a task, with a workspace that outlives it.
    pub(super) async fn drive_by<D: Send + 'static>(
        &self,
        net: Net,
        work: &mut Workspace,
        run: Run<D>,
    ) -> Result<D> {
        match net {
            #[cfg(cachetx_by_tasks)]
            Net::Threads => crate::engine::by_tasks(self.drive_in_task(work, run)),
            #[cfg(not(cachetx_by_tasks))]
            Net::Threads => self.drive_traced(work, run, self.0.trace.as_ref()),
            #[cfg(feature = "tokio")]
            Net::Tasks => self.drive_in_task(work, run).await,
        }
    }

    #[cfg(feature = "tokio")]
    async fn drive_in_task<D: Send + 'static>(
        &self,
        work: &mut Workspace,
        run: Run<D>,
    ) -> Result<D> {
        work.files.begin_run();
        let local = TaskFiles {
            store: self.clone(),
            work: std::mem::replace(work, self.workspace()),
            intended: Vec::new(),
        };
        let remote = TaskServer {
            store: self,
            ear: None,
        };
        let (local, done) = drive::drive_in_task(run, local, remote).await;
        if let Some(mut local) = local {
            std::mem::swap(work, &mut local.work);
        }
        done
    }

    pub(super) fn drive_traced<D>(
        &self,
        work: &mut Workspace,
        run: Run<D>,
        trace: Option<&Trace>,
    ) -> Result<D> {
        work.files.begin_run();
        let backend = StoreBackend {
            store: self,
            work,
            ear: None,
            trace,
        };
        drive::drive(run, backend)
    }
}

impl Local for StoreBackend<'_> {
    fn begin(&mut self, action: &Action) {
        self.work.begin(action, self.trace);
    }

    fn outbox(&mut self, action: &OutboxAction) -> Result<OutboxGot> {
        self.store.cache().keep(action)
    }

    fn disk(&mut self, place: &Place, action: &FileAction) -> Result<Got> {
        self.work.files.perform(place, action)
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

/// Performs the local actions of a run that a task drives, in threads that may block.
#[cfg(feature = "tokio")]
struct TaskFiles {
    store: Store,
    work: Workspace,
    /// Outbox records that the run has made and not ended.
    intended: Vec<Ticket>,
}

#[cfg(feature = "tokio")]
impl Local for TaskFiles {
    fn begin(&mut self, action: &Action) {
        self.work.begin(action, self.store.0.trace.as_ref());
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
        self.work.files.perform(place, action)
    }
}

/// If the runtime shuts down midway, what the run has recorded is replayed.
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

/// What such a run waits for, other than files.
#[cfg(feature = "tokio")]
struct TaskServer<'a> {
    store: &'a Store,
    /// As in `StoreBackend`.
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
