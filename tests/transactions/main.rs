//! Several documents saved as one: all or none, whichever process dies or halts at whichever step,
//! and nothing newer is overwritten.
#![cfg(feature = "testing")]

mod bed;
mod foreign;
mod kill;
#[cfg(target_os = "linux")]
mod obstacles;
mod pause;
mod stuck;
#[path = "../support/mod.rs"]
mod support;
mod transaction;
mod transaction_sums;
mod tuples;
