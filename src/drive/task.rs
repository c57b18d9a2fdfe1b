//! The driver for tasks of tokio.

use super::{Local, Stop, go_on, until_files};
use crate::{
    model::{Effect, Error, Result, error::Kind},
    op::{Fault, Op, Reply},
    protocol::{Answer, Run},
};
use std::{convert::Infallible, ops::ControlFlow, panic, time::Duration};

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
        let ControlFlow::Continue(mut stop) = until_files(&mut run, &mut local, answer, &goes_on);
        if let Stop::Files(action) = stop {
            let worked = tokio::task::spawn_blocking(move || {
                let answer = Some(local.act(&action));
                let ControlFlow::Continue(stop) = go_on(&mut run, &mut local, answer, &goes_on);
                (run, local, stop)
            });
            (run, local, stop) = match worked.await {
                Ok(worked) => worked,
                Err(e) => match e.try_into_panic() {
                    Ok(cause) => panic::resume_unwind(cause),
                    Err(_) => return (None, Err(ended())),
                },
            };
        }
        answer = Some(match stop {
            Stop::Done(done) => return (Some(local), done),
            Stop::Server(op) => Answer::Server(remote.server(op).await),
            Stop::Sleep(pause) => {
                tokio::time::sleep(pause).await;
                Answer::Slept
            }
            Stop::Listen(channel, pause) => Answer::Heard(remote.listen(channel, pause).await),
            Stop::Files(action) => local.act(&action),
        });
    }
}

/// What had begun may have been done.
fn ended() -> Error {
    let ended = Error::new(Kind::Internal("the runtime has shut down".to_owned()));
    ended.effect_is(Effect::Unknown)
}
