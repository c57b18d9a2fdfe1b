//! Saves of one document: what holds after each, also after kill -9, and for programs in other
//! languages.
#![cfg(feature = "testing")]

mod counter;
mod crash_safe;
mod foreign_client;
mod foreign_set;
mod in_memory;
mod kill;
mod no_lost_save;
mod races;
mod reload;
#[cfg(feature = "watch")]
mod rules_watch;
mod save;
mod servers_table;
mod shop;
#[path = "../support/mod.rs"]
mod support;
mod update;
mod wire;
