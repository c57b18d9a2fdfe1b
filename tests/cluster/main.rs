//! A Cluster: operations on every slot, keys that cannot meet in one step, slots that move, scripts that are lost.
#![cfg(feature = "testing")]

mod bed;
mod moving;
mod operator;
mod saves;
mod slots;
#[path = "../support/mod.rs"]
mod support;
mod transactions;
