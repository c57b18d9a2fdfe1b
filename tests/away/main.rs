//! The server away, slow, or losing replies: outcomes, the outbox, the circuit breaker.
#![cfg(feature = "testing")]

mod breaker;
mod credentials;
mod cut_replies;
mod held_back;
mod outage;
mod outbox;
mod outbox_processes;
mod server_state;
#[path = "../support/mod.rs"]
mod support;
mod while_away;
