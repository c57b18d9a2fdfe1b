//! Several documents saved as one: all or none, whoever dies or stands still at whichever step, and nothing newer
//! overwritten.
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
