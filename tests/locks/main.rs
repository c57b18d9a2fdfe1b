//! Locks: who waits, who is woken, what keeps them alive, who holds them.
#![cfg(feature = "testing")]

mod keep_alive;
mod lock;
mod lock_database;
mod lock_holders;
mod lock_lost;
mod lock_wait;
#[path = "../support/mod.rs"]
mod support;
