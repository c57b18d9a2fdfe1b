//! Runs of a store: on its cache's server and outbox, and on its files.

use super::{Store, Trace};
use crate::{
    disk::{FileAction, Got, OutboxAction, OutboxGot, Session},
    drive::{self, Backend, Local},
    engine::Ear,
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
        self.drive_with(&mut self.files(), run)
    }

    /// With files that outlive the run.
    pub(super) fn drive_with<D>(&self, files: &mut Session, run: Run<D>) -> Result<D> {
        self.drive_traced(files, run, self.0.trace.as_ref())
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
