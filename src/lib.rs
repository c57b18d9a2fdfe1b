//! cachetx
#![cfg_attr(docsrs, feature(doc_cfg))]

mod cache;
mod disk;
mod engine;
mod error;
mod json;
pub mod limits;
mod op;
mod protocol;
mod raw;
mod rules;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod token;

pub use cache::{Cache, CacheBuilder, Stats};
pub use engine::{Engine, EngineReport};
pub use error::{BoxError, Effect, Error, Problem};
pub use json::Style as JsonStyle;
pub use protocol::{CacheOutcome, Durability, Outcome};
pub use raw::RawObject;
pub use rules::{
    Key, KeyIter, KeyList, NO_TASKS, ParamValue, Params, Rules, RulesBuilder, SlotCheck,
    SlotFinding, Slots, UnknownTasks,
};

pub use store::{Document, Locked, Save, SaveError, Store, StoreBuilder};

/// The crate's result: its one [`Error`] unless said otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockHolder {
    /// `host:pid`, or the lock's whole value where it is not in the library's form.
    pub owner: String,
    /// How long the lock still lives unless it is renewed.
    pub remaining: std::time::Duration,
}

impl std::fmt::Display for LockHolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}, {:.1} s left",
            self.owner,
            self.remaining.as_secs_f64()
        )
    }
}
