//! Rules and loaders against a model of the truth: is a cached value ever out of date?
//!
//! ```text
//! check    ModelCheck: the check
//! history  random steps, and their effect on a cache
//! plan     what can change in a history
//! truth    the current truth, as versions that count changes
//! ```

mod check;
mod history;
mod plan;
mod truth;

pub use check::ModelCheck;
pub use truth::{Truth, Wanted};
