//! The blocking driver: performs the action, resumes with the answer.

use super::{Store, Trace};
use crate::{
    Result,
    cache::{Look, now},
    disk::Session,
    protocol::{Action, Answer, Run, Step, recover},
};
use std::{sync::Arc, thread};

impl Store {
    /// Finishes transactions of processes that died: now, and from now on in the background.
    pub(super) fn finish_what_died(&self) {
        fn finish(store: &Store, trace: Option<&Trace>) {
            if let Err(e) = store.run(recover::all(), trace) {
                log::warn!("cannot look for transactions that died: {e}");
            }
        }
        finish(self, self.0.trace.as_ref());
        // Not kept alive by that. Nor traced: what a trace counts is what callers do.
        let store = Arc::downgrade(&self.0);
        self.cache().look_too(move || match store.upgrade() {
            Some(store) => {
                finish(&Store(store), None);
                Look::Again
            }
            None => Look::Over,
        });
    }

    pub(super) fn drive<D>(&self, run: Run<D>) -> Result<D> {
        self.run(run, self.0.trace.as_ref())
    }

    fn run<D>(&self, mut run: Run<D>, trace: Option<&Trace>) -> Result<D> {
        let mut files = Session::new(self.0.root.clone());
        let mut answer = None;
        loop {
            let action = match run.resume(answer.take(), now()) {
                Step::Done(done) => return done,
                Step::Do(action) => action,
            };
            if let Some(trace) = trace {
                trace(&action.name());
            }
            answer = Some(match action {
                Action::Server(op) => Answer::Server(self.cache().perform(op)),
                Action::Disk(place, action) => Answer::Disk(files.perform(&place, &action)),
                Action::Outbox(action) => Answer::Outbox(self.cache().keep(&action)),
                Action::Sleep(pause) => {
                    thread::sleep(pause);
                    Answer::Slept
                }
            });
        }
    }
}
