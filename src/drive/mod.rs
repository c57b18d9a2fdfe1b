//! Runs protocols, in the caller's thread or in a tokio task: the loops, the clocks, and a thread's
//! nested loads.

mod blocking;
mod clock;
pub(crate) mod nested;
#[cfg(feature = "tokio")]
mod task;
#[cfg(feature = "tokio")]
mod worker;

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

/// Performs the actions of one run that are local to this machine. They may block on a disk.
pub(crate) trait Local {
    /// The clocks that the run gets.
    fn now(&self) -> Now {
        now()
    }

    /// Called immediately before each action.
    fn begin(&mut self, _action: &Action) {}

    fn outbox(&mut self, action: &OutboxAction) -> Result<OutboxGot>;

    /// Performs one local action.
    fn act(&mut self, action: &Action) -> Answer {
        match action {
            Action::Disk(place, action) => Answer::Disk(self.disk(place, action)),
            Action::Outbox(action) => Answer::Outbox(self.outbox(action)),
            _ => Answer::Disk(Err(mismatch("a run without a server"))),
        }
    }

    /// Runs that touch no files never call it.
    fn disk(&mut self, _place: &Place, _action: &FileAction) -> Result<Got> {
        Err(mismatch("a run without files"))
    }
}

/// Where a run stops that performs its file actions itself.
enum Stop<D> {
    Done(Result<D>),
    Server(Op),
    Sleep(Duration),
    Wait(Duration),
    Listen(String, Duration),
}

/// Where any run stops.
enum Pause<D> {
    /// A file or outbox action, for a [`Local`].
    Files(Action),
    Else(Stop<D>),
}

/// Resumes a run up to its next stop, unless `is_on` breaks before that action.
fn until_files<D, B>(
    run: &mut Run<D>,
    local: &mut impl Local,
    answer: Option<Answer>,
    is_on: &impl Fn() -> ControlFlow<B>,
) -> ControlFlow<B, Pause<D>> {
    let action = match run.resume(answer, local.now()) {
        Step::Done(done) => return ControlFlow::Continue(Pause::Else(Stop::Done(done))),
        Step::Do(action) => action,
    };
    is_on()?;
    local.begin(&action);
    ControlFlow::Continue(match action {
        Action::Server(op) => Pause::Else(Stop::Server(op)),
        Action::Sleep(pause) => Pause::Else(Stop::Sleep(pause)),
        Action::Wait(pause) => Pause::Else(Stop::Wait(pause)),
        Action::Listen(channel, pause) => Pause::Else(Stop::Listen(channel, pause)),
        action @ (Action::Disk(..) | Action::Outbox(_)) => Pause::Files(action),
    })
}

/// Resumes a run and performs its file actions until it stops for something else.
fn go_on<D, B>(
    run: &mut Run<D>,
    local: &mut impl Local,
    mut answer: Option<Answer>,
    is_on: &impl Fn() -> ControlFlow<B>,
) -> ControlFlow<B, Stop<D>> {
    loop {
        match until_files(run, local, answer, is_on)? {
            Pause::Files(action) => answer = Some(local.act(&action)),
            Pause::Else(stop) => return ControlFlow::Continue(stop),
        }
    }
}

/// Called by a thread that is about to block.
pub(crate) fn blocks() {
    #[cfg(feature = "tokio")]
    worker::warn_once();
}
