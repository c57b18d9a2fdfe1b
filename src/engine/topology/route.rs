//! Where an operation goes.

use std::time::Duration;

/// What an operation needs from the topology.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine) struct Route {
    /// The slot of its keys, in a Cluster.
    pub(super) slot: Option<u16>,
    /// How long it waits while the servers do not agree yet which of them has the keys.
    pub(super) patience: Duration,
}
