//! Where an operation goes.

use std::time::Duration;

/// What an operation needs from the topology.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Route {
    /// Of its keys, in a Cluster.
    pub(super) slot: Option<u16>,
    /// How long it waits for servers that do not know yet which of them has the keys.
    pub(super) patience: Duration,
}
