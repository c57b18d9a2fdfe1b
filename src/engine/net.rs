//! How the engine waits. Its logic is written once, as `async` functions that wait by a [`Net`] and by connections alone. A thread runs
//! them by [`now`]: its waits block, so one poll is the whole run.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Net {
    /// A thread, which blocks.
    Threads,
}

impl Net {
    pub(super) async fn sleep(self, pause: Duration) {
        match self {
            Self::Threads => thread::sleep(pause),
        }
    }
}

/// Runs what waits by [`Net::Threads`] only.
pub(super) fn now<F: Future>(run: F) -> F::Output {
    match pin!(run).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("a thread's wait blocks"),
    }
}
