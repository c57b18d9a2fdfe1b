//! How the engine waits. Its logic is written once, as `async` functions that wait by a [`Net`] and by connections alone. A thread runs
//! them by [`now`]: its waits block, so one poll is the whole run. A task of tokio awaits them.

use crate::model::Result;
#[cfg(feature = "tokio")]
use crate::model::{Effect, Error, Span, error::Kind};
use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    thread,
    time::Duration,
};
#[cfg(feature = "tokio")]
use tokio::sync::watch;

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    /// A thread, which blocks.
    Threads,
    /// A task of tokio.
    #[cfg(feature = "tokio")]
    Tasks,
}

/// What a piece of work needs a connection for. Threads have one of their own in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Requests that stand alone: others' may come in between.
    Shared,
    /// It leaves something on the connection between its requests (WATCH, SELECT), or keeps it busy (WAIT, big values).
    Own,
}

impl Net {
    /// For what may leave something behind: a task's goes on in one of its own, whether or not somebody waits for it.
    pub(crate) async fn to_its_end<R: Send + 'static>(
        self,
        run: impl Future<Output = Result<R>> + Send + 'static,
    ) -> Result<R> {
        match self {
            Self::Threads => run.await,
            #[cfg(feature = "tokio")]
            Self::Tasks if cfg!(cachetx_without_tasks_of_their_own) => run.await,
            #[cfg(feature = "tokio")]
            Self::Tasks => {
                let span = Span::current();
                joined(tokio::spawn(async move { span.around(run).await }).await)
            }
        }
    }

    /// The same for what waits for a lock: it waits no longer than whoever wants the lock.
    #[cfg(feature = "tokio")]
    pub(crate) async fn while_wanted<R: Send + 'static>(
        self,
        run: impl Future<Output = Result<R>> + Send + 'static,
    ) -> Result<R> {
        let (caller, wanted) = watch::channel(());
        let done = self.to_its_end(CALLER.scope(caller, run)).await;
        drop(wanted);
        done
    }

    /// For what blocks: a task has it done by a thread of its runtime's, to its end, whether or not somebody waits for it.
    pub(crate) async fn aside<R: Send + 'static>(
        self,
        job: impl FnOnce() -> Result<R> + Send + 'static,
    ) -> Result<R> {
        match self {
            Self::Threads => job(),
            #[cfg(feature = "tokio")]
            Self::Tasks => {
                let span = Span::current();
                joined(tokio::task::spawn_blocking(move || span.inside(job)).await)
            }
        }
    }

    pub(crate) async fn sleep(self, pause: Duration) {
        match self {
            Self::Threads => thread::sleep(pause),
            #[cfg(feature = "tokio")]
            Self::Tasks => tokio::time::sleep(pause).await,
        }
    }
}

#[cfg(feature = "tokio")]
tokio::task_local! {
    /// It is closed once nobody waits for the task.
    static CALLER: watch::Sender<()>;
}

/// Comes to its end where the task waits for a lock that nobody wants any more.
#[cfg(feature = "tokio")]
pub(crate) async fn nobody_waits() {
    match CALLER.try_with(Clone::clone) {
        Ok(caller) => caller.closed().await,
        Err(_) => std::future::pending().await,
    }
}

/// What a task has come to. Where the runtime has shut down, what had begun may have been done.
#[cfg(feature = "tokio")]
fn joined<R>(done: Result<Result<R>, tokio::task::JoinError>) -> Result<R> {
    match done {
        Ok(done) => done,
        Err(e) => match e.try_into_panic() {
            Ok(cause) => std::panic::resume_unwind(cause),
            Err(_) => {
                let why = Kind::Internal("the runtime has shut down".to_owned());
                Err(Error::new(why).effect_is(Effect::Unknown))
            }
        },
    }
}

/// For tests in which tasks do what threads would: has it run by tasks, in a build for that.
#[cfg(cachetx_by_tasks)]
pub(crate) fn by_tasks<F: Future<Output: Send> + Send>(run: F) -> F::Output {
    use std::sync::LazyLock;
    use tokio::runtime::{Builder, Handle, Runtime};
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let mut builder = Builder::new_multi_thread();
        // Hooks of tests hold some up.
        builder.worker_threads(16).enable_all();
        builder.build().expect("a runtime")
    });
    if Handle::try_current().is_err() {
        return RUNTIME.block_on(run);
    }
    // A hook of a test's, within a task.
    thread::scope(|scope| match scope.spawn(|| RUNTIME.block_on(run)).join() {
        Ok(done) => done,
        Err(cause) => std::panic::resume_unwind(cause),
    })
}

/// Runs what waits by [`Net::Threads`] only.
pub(crate) fn now<F: Future>(run: F) -> F::Output {
    match pin!(run).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("a thread's wait blocks"),
    }
}
