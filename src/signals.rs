//! Keeps the program's signals away from system calls that a signal would end early.
//!
//! A socket with a time-out ends its calls with `EINTR` on every signal, whatever its handler says of restarts, and the client
//! library then counts the reply as lost. So signals are held back from a thread while it waits for a server. They
//! stay pending and are delivered right after the wait, which its time-outs bound; a signal to the whole process goes to another thread
//! meanwhile, where one takes it.

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use std::{io, marker::PhantomData, sync::LazyLock, thread};

/// Raised by the thread's own instructions: to hold one of these back is undefined.
const SYNCHRONOUS: [Signal; 7] = [
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGTRAP,
];

static HELD_BACK: LazyLock<SigSet> = LazyLock::new(|| {
    let mut signals = SigSet::all();
    SYNCHRONOUS
        .iter()
        .for_each(|signal| signals.remove(*signal));
    signals
});

/// Holds signals back from the thread that made it, until it is dropped. Costs two system calls.
pub(crate) struct HeldBack {
    before: Option<SigSet>,
    /// The mask is the thread's own.
    not_send: PhantomData<*const ()>,
}

/// See [`HeldBack`].
#[must_use]
pub(crate) fn hold_back() -> HeldBack {
    let before = match cfg!(cachetx_without_signal_mask) {
        true => None,
        false => HELD_BACK.thread_swap_mask(SigmaskHow::SIG_BLOCK).ok(),
    };
    HeldBack {
        before,
        not_send: PhantomData,
    }
}

impl Drop for HeldBack {
    fn drop(&mut self) {
        // Fails for an unknown `how` only.
        let _ = self.before.as_ref().map(SigSet::thread_set_mask);
    }
}

/// Starts a thread of the library's own, which signals are held back from as long as it lives.
///
/// # Errors
/// The system has no thread left.
pub(crate) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<thread::JoinHandle<()>> {
    // A thread begins with the mask of the one that made it.
    let _held_back = hold_back();
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;

    fn is_blocked(signal: Signal) -> bool {
        SigSet::thread_get_mask().unwrap().contains(signal)
    }

    #[test]
    fn signals_wait_for_the_end_and_faults_do_not() {
        let before = is_blocked(Signal::SIGURG);
        let outer = hold_back();
        {
            let _inner = hold_back();
            assert!(is_blocked(Signal::SIGALRM) && !is_blocked(Signal::SIGSEGV));
        }
        assert!(
            is_blocked(Signal::SIGALRM),
            "the inner one restores the outer one's"
        );
        // Ignored by default.
        raise(Signal::SIGURG).unwrap();
        drop(outer);
        assert_eq!(is_blocked(Signal::SIGURG), before);
    }

    #[test]
    fn a_thread_of_the_library_has_none() {
        let blocked = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let seen = std::sync::Arc::clone(&blocked);
        let thread = spawn("cachetx-test", move || {
            seen.store(
                is_blocked(Signal::SIGTERM),
                std::sync::atomic::Ordering::SeqCst,
            );
        });
        thread.unwrap().join().unwrap();
        assert!(blocked.load(std::sync::atomic::Ordering::SeqCst));
    }
}
