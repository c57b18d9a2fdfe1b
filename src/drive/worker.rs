//! Warns, once, about a blocking call on a runtime's thread.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{self, coop},
};

static TOLD: AtomicBool = AtomicBool::new(false);

/// Called by a thread that is about to block: warns if tasks wait for it, once per process.
pub(super) fn warn_once() {
    if TOLD.load(Relaxed) {
        return;
    }
    if holds_tasks_up() && !TOLD.swap(true, Relaxed) {
        log::warn!(
            "a blocking call on a thread that runs a tokio runtime's tasks: they wait meanwhile. Use `cachetx::aio` there, or `spawn_blocking` (this is said once)"
        );
    }
}

/// Whether this thread holds up other tasks.
fn holds_tasks_up() -> bool {
    match Handle::try_current() {
        Err(_) => false,
        // A future that is not spawned holds up nothing if there are other workers.
        Ok(runtime) => {
            let is_only = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
            (is_only || task::try_id().is_some()) && runs_tasks()
        }
    }
}

/// Whether this thread runs tasks: tokio limits how much a task does at a time, but sets no limit
/// in threads that may block. A task whose budget is used up by this question yields once, at its
/// next await.
fn runs_tasks() -> bool {
    /// More than tokio's budget for a task (128).
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
        assert!(!holds_tasks_up(), "no runtime");
        let single = Builder::new_current_thread().build().unwrap();
        let several = Builder::new_multi_thread().worker_threads(1).build();
        for (runtime, is_only) in [(single, true), (several.unwrap(), false)] {
            runtime.block_on(async {
                assert_eq!(holds_tasks_up(), is_only);
                assert!(tokio::spawn(async { holds_tasks_up() }).await.unwrap());
                // It has yielded, and continues.
                assert_eq!(holds_tasks_up(), is_only);
                let blocking = tokio::task::spawn_blocking(holds_tasks_up);
                assert!(!blocking.await.unwrap());
            });
            let _entered = runtime.enter();
            assert!(!holds_tasks_up(), "it runs none");
        }
    }
}
