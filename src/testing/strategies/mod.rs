//! Strategies of [`proptest`]: rules files, params, task lists, and broken ones of each; histories of saves and loads.
//!
//! The library's own properties are built on these. Rules of one's own can be tested with [`params`], [`tasks()`] and
//! [`histories`], programs that write or read rules files with [`rules`] and [`hostile_rules`].
//!
//! # Examples
//!
//! Whatever a run is called, a climate build deletes under the program's prefix only, and never the elevation data:
//! ```
//! use cachetx::{Rules, testing::strategies};
//! use proptest::{prelude::*, test_runner::TestRunner};
//!
//! let rules = Rules::from_path("rules/nodb.json")?;
//! TestRunner::default().run(&strategies::params(&rules), |params| {
//!     for entry in rules.expand(["build_climate"], &params)?.entries() {
//!         prop_assert!(entry.key.starts_with("nodb_cache:"));
//!         prop_assert!(entry.controller != "topaz");
//!     }
//!     Ok(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod history;
mod hostile;
mod params;
mod rules;
mod template;

pub use history::{HistoryStep, histories, hostile_tasks, tasks};
pub use hostile::hostile_rules;
pub use params::{hostile_params, near_params, params};
pub use rules::rules;
