//! The driver for tokio tasks.

use super::{Local, Pause, Stop, go_on, until_files};
use crate::{
    engine::{Net, nobody_waits},
    model::{Error, Result, error::Kind},
    op::{Fault, Op, Reply},
    protocol::{Answer, Run},
};
use std::{convert::Infallible, ops::ControlFlow, time::Duration};

/// Performs the actions of one run that a task waits for.
pub(crate) trait Remote {
    fn server(&mut self, op: Op) -> impl Future<Output = Result<Reply, Fault>> + Send;

    /// Waits for a message on the channel, at most `pause`; returns whether messages arrive.
    fn listen(&mut self, channel: String, pause: Duration) -> impl Future<Output = bool> + Send;
}

/// Drives the run to its end. Returns `local`, unless the runtime shut down in the middle.
///
/// File actions run in a thread that may block. The run continues there until it has to wait for
/// something else, so `local` belongs to that thread meanwhile.
pub(crate) async fn drive_in_task<D: Send + 'static, L: Local + Send + 'static>(
    mut run: Run<D>,
    mut local: L,
    mut remote: impl Remote,
) -> (Option<L>, Result<D>) {
    let goes_on = || ControlFlow::<Infallible>::Continue(());
    let mut answer = None;
    loop {
        let ControlFlow::Continue(pause) = until_files(&mut run, &mut local, answer, &goes_on);
        let stop = match pause {
            Pause::Else(stop) => stop,
            Pause::Files(action) => {
                let worked = Net::Tasks.aside(move || {
                    let answer = Some(local.act(&action));
                    let ControlFlow::Continue(stop) = go_on(&mut run, &mut local, answer, &goes_on);
                    Ok((run, local, stop))
                });
                let stop;
                (run, local, stop) = match worked.await {
                    Ok(worked) => worked,
                    Err(gone) => return (None, Err(gone)),
                };
                stop
            }
        };
        answer = Some(match stop {
            Stop::Done(done) => return (Some(local), done),
            Stop::Server(op) => Answer::Server(remote.server(op).await),
            Stop::Sleep(pause) => {
                tokio::time::sleep(pause).await;
                Answer::Slept
            }
            // The run holds nothing while it waits for a lock or another reader.
            Stop::Wait(pause) => tokio::select! {
                () = tokio::time::sleep(pause) => Answer::Slept,
                () = nobody_waits() => return (Some(local), Err(Error::new(Kind::Abandoned))),
            },
            Stop::Listen(channel, pause) => tokio::select! {
                heard = remote.listen(channel, pause) => Answer::Heard(heard),
                () = nobody_waits() => return (Some(local), Err(Error::new(Kind::Abandoned))),
            },
        });
    }
}
