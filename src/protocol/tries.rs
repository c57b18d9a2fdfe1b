//! Asking again where an answer was lost.

use super::run::Io;
use crate::{limits, op::Fault};
use std::time::Duration;

/// The tries of one request of which nobody may know whether it was done. There is time for more of them until one response
/// time-out after the first: a connection that was closed costs none of it, a server that hangs all of it.
pub(super) struct Tries {
    until: Duration,
    pause: Duration,
    /// Tries without an answer.
    lost: u32,
}

impl Tries {
    pub(super) fn new(io: &Io, patience: Duration) -> Self {
        Self {
            until: io.now().boot.saturating_add(patience),
            // One lost answer is asked for at once.
            pause: Duration::ZERO,
            lost: 0,
        }
    }

    /// The name of this try, such as no other one has: the request may still arrive, and must not be taken for a later one.
    pub(super) fn name(&self, token: &str) -> String {
        match self.lost {
            0 => token.to_owned(),
            n => format!("{token}.{n}"),
        }
    }

    /// After an answer was lost: whether there is time for another try.
    pub(super) async fn again(&mut self, io: &Io) -> bool {
        self.lost += 1;
        if io.now().boot >= self.until {
            return false;
        }
        if !self.pause.is_zero() {
            io.sleep(self.pause).await;
        }
        self.pause = (2 * self.pause).clamp(limits::RESEND_PAUSE_MIN, limits::RESEND_PAUSE_MAX);
        true
    }

    /// What came of all tries: "not done" only where none of them may have been.
    pub(super) fn end(&self, fault: Fault) -> Fault {
        fault.after(self.lost > 0)
    }
}
