//! The driver for tasks of tokio.

use super::{Local, Pause, Stop, go_on, until_files};
use crate::{
    engine::{Net, nobody_waits},
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

/// Drives the run to its end. `local` comes back, unless the runtime ended in the middle.
///
/// What files the run touches it does in a thread that may block, and goes on there as far as that is possible without waiting for
/// anything else. So its `local` is that thread's meanwhile.
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
            Stop::Listen(channel, pause) => tokio::select! {
                heard = remote.listen(channel, pause) => Answer::Heard(heard),
                // It holds nothing while it waits for a lock.
                () = nobody_waits() => {
                    return (Some(local), Err(Error::new(Kind::Abandoned)));
                }
            },
        });
    }
}
