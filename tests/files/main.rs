//! Documents on disk and in memory: attributes, hostile files, stamps, snapshots, foreign JSON kept
//! as its text.
#![cfg(feature = "testing")]

mod file_attributes;
mod hostile;
#[cfg(target_os = "linux")]
mod hot_read;
mod identity;
mod new_root;
mod numbers;
mod raw_object;
#[cfg(target_os = "linux")]
mod rights;
mod snapshot;
mod stamps;
#[path = "../support/mod.rs"]
mod support;
#[cfg(target_os = "linux")]
mod unsyncable;
