//! The interface of one way to save.

use super::scene::Scene;
use cachetx::BoxError;
use redis::Connection;
use std::time::{Duration, Instant};

/// One way to do the work, ready to run many times.
pub trait Subject: Send {
    /// Saves once: takes the lock, sets the entry, deletes the dependents and frees the lock, as
    /// far as this way does so, and checks the result. Calls `step` after each round trip that can
    /// be told apart.
    fn save(&mut self, step: &mut dyn FnMut()) -> Result<(), BoxError>;

    /// Sets what a save deletes. Not timed.
    fn warm(&mut self, plain: &mut Connection, scene: &Scene) -> Result<(), BoxError> {
        Ok(scene.warm(plain)?)
    }

    /// The versions of what runs, if it is not part of this build.
    fn versions(&self) -> Option<&str> {
        None
    }

    /// Times one save.
    fn timed(&mut self) -> Result<Duration, BoxError> {
        let start = Instant::now();
        self.save(&mut || {})?;
        Ok(start.elapsed())
    }
}
