//! The blocking driver: performs the action, resumes with the answer.

use super::{Store, Trace};
use crate::{
    cache::{Look, now},
    disk::{JournalId, Session},
    engine::Ear,
    model::{Result, limits},
    protocol::{Action, Answer, Run, Step, recover},
};
use std::{collections::HashSet, sync::Arc, thread, time::Duration};

/// What could not be done, and was complained of: it is tried again twice a second.
#[derive(Default)]
struct Left {
    /// The journals could not be listed.
    unseen: bool,
    journals: HashSet<JournalId>,
}

impl Store {
    /// Finishes transactions of processes that died: now, and from now on in the background.
    pub(super) fn finish_what_died(&self) {
        let mut left = Left::default();
        self.finish_all(limits::SIDECAR_WAIT, self.0.trace.as_ref(), &mut left);
        // Not kept alive by that. Nor traced: what a trace counts is what callers do.
        let store = Arc::downgrade(&self.0);
        self.cache().look_too(move || match store.upgrade() {
            Some(store) => {
                Store(store).finish_all(limits::FINISH_WAIT, None, &mut left);
                Look::Again
            }
            None => Look::Over,
        });
    }

    /// Finishes what can be finished now, and waits so long in all for documents that somebody is at work on.
    fn finish_all(&self, wait: Duration, trace: Option<&Trace>, left: &mut Left) {
        let before = std::mem::take(left);
        let journals = match self.run(&mut self.files(), recover::list(), trace) {
            Ok(journals) => journals,
            Err(e) => {
                if !before.unseen {
                    log::warn!("cannot look for transactions that died: {e}");
                }
                left.unseen = true;
                return;
            }
        };
        let until = now().boot.saturating_add(wait);
        for id in journals {
            // With files of its own: there may be many.
            let run = recover::finish_if_dead(id, until.saturating_sub(now().boot));
            match self.run(&mut self.files(), run, trace) {
                Ok(()) => {}
                Err(e) if e.is_busy() => log::debug!("a transaction's journal {id}: {e}"),
                Err(e) => {
                    if !before.journals.contains(&id) {
                        log::warn!("a transaction's journal {id} is left to who comes next: {e}");
                    }
                    left.journals.insert(id);
                }
            }
        }
    }

    fn files(&self) -> Session {
        Session::new(self.0.root.clone())
    }

    pub(super) fn drive<D>(&self, run: Run<D>) -> Result<D> {
        self.drive_with(&mut self.files(), run)
    }

    /// With files that outlive the run.
    pub(super) fn drive_with<D>(&self, files: &mut Session, run: Run<D>) -> Result<D> {
        self.run(files, run, self.0.trace.as_ref())
    }

    fn run<D>(&self, files: &mut Session, mut run: Run<D>, trace: Option<&Trace>) -> Result<D> {
        files.begin_run();
        let mut answer = None;
        let mut ear: Option<Ear> = None;
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
                Action::Listen(channel, pause) => {
                    let same = ear.take().filter(|ear| ear.channel() == channel);
                    let listening = same.unwrap_or_else(|| self.cache().listen(&channel));
                    let messages_come = listening.wait(pause);
                    ear = Some(listening);
                    Answer::Heard(messages_come)
                }
            });
        }
    }
}
