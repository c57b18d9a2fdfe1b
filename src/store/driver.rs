//! The blocking driver: performs the action, resumes with the answer.

use super::Store;
use crate::{
    Result,
    cache::now,
    disk::Session,
    engine::Ear,
    protocol::{Action, Answer, Run, Step},
};
use std::thread;

impl Store {
    pub(super) fn drive<D>(&self, run: Run<D>) -> Result<D> {
        self.drive_with(&mut Session::new(self.0.root.clone()), run)
    }

    /// With files that outlive the run.
    pub(super) fn drive_with<D>(&self, files: &mut Session, mut run: Run<D>) -> Result<D> {
        files.begin_run();
        let mut answer = None;
        let mut ear: Option<Ear> = None;
        loop {
            let action = match run.resume(answer.take(), now()) {
                Step::Done(done) => return done,
                Step::Do(action) => action,
            };
            if let Some(trace) = &self.0.trace {
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
