//! How the engine waits. Its logic is written once, as `async` functions that wait only through a
//! [`Net`] and through connections. A thread runs them with [`now`]: its waits block, so one poll
//! completes them. A tokio task awaits them.

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
    /// A tokio task.
    #[cfg(feature = "tokio")]
    Tasks,
}

/// How work uses a connection. A thread always has one of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Single requests: those of others may come in between.
    Shared,
    /// It leaves state on the connection between its requests (WATCH, SELECT), or keeps it busy
    /// (WAIT, big values).
    Own,
}

impl Net {
    /// Runs work that could leave something behind. For a task it runs in a task of its own, to
    /// completion, even if the caller's future is dropped.
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

    /// The same for work that waits for a lock or another reader: it stops waiting once the
    /// caller's future is dropped.
    pub(crate) async fn while_wanted<R: Send + 'static>(
        self,
        run: impl Future<Output = Result<R>> + Send + 'static,
    ) -> Result<R> {
        match self {
            Self::Threads => run.await,
            #[cfg(feature = "tokio")]
            Self::Tasks => {
                let (caller, wanted) = watch::channel(());
                let done = self.to_its_end(CALLER.scope(caller, run)).await;
                drop(wanted);
                done
            }
        }
    }

    /// Runs blocking work. For a task it runs in a thread of its runtime, to completion, even if
    /// the caller's future is dropped.
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
    /// Closed once nobody waits for the task.
    static CALLER: watch::Sender<()>;
}

/// Completes once nobody wants what the task waits for.
#[cfg(feature = "tokio")]
pub(crate) async fn nobody_waits() {
    match CALLER.try_with(Clone::clone) {
        Ok(caller) => caller.closed().await,
        Err(_) => std::future::pending().await,
    }
}

/// The result of a task. If the runtime has shut down, what had begun may have been done.
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

/// For tests in which tasks replace threads: runs a future in a task, in a build for that.
#[cfg(cachetx_by_tasks)]
pub(crate) fn by_tasks<F: Future<Output: Send> + Send>(run: F) -> F::Output {
    use std::sync::LazyLock;
    use tokio::runtime::{Builder, Handle, Runtime};
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let mut builder = Builder::new_multi_thread();
        // Hooks of tests block some of them.
        builder.worker_threads(16).enable_all();
        builder.build().expect("a runtime")
    });
    if Handle::try_current().is_err() {
        return RUNTIME.block_on(run);
    }
    // In a hook of a test, within a task.
    thread::scope(|scope| match scope.spawn(|| RUNTIME.block_on(run)).join() {
        Ok(done) => done,
        Err(cause) => std::panic::resume_unwind(cause),
    })
}

/// Runs a future that waits only through [`Net::Threads`].
pub(crate) fn now<F: Future>(run: F) -> F::Output {
    match pin!(run).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => unreachable!("a thread's wait blocks"),
    }
}
