//! The server away, slow, or losing replies: outcomes, the outbox, the circuit breaker.
#![cfg(feature = "testing")]

#[cfg(target_os = "linux")]
mod all_dead;
mod boot_warnings;
mod breaker;
mod credentials;
mod cut_replies;
mod held_back;
#[cfg(target_os = "linux")]
mod interrupted;
mod outage;
mod outbox;
mod outbox_processes;
mod outbox_servers;
mod server_state;
#[path = "../support/mod.rs"]
mod support;
mod while_away;
