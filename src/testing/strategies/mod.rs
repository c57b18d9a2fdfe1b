//! Strategies for [`proptest`]: rules files, params, task lists, and broken ones of each; histories
//! of saves and loads.
//!
//! The library's own properties use these. Test your own rules with [`params`], [`tasks()`] and
//! [`histories`], and programs that write or read rules files with [`rules`] and [`hostile_rules`].
//!
//! # Examples
//!
//! For every run id, a climate build deletes only under the program's prefix, and never the
//! elevation data:
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
