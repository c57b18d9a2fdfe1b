//! The protocols: lock, save, group, delete, read, defer, replay and recover. They have no I/O,
//! clock or randomness of their own.
//!
//! A protocol is a [`Run`]: a straight-line `async fn` that awaits nothing but its [`Io`] handle. A
//! driver resumes it with the answer to its last [`Action`] and gets the next one. So the same body
//! runs blocking, under an executor, or in a simulation that crashes between any two actions. The
//! list of actions is also the trace, the count of round trips and the list of crash points.

pub(crate) mod around;
mod defer;
pub(crate) mod delete;
mod expires;
mod files;
pub(crate) mod group;
mod intent;
pub(crate) mod load;
pub(crate) mod lock;
mod outcome;
pub(crate) mod read;
pub(crate) mod recover;
pub(crate) mod replay;
mod run;
pub(crate) mod save;
mod sidecar;
mod sidecars;
mod spread;
mod steps;
mod temp;
mod tries;
pub(crate) mod value;

pub(crate) use defer::deferred;
pub(crate) use expires::Expires;
#[cfg(all(test, feature = "testing"))]
pub(crate) use files::Found;
pub use intent::Guarantee;
pub(crate) use intent::{Intent, Scope};
pub use lock::WhileAway;
pub(crate) use lock::{Claim, Held};
pub use outcome::{CacheOutcome, Durability, Outcome, Reach};
pub use replay::Replayed;
pub(crate) use run::{Action, Answer, Io, Now, Run, Step, mismatch};
pub(crate) use spread::Spread;
