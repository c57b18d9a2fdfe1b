//! The tables of the document, each with its text.

pub mod client;
pub mod cpu;
pub mod disk;
pub mod memory;
pub mod reads;
pub mod rules;
pub mod saves;
pub mod tasks;
pub mod throughput;
pub mod wakes;
