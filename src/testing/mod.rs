//! What the library's own tests use and its users can use too (feature `testing`).
//!
//! - [`Server`]: a private temporary Redis or Valkey, ended with the test, even if the test is
//!   killed.
//! - [`Cluster`]: three primaries with a replica each; [`SentinelTrio`]: a primary, two replicas,
//!   three sentinels.
//! - [`ServerBinary`]: the servers that are installed on this machine (`make servers` fetches
//!   them).
//! - [`MemoryServer`]: a server inside the process, which can be stopped and whose time can be
//!   advanced.
//! - [`Proxy`]: stands between a client and a server; counts round trips on the wire, and loses
//!   replies on demand.
//! - [`RulesCheck`]: checks for a user's own rules, a line each. `ModelCheck` (feature
//!   `strategies`): tests rules and loaders against random histories.
//! - [`RulesFile`]: a rules file as data; `strategies` (feature `strategies`): such files and
//!   params for property tests, valid and hostile ones.

mod binary;
mod check;
mod cluster;
mod fileless;
#[doc(hidden)]
pub mod fuzz;
#[cfg(feature = "strategies")]
mod model;
mod proxy;
mod rules_file;
#[cfg(feature = "strategies")]
mod runner;
mod sentinel;
mod server;
#[cfg(feature = "strategies")]
#[cfg_attr(docsrs, doc(cfg(feature = "strategies")))]
pub mod strategies;
mod tls;
mod wait;
mod wire;

pub use crate::engine::MemoryServer;
pub use binary::{Flavour, ServerBinary};
pub use check::RulesCheck;
pub use cluster::Cluster;
#[doc(hidden)]
pub use fileless::FilelessDocument;
#[cfg(feature = "strategies")]
#[cfg_attr(docsrs, doc(cfg(feature = "strategies")))]
pub use model::{ModelCheck, Truth, Wanted};
pub use proxy::{Proxy, Traffic, WireFault};
pub use rules_file::{RulesController, RulesFile, RulesTask, RulesVersion};
pub use sentinel::SentinelTrio;
pub use server::{Server, ServerOptions};
