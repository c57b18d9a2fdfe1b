//! Runs protocols, in the caller's thread or in a task of tokio: the loops, the clocks that they tell, and the loads that a thread has
//! begun.

mod blocking;
mod clock;
pub(crate) mod nested;
#[cfg(feature = "tokio")]
mod task;

pub(crate) use blocking::{Backend, drive, drive_while};
pub(crate) use clock::now;
#[cfg(feature = "tokio")]
pub(crate) use task::{Remote, drive_in_task};

use crate::{
    disk::{FileAction, Got, OutboxAction, OutboxGot},
    model::{Place, Result},
    op::Op,
    protocol::{Action, Answer, Now, Run, Step, mismatch},
};
use std::{ops::ControlFlow, time::Duration};

/// Performs those actions of one run that are this machine's: a thread may wait for a disk.
pub(crate) trait Local {
    /// The clocks that the run is told.
    fn now(&self) -> Now {
        now()
    }

    /// Called right before each action.
    fn begin(&self, _action: &Action) {}

    fn outbox(&mut self, action: &OutboxAction) -> Result<OutboxGot>;

    /// For runs that touch no file there is nothing to perform.
    fn disk(&mut self, _place: &Place, _action: &FileAction) -> Result<Got> {
        Err(mismatch("a run without files"))
    }
}

/// What a run waits for that no disk gives.
enum Stop<D> {
    Done(Result<D>),
    Server(Op),
    Sleep(Duration),
    Listen(String, Duration),
}

/// Goes on with a run up to its end, or to an action that is not this machine's, or to the first one before which `is_on` breaks off.
fn go_on<D, B>(
    run: &mut Run<D>,
    local: &mut impl Local,
    mut answer: Option<Answer>,
    is_on: &impl Fn() -> ControlFlow<B>,
) -> ControlFlow<B, Stop<D>> {
    loop {
        let action = match run.resume(answer.take(), local.now()) {
            Step::Done(done) => return ControlFlow::Continue(Stop::Done(done)),
            Step::Do(action) => action,
        };
        is_on()?;
        local.begin(&action);
        answer = Some(match action {
            Action::Disk(place, action) => Answer::Disk(local.disk(&place, &action)),
            Action::Outbox(action) => Answer::Outbox(local.outbox(&action)),
            Action::Server(op) => return ControlFlow::Continue(Stop::Server(op)),
            Action::Sleep(pause) => return ControlFlow::Continue(Stop::Sleep(pause)),
            Action::Listen(channel, pause) => {
                return ControlFlow::Continue(Stop::Listen(channel, pause));
            }
        });
    }
}
