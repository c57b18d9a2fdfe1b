//! Asking again where an answer was lost.

use super::run::Io;
use crate::{model::limits, op::Fault};
use std::time::Duration;

/// The tries of one request of which nobody may know whether it was done. After a lost answer there is time for more of them
/// until one response time-out after that try: a connection that was closed costs none of it, a server that hangs all of it.
pub(super) struct Tries {
    patience: Duration,
    /// From the first try since the last answer.
    until: Option<Duration>,
    pause: Duration,
    /// Tries without an answer.
    lost: u32,
}

impl Tries {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            until: None,
            // One lost answer is asked for at once.
            pause: Duration::ZERO,
            lost: 0,
        }
    }

    /// A try begins.
    pub(super) fn begin(&mut self, io: &Io) {
        self.until
            .get_or_insert(io.now().boot.saturating_add(self.patience));
    }

    /// The server answers: what is lost from now on has all its time again.
    pub(super) fn answered(&mut self) {
        (self.until, self.pause) = (None, Duration::ZERO);
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
        if self.until.is_none_or(|until| io.now().boot >= until) {
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
