//! Servers behind proxies.

use super::{
    plan::Trouble,
    support::{self, key},
};
use cachetx::{
    CacheBuilder, Engine,
    testing::{Cluster, Proxy, SentinelTrio, Server, ServerBinary, ServerOptions, WireFault},
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::SeqCst},
};
use tempfile::TempDir;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topology {
    Single,
    Cluster,
    Sentinel,
}

/// Servers with a proxy before each, and a folder.
pub struct Bed {
    servers: Servers,
    pub root: TempDir,
}

enum Servers {
    Single(Box<Server>),
    /// And the node that has the document's slot.
    Cluster(Cluster, usize),
    Sentinel(SentinelTrio),
}

impl Bed {
    /// No primary is ever replaced here, however busy the machine: what a server has counted stays comparable.
    pub fn start(topology: Topology, binary: &ServerBinary) -> Self {
        let options = ServerOptions::new()
            .proxied()
            .config("notify-keyspace-events", "K$g");
        let servers = match topology {
            Topology::Single => {
                let server = options.start(binary).expect("the server starts");
                Servers::Single(Box::new(server))
            }
            Topology::Cluster => {
                let options = options.config("cluster-replica-no-failover", "yes");
                let cluster = Cluster::start_with(binary, options).expect("a Cluster");
                let slot = cluster.slot(&key("climate")).expect("a slot");
                let owner = cluster.owner(slot).expect("nodes answer");
                Servers::Cluster(cluster, owner.expect("they agree"))
            }
            Topology::Sentinel => {
                let options = options.config("replica-priority", "0");
                let trio = SentinelTrio::start_with(binary, options);
                Servers::Sentinel(trio.expect("a primary, replicas and sentinels"))
            }
        };
        Self {
            servers,
            root: TempDir::new().expect("a temporary folder"),
        }
    }

    /// The library's way in: every server that it writes to is behind its proxy.
    pub fn cache(&self) -> CacheBuilder {
        let builder = support::cache_builder();
        let proxied = |server: &Server| server.proxy().expect("it has one").url();
        match &self.servers {
            Servers::Single(server) => builder.url(proxied(server)),
            Servers::Cluster(cluster, _) => {
                builder.cluster((0..2).map(|n| proxied(cluster.node(n))))
            }
            Servers::Sentinel(trio) => builder.sentinel(trio.name(), trio.urls()),
        }
    }

    /// The one that has the document's keys.
    pub fn primary(&self) -> &Server {
        match &self.servers {
            Servers::Single(server) => server,
            Servers::Cluster(cluster, owner) => cluster.node(*owner),
            Servers::Sentinel(trio) => trio.server(0),
        }
    }

    /// Those that copy it.
    pub fn replicas(&self) -> Vec<&Server> {
        match &self.servers {
            Servers::Single(_) => Vec::new(),
            Servers::Cluster(cluster, owner) => {
                let replica = cluster.replica_of(*owner).expect("nodes answer");
                vec![cluster.node(replica.expect("it has one"))]
            }
            Servers::Sentinel(trio) => vec![trio.server(1), trio.server(2)],
        }
    }

    pub fn wire(&self) -> Wire {
        let servers: Vec<&Server> = match &self.servers {
            Servers::Single(server) => vec![server],
            Servers::Cluster(cluster, _) => (0..6).map(|n| cluster.node(n)).collect(),
            Servers::Sentinel(trio) => (0..3).map(|n| trio.server(n)).collect(),
        };
        let proxies = servers.into_iter().filter_map(Server::proxy).cloned();
        Wire {
            proxies: proxies.collect(),
            armed: AtomicU64::new(0),
            struck: AtomicU64::new(0),
        }
    }

    /// A plain client of the primary, past its proxy.
    pub fn redis(&self) -> redis::Connection {
        connect(self.primary())
    }

    /// A plain client of a replica, which may be read from.
    pub fn copy(&self, replica: &Server) -> redis::Connection {
        let mut redis = connect(replica);
        if let Servers::Cluster(..) = self.servers {
            redis::cmd("READONLY").exec(&mut redis).expect("READONLY");
        }
        redis
    }
}

fn connect(server: &Server) -> redis::Connection {
    redis::Client::open(server.url())
        .and_then(|client| client.get_connection())
        .expect("a connection")
}

/// More requests than the library makes between a save and the look at what it did.
const BLOCKED: u32 = 1_000;

/// The proxies of a bed. Which server an operation goes to is the library's choice, so all are armed.
pub struct Wire {
    proxies: Vec<Arc<Proxy>>,
    /// Faults that each of them was given.
    armed: AtomicU64,
    struck: AtomicU64,
}

impl Wire {
    /// Does this to the requests that come next, not to what servers say to each other.
    pub fn arm(&self, trouble: Trouble, engine: Engine) {
        for proxy in &self.proxies {
            (0..trouble.times)
                .for_each(|_| proxy.inject_at(trouble.fault, &trouble.needle(engine)));
        }
        self.armed.store(trouble.times, SeqCst);
    }

    /// Lets nothing about the document through until it is cleared.
    pub fn block(&self) {
        for proxy in &self.proxies {
            (0..BLOCKED)
                .for_each(|_| proxy.inject_at(WireFault::DropRequest, key("climate").as_bytes()));
        }
    }

    pub fn clear(&self) {
        let armed = self.armed.swap(0, SeqCst);
        for proxy in &self.proxies {
            let met = armed.saturating_sub(proxy.pending() as u64);
            self.struck.fetch_add(met, SeqCst);
            proxy.disarm();
        }
    }

    /// Faults that met their request.
    pub fn struck(&self) -> u64 {
        self.struck.load(SeqCst)
    }
}
