//! Tells, once, that a thread of a runtime is about to stand still.

use std::{
    cell::Cell,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};
use tokio::{runtime::Handle, task::coop};

static TOLD: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether it is one of a runtime's threads that may block.
    static MAY_BLOCK: Cell<bool> = const { Cell::new(false) };
}

/// For a thread that is about to wait: warns where tasks wait with it, the first time in this process.
pub(super) fn warn_once() {
    if TOLD.load(Relaxed) || MAY_BLOCK.get() || Handle::try_current().is_err() {
        return;
    }
    MAY_BLOCK.set(!runs_tasks());
    if !MAY_BLOCK.get() && !TOLD.swap(true, Relaxed) {
        log::warn!(
            "a blocking call on a thread that runs a tokio runtime's tasks: they all wait meanwhile. Use `cachetx::aio` there, or `spawn_blocking` (this is said once)"
        );
    }
}

/// Whether the runtime would have this thread go on with another task by now: it bounds how much a task does at a time, and nothing in threads
/// that may block. A task whose share is used up by this question yields once, when it next awaits something.
fn runs_tasks() -> bool {
    /// More than tokio gives a task (128).
    const SHARE: u32 = 256;
    let mut context = Context::from_waker(Waker::noop());
    (0..SHARE).any(|_| match coop::poll_proceed(&mut context) {
        Poll::Ready(unit) => {
            unit.made_progress();
            false
        }
        Poll::Pending => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::runtime::Builder;

    #[test]
    fn workers_are_told_from_threads_that_may_block() {
        assert!(!runs_tasks(), "no runtime");
        let single = Builder::new_current_thread().build().unwrap();
        let several = Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .unwrap();
        for runtime in [single, several] {
            runtime.block_on(async {
                assert!(runs_tasks());
                assert!(tokio::spawn(async { runs_tasks() }).await.unwrap());
                // It has yielded, and goes on.
                assert!(runs_tasks());
                let blocking = tokio::task::spawn_blocking(runs_tasks);
                assert!(!blocking.await.unwrap());
            });
            let _entered = runtime.enter();
            assert!(!runs_tasks(), "it runs none");
        }
    }
}
