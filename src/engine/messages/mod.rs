//! Messages that wake waiters for a lock: the listeners ([`Bells`]), and the connection that
//! delivers the messages ([`Subscriber`]).
//!
//! A message is a hint. It may be lost, or come for nothing. Waiters ask the server in either case,
//! and now and then without a message.

mod bells;
mod subscriber;

pub(crate) use bells::{Bells, Ear, Watch};
pub(super) use subscriber::Subscriber;
