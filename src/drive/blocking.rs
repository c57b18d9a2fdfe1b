//! The driver for threads: performs each action of a run in the caller's thread and resumes the run
//! with the answer.

use super::{Local, Stop, go_on};
use crate::{
    model::Result,
    op::{Fault, Op, Reply},
    protocol::{Answer, Run, mismatch},
};
use std::{convert::Infallible, ops::ControlFlow, thread, time::Duration};

/// Performs the actions of one run.
pub(crate) trait Backend: Local {
    fn server(&mut self, op: Op) -> Result<Reply, Fault>;

    /// Waits for a message on the channel, at most `pause`; returns whether messages arrive. An
    /// error ends the run.
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

/// Drives the run to its end. If `is_on` breaks before an action, drops the run there.
pub(crate) fn drive_while<D, B>(
    mut run: Run<D>,
    mut backend: impl Backend,
    is_on: impl Fn() -> ControlFlow<B>,
) -> ControlFlow<B, Result<D>> {
    let mut answer = None;
    loop {
        answer = Some(
            match go_on(&mut run, &mut backend, answer.take(), &is_on)? {
                Stop::Done(done) => return ControlFlow::Continue(done),
                Stop::Server(op) => Answer::Server(backend.server(op)),
                Stop::Sleep(pause) | Stop::Wait(pause) => {
                    thread::sleep(pause);
                    Answer::Slept
                }
                Stop::Listen(channel, pause) => match backend.listen(channel, pause) {
                    Ok(messages_come) => Answer::Heard(messages_come),
                    Err(e) => return ControlFlow::Continue(Err(e)),
                },
            },
        );
    }
}
