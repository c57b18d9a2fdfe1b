//! What one way to save can do.

use super::scene::Scene;
use cachetx::BoxError;
use redis::Connection;
use std::time::{Duration, Instant};

/// One way to do the work, ready to do it again and again.
pub trait Subject: Send {
    /// Saves once: takes the lock, sets the entry, deletes the dependents, frees the lock, as far as this way does so, and sees
    /// that it was done. `step` is called after each round trip that can be told apart.
    fn save(&mut self, step: &mut dyn FnMut()) -> Result<(), BoxError>;

    /// Puts there what a save deletes. Not timed.
    fn warm(&mut self, plain: &mut Connection, scene: &Scene) -> Result<(), BoxError> {
        Ok(scene.warm(plain)?)
    }

    /// What runs, where it is no part of this build.
    fn versions(&self) -> Option<&str> {
        None
    }

    /// The time of one save.
    fn timed(&mut self) -> Result<Duration, BoxError> {
        let start = Instant::now();
        self.save(&mut || {})?;
        Ok(start.elapsed())
    }
}
