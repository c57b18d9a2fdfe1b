//! The driver for tasks of tokio.

use super::{Local, Stop, go_on};
use crate::{
    model::{Error, Result, error::Kind},
    op::{Fault, Op, Reply},
    protocol::{Answer, Run},
};
use std::{convert::Infallible, ops::ControlFlow, time::Duration};

/// Performs those actions of one run that a task waits for.
pub(crate) trait Remote {
    fn server(&mut self, op: Op) -> impl Future<Output = Result<Reply, Fault>> + Send;

    /// Waits for a message on the channel, no longer than `pause`; whether messages come.
    fn listen(&mut self, channel: String, pause: Duration) -> impl Future<Output = bool> + Send;
}

/// Drives the run to its end; `local` comes back, unless it was lost with its thread. What files it touches it does in a thread that may block, and goes on there as far as that is possible
/// without waiting for anything else.
pub(crate) async fn drive_in_task<D: Send + 'static, L: Local + Send + 'static>(
    mut run: Run<D>,
    mut local: L,
    mut remote: impl Remote,
) -> (Option<L>, Result<D>) {
    let mut answer = None;
    loop {
        let worked = tokio::task::spawn_blocking(move || {
            let goes_on = || ControlFlow::<Infallible>::Continue(());
            let ControlFlow::Continue(stop) = go_on(&mut run, &mut local, answer, &goes_on);
            (run, local, stop)
        });
        let stop;
        (run, local, stop) = match worked.await {
            Ok(worked) => worked,
            Err(e) => {
                let why = format!("a thread for files has ended: {e}");
                return (None, Err(Error::new(Kind::Internal(why))));
            }
        };
        answer = Some(match stop {
            Stop::Done(done) => return (Some(local), done),
            Stop::Server(op) => Answer::Server(remote.server(op).await),
            Stop::Sleep(pause) => {
                tokio::time::sleep(pause).await;
                Answer::Slept
            }
            Stop::Listen(channel, pause) => Answer::Heard(remote.listen(channel, pause).await),
        });
    }
}
