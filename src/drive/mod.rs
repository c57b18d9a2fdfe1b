//! Runs protocols in the caller's thread: the loop, the clocks that it tells them, and the loads that this thread has begun.

mod blocking;
mod clock;
pub(crate) mod nested;

pub(crate) use blocking::{Backend, drive, drive_while};
pub(crate) use clock::now;
