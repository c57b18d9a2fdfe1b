//! What is measured: one document with dependents, the ways to save it, and what a save costs
//! besides time. Shared by `benches/performance` and `tests/counts`.

pub mod by_hand;
pub mod callgrind;
pub mod commands;
pub mod counts;
pub mod library;
pub mod python;
pub mod scene;
pub mod subject;
pub mod way;
