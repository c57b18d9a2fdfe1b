//! Which server has a key: the one of the URL, a Cluster's node, or the primary that sentinels
//! know.
//!
//! The client library's own Cluster and Sentinel clients are not used. They send a write again if
//! its reply is lost; here a lost reply is `Unknown`, and the protocol decides. A script's loading
//! and its call must reach the same node. And their connections wait without a bound.

mod cluster;
mod route;
mod search;
mod sentinel;
mod slots;
mod turns;

use super::{
    config::{ServerConfig, TopologyConfig},
    counters::Counters,
    net::Net,
    node::{Asking, Node, Work},
    redirect::{Cause, Redirect},
};
use crate::{
    model::{Error, Result, counted, error::Kind, limits},
    op::{Fault, Op, Space},
};
use cluster::Cluster;
use route::Route;
use sentinel::Sentinel;
use std::{ops::RangeInclusive, sync::Arc, time::Duration};

/// Reads an answer to CLUSTER SLOTS.
#[cfg(feature = "testing")]
pub(super) fn read_slots(answer: &redis::Value) {
    drop(slots::parse(answer, None));
}

/// Which server has a key.
pub(super) enum Topology {
    Single(Arc<Node>),
    Cluster(Box<Cluster>),
    Sentinel(Box<Sentinel>),
}

impl Topology {
    /// Connects nothing yet.
    pub(super) fn new(config: ServerConfig, counters: Arc<Counters>) -> Result<Self> {
        config.check_options()?;
        Ok(match config.topology.clone() {
            TopologyConfig::Single => Self::Single(Arc::new(Node::new(config, counters)?)),
            TopologyConfig::Cluster { seeds } => {
                Self::Cluster(Box::new(Cluster::new(&config, &seeds, counters)?))
            }
            TopologyConfig::Sentinel { name, urls } => {
                Self::Sentinel(Box::new(Sentinel::new(&config, &name, &urls, counters)?))
            }
        })
    }

    pub(super) fn space(&self) -> Space {
        match self {
            Self::Cluster(_) => Space::Slots,
            Self::Single(_) | Self::Sentinel(_) => Space::Whole,
        }
    }

    /// For an operation that any server that takes writes can run.
    pub(super) fn anywhere(patience: Duration) -> Route {
        let slot = None;
        Route { slot, patience }
    }

    /// Where an operation goes. If its keys are in several slots, it is refused.
    pub(super) fn route(&self, op: &Op, patience: Duration) -> Result<Route, Fault> {
        let slot = match self.space() {
            Space::Slots => op.slot().map_err(Fault::NotDone)?,
            Space::Whole => None,
        };
        let patience = match op {
            // A reader can read the file instead.
            Op::Read(_) => Duration::ZERO,
            _ => patience,
        };
        Ok(Route { slot, patience })
    }

    /// Runs `work` on the server that has the keys. `work` may run several times, so it must be
    /// safe to repeat.
    pub(super) async fn with<W: Work>(
        &self,
        net: Net,
        route: Route,
        work: &mut W,
    ) -> Result<W::Done, Fault> {
        match self {
            Self::Single(node) => {
                let done = node.attempt(net, Asking::No, work).await;
                done.map_err(|miss| match miss.cause {
                    Cause::Elsewhere(Redirect::Moved(_) | Redirect::Ask(_)) => {
                        let may_be_done = miss.fault.is_unknown();
                        let said = is_a_cluster(node, &miss.fault.into_error());
                        Fault::NotDone(said).after(may_be_done)
                    }
                    _ => miss.fault,
                })
            }
            Self::Cluster(cluster) => cluster.with(net, route, work).await,
            Self::Sentinel(sentinel) => sentinel.with(net, route, work).await,
        }
    }

    /// Every server that takes writes.
    pub(super) async fn primaries(&self, net: Net) -> Result<Vec<Arc<Node>>> {
        match self {
            Self::Single(node) => Ok(vec![Arc::clone(node)]),
            Self::Cluster(cluster) => cluster.primaries(net).await,
            Self::Sentinel(sentinel) => Ok(vec![sentinel.primary(net).await?]),
        }
    }

    /// Every server that takes writes, with the hash slots of its keys. If several name a slot, the
    /// first one counts.
    pub(super) async fn served(&self, net: Net) -> Result<Vec<(RangeInclusive<u16>, Arc<Node>)>> {
        let all = 0..=limits::SLOTS - 1;
        match self {
            Self::Single(node) => Ok(vec![(all, Arc::clone(node))]),
            Self::Cluster(cluster) => cluster.served(net).await,
            Self::Sentinel(sentinel) => Ok(vec![(all, sentinel.primary(net).await?)]),
        }
    }

    /// Called if a primary cannot be reached or has been demoted: the next caller asks the
    /// sentinels. In a Cluster this does nothing: callers with keys for a node find out themselves.
    pub(super) fn doubt(&self, node: &Arc<Node>) {
        if let Self::Sentinel(sentinel) = self {
            sentinel.doubt(node);
        }
    }

    /// The known servers, without a request.
    pub(super) fn known(&self) -> Vec<Arc<Node>> {
        match self {
            Self::Single(node) => vec![Arc::clone(node)],
            Self::Cluster(cluster) => cluster.known(),
            Self::Sentinel(sentinel) => sentinel.known().into_iter().collect(),
        }
    }

    /// `single`, `cluster of 3 primaries`, `sentinel mymaster`.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Single(_) => "single".to_owned(),
            Self::Cluster(cluster) => {
                let known = cluster.known().len();
                format!("cluster of {}", counted(known, "primary", "primaries"))
            }
            Self::Sentinel(sentinel) => format!("sentinel {}", sentinel.name()),
        }
    }
}

fn is_a_cluster(node: &Node, said: &Error) -> Error {
    let address = node.shown_url();
    Error::new(Kind::Server {
        message: format!(
            "{address} is a Cluster's node, which CacheBuilder::cluster is for: {said}"
        ),
    })
}
