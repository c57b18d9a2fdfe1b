//! Messages that wake those who wait for a lock: who listens ([`Bells`]), and the connection that brings them
//! ([`Subscriber`]).
//!
//! A message is a hint. It may be lost, or come for nothing; who waits asks the server either way, and now and then without
//! one.

mod bells;
mod subscriber;

pub(crate) use bells::{Bells, Ear, Watch};
pub(super) use subscriber::Subscriber;
