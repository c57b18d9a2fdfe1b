//! A Cluster: operations on every slot, keys that cannot meet in one step, slots that move, scripts that are lost. And
//! failovers there and behind Sentinel.
#![cfg(feature = "testing")]

mod bed;
mod cluster_failover;
mod credentials;
mod databases;
mod echo;
mod moving;
mod operator;
mod saves;
mod sentinel;
mod slots;
#[path = "../support/mod.rs"]
mod support;
mod transactions;
