//! Values that are loaded under leases, invalidated around changes, and deleted again after a restart of the server.
#![cfg(feature = "testing")]

mod around;
mod echo;
mod fill;
mod get_or_load;
mod late_loader;
mod load_options;
mod nested;
#[path = "../support/mod.rs"]
mod support;
mod ttl_jitter;
