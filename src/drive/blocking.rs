//! The blocking driver: performs each action of a run in the caller's thread and resumes the run with the answer.

use super::clock::now;
use crate::{
    disk::{FileAction, Got, OutboxAction, OutboxGot},
    model::{Place, Result},
    op::{Fault, Op, Reply},
    protocol::{Action, Answer, Now, Run, Step, mismatch},
};
use std::{convert::Infallible, ops::ControlFlow, thread, time::Duration};

/// Performs the actions of one run.
pub(crate) trait Backend {
    /// The clocks that the run is told.
    fn now(&self) -> Now {
        now()
    }

    /// Called right before each action.
    fn begin(&self, _action: &Action) {}

    fn server(&mut self, op: Op) -> Result<Reply, Fault>;

    fn outbox(&mut self, action: &OutboxAction) -> Result<OutboxGot>;

    /// For runs that touch no file there is nothing to perform.
    fn disk(&mut self, _place: &Place, _action: &FileAction) -> Result<Got> {
        Err(mismatch("a run without files"))
    }

    /// Waits for a message on the channel, no longer than `pause`; whether messages come. An error ends the run.
    fn listen(&mut self, _channel: String, _pause: Duration) -> Result<bool> {
        Err(mismatch("a run without locks"))
    }
}

/// Drives the run to its end.
pub(crate) fn drive<D>(run: Run<D>, backend: impl Backend) -> Result<D> {
    match drive_while(run, backend, || ControlFlow::<Infallible>::Continue(())) {
        ControlFlow::Continue(done) => done,
    }
}

/// Drives the run to its end, or up to the first action before which `go_on` breaks off: then the run is dropped.
pub(crate) fn drive_while<D, B>(
    mut run: Run<D>,
    mut backend: impl Backend,
    go_on: impl Fn() -> ControlFlow<B>,
) -> ControlFlow<B, Result<D>> {
    let mut answer = None;
    loop {
        let action = match run.resume(answer.take(), backend.now()) {
            Step::Done(done) => return ControlFlow::Continue(done),
            Step::Do(action) => action,
        };
        go_on()?;
        backend.begin(&action);
        answer = Some(match action {
            Action::Server(op) => Answer::Server(backend.server(op)),
            Action::Disk(place, action) => Answer::Disk(backend.disk(&place, &action)),
            Action::Outbox(action) => Answer::Outbox(backend.outbox(&action)),
            Action::Sleep(pause) => {
                thread::sleep(pause);
                Answer::Slept
            }
            Action::Listen(channel, pause) => match backend.listen(channel, pause) {
                Ok(messages_come) => Answer::Heard(messages_come),
                Err(e) => return ControlFlow::Continue(Err(e)),
            },
        });
    }
}
