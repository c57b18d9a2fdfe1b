//! `kill -9` of a transaction, and of whoever finishes it, at each of their steps; and a pause there while others save the same
//! documents: all of them are saved or none, nothing newer is overwritten, and nothing is left lying about.
#![cfg(all(feature = "testing", unix))]

mod bed;
mod foreign;
mod kill;
mod pause;
mod stuck;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/trio.rs"]
mod trio;
