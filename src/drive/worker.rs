//! Tells, once, that a thread of a runtime is about to stand still.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    task::{Context, Poll, Waker},
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{self, coop},
};

static TOLD: AtomicBool = AtomicBool::new(false);

/// For a thread that is about to wait: warns where tasks wait with it, the first time in this process.
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

/// Whether other tasks wait for this thread.
fn holds_tasks_up() -> bool {
    match Handle::try_current() {
        Err(_) => false,
        // What is not spawned holds nothing up where there are other workers.
        Ok(runtime) => {
            let is_only = runtime.runtime_flavor() == RuntimeFlavor::CurrentThread;
            (is_only || task::try_id().is_some()) && runs_tasks()
        }
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
        assert!(!holds_tasks_up(), "no runtime");
        let single = Builder::new_current_thread().build().unwrap();
        let several = Builder::new_multi_thread().worker_threads(1).build();
        for (runtime, is_only) in [(single, true), (several.unwrap(), false)] {
            runtime.block_on(async {
                assert_eq!(holds_tasks_up(), is_only);
                assert!(tokio::spawn(async { holds_tasks_up() }).await.unwrap());
                // It has yielded, and goes on.
                assert_eq!(holds_tasks_up(), is_only);
                let blocking = tokio::task::spawn_blocking(holds_tasks_up);
                assert!(!blocking.await.unwrap());
            });
            let _entered = runtime.enter();
            assert!(!holds_tasks_up(), "it runs none");
        }
    }
}
