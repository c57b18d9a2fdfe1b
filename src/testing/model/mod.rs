//! Rules and loaders against a model of the truth: is a value that is cached ever out of date?
//!
//! ```text
//! check    ModelCheck: the check
//! history  random steps, and what they do to a cache
//! plan     what can change in a history
//! truth    what is true now, as versions that count changes
//! ```

mod check;
mod history;
mod plan;
mod truth;

pub use check::ModelCheck;
pub use truth::{Truth, Wanted};
