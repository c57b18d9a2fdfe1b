//! Retries of a request whose answer was lost.

use super::run::Io;
use crate::{model::limits, op::Fault};
use std::time::Duration;

/// The tries of one request that may or may not have been executed. After a lost answer, retries
/// are allowed until `patience` (one response time-out) after the first try: a closed connection
/// uses up none of that time, a server that hangs uses up all of it.
pub(super) struct Tries {
    patience: Duration,
    /// Counted from the first try since the last answer.
    until: Option<Duration>,
    pause: Duration,
    /// Number of tries without an answer.
    lost: u32,
}

impl Tries {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            until: None,
            // After the first lost answer, retry at once.
            pause: Duration::ZERO,
            lost: 0,
        }
    }

    /// Starts a try.
    pub(super) fn begin(&mut self, io: &Io) {
        self.until
            .get_or_insert(io.now().boot.saturating_add(self.patience));
    }

    /// The server answered: the time for retries starts over.
    pub(super) fn answered(&mut self) {
        (self.until, self.pause) = (None, Duration::ZERO);
    }

    /// A name that no other try has: the request may still arrive, and must not be taken for a
    /// later one.
    pub(super) fn name(&self, token: &str) -> String {
        match self.lost {
            0 => token.to_owned(),
            n => format!("{token}.{n}"),
        }
    }

    /// Call it after a lost answer; whether there is time for another try.
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

    /// The outcome of all tries: "not done" only if none of them can have been executed.
    pub(super) fn end(&self, fault: Fault) -> Fault {
        fault.after(self.lost > 0)
    }
}
