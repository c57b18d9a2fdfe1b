//! Types that all layers share: places, stamps, entries, locks, errors, limits and random names.

mod counted;
mod entry;
pub(crate) mod error;
pub mod limits;
mod lock;
mod place;
#[cfg_attr(not(feature = "tracing"), path = "no_spans.rs")]
mod spans;
mod stamp;
pub(crate) mod text;
pub(crate) mod token;

pub(crate) use counted::counted;
pub(crate) use entry::{Bytes, Entry};
pub use error::{BoxError, Effect, Error, Problem, Result};
pub(crate) use lock::Lock;
pub use lock::LockHolder;
pub(crate) use place::Place;
pub(crate) use spans::Span;
pub(crate) use stamp::Stamp;
