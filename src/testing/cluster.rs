//! A private temporary Cluster.

use super::{
    Server, ServerBinary, ServerOptions,
    server::BUS_OFFSET,
    wait::{self, ask, until},
};
use crate::model::limits::SLOTS;
use std::{io, ops::Range};

const PRIMARIES: usize = 3;
/// The number of keys moved by one MIGRATE; then its time-out, in ms.
const MIGRATE_KEYS: &str = "100";
const MIGRATE_TIMEOUT_MS: &str = "5000";

/// A private Cluster of six servers on 127.0.0.1: nodes 0 to 2 start as primaries, nodes 3 to 5 as
/// their replicas.
///
/// If a primary is away for two seconds, its replica replaces it. Dropping the Cluster kills it.
///
/// # Examples
/// ```no_run
/// use cachetx::testing::{Cluster, ServerBinary};
///
/// if let Some(binary) = ServerBinary::any() {
///     let cluster = Cluster::start(binary)?;
///     println!("connect to {:?}", cluster.urls());
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    /// Starts six servers, and waits until they form one Cluster and every replica is in sync.
    ///
    /// # Errors
    /// A server does not start, or the nodes do not agree in time.
    pub fn start(binary: &ServerBinary) -> io::Result<Self> {
        Self::start_with(binary, ServerOptions::new())
    }

    /// The same with options for every server.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(binary: &ServerBinary, options: ServerOptions) -> io::Result<Self> {
        let (name, value) = wait::FAST_SYNC;
        let options = options
            .config("cluster-node-timeout", "2000")
            // A replica takes over however long it has not heard from its primary: a slow machine
            // must not fail a test.
            .config("cluster-replica-validity-factor", "0")
            .config(name, value)
            .cluster_node();
        let nodes: io::Result<Vec<_>> = (0..2 * PRIMARIES)
            .map(|_| options.clone().start(binary))
            .collect();
        let cluster = Self { nodes: nodes? };
        cluster.join()?;
        Ok(cluster)
    }

    fn join(&self) -> io::Result<()> {
        for n in 0..self.nodes.len() {
            // Different epochs from the start, so that nodes have no conflicts to resolve later.
            self.ask::<()>(n, &["CLUSTER", "SET-CONFIG-EPOCH", &(n + 1).to_string()])?;
        }
        for n in 0..PRIMARIES {
            let slots: Vec<String> = slots_of(n).map(|slot| slot.to_string()).collect();
            let mut words = vec!["CLUSTER", "ADDSLOTS"];
            words.extend(slots.iter().map(String::as_str));
            self.ask::<()>(n, &words)?;
        }
        for node in &self.nodes[1..] {
            let port = node.port().to_string();
            self.ask::<()>(0, &["CLUSTER", "MEET", "127.0.0.1", &port])?;
        }
        // With proxies, a node that was met by its own port announces its proxy's port soon after.
        let ports: Vec<u16> = self.nodes.iter().map(Server::announced_port).collect();
        let known = |row: &&Row| row.is_met() && ports.contains(&row.port);
        until("the nodes have met", || {
            self.everywhere(|n| Ok(self.table(n)?.iter().filter(known).count() == ports.len()))
        })?;
        for n in PRIMARIES..self.nodes.len() {
            let primary = self.id(n - PRIMARIES)?;
            self.ask::<()>(n, &["CLUSTER", "REPLICATE", &primary])?;
        }
        self.until_whole()
    }

    /// The URLs of all nodes.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Server::url).collect()
    }

    /// A node, 0 to 5.
    ///
    /// # Panics
    /// No node has that number.
    #[must_use]
    pub fn node(&self, n: usize) -> &Server {
        &self.nodes[n]
    }

    /// A node, to be killed or restarted.
    ///
    /// # Panics
    /// No node has that number.
    pub fn node_mut(&mut self, n: usize) -> &mut Server {
        &mut self.nodes[n]
    }

    /// A key's hash slot.
    ///
    /// # Errors
    /// No node answers.
    pub fn slot(&self, key: &str) -> io::Result<u16> {
        let n = self.running().next().ok_or(io::ErrorKind::NotConnected)?;
        self.ask(n, &["CLUSTER", "KEYSLOT", key])
    }

    /// The node that serves a slot, according to the running nodes; `None` if they do not agree, or
    /// the slot is down.
    ///
    /// # Errors
    /// A running node does not answer.
    pub fn owner(&self, slot: u16) -> io::Result<Option<usize>> {
        let mut owners = Vec::new();
        for n in self.running() {
            let row = self.table(n)?.into_iter().find(|row| row.serves(slot));
            owners.push(row.map(|row| row.port));
        }
        owners.dedup();
        let [Some(port)] = owners[..] else {
            return Ok(None);
        };
        Ok(self
            .running()
            .find(|n| self.nodes[*n].announced_port() == port))
    }

    /// A running replica of a node.
    ///
    /// # Errors
    /// A running node does not answer.
    pub fn replica_of(&self, primary: usize) -> io::Result<Option<usize>> {
        let port = self.nodes[primary].announced_port().to_string();
        for n in self.running().filter(|n| *n != primary) {
            if wait::replication(&self.nodes[n], "master_port")?.as_deref() == Some(&port) {
                return Ok(Some(n));
            }
        }
        Ok(None)
    }

    /// Makes a replica take over from its running primary (`CLUSTER FAILOVER`). Returns the new
    /// primary.
    ///
    /// # Errors
    /// No replica runs, or it does not take over in time.
    pub fn fail_over(&self, primary: usize) -> io::Result<usize> {
        let replica = self.replica_of(primary)?.ok_or(io::ErrorKind::NotFound)?;
        let is_primary =
            || Ok(wait::replication(&self.nodes[replica], "role")?.as_deref() == Some("master"));
        let mut asked = 0;
        until("the replica has taken over", || {
            // A replica abandons an election that it has not won in time, so it is asked again.
            if asked % 500 == 0 {
                self.ask::<()>(replica, &["CLUSTER", "FAILOVER"])?;
            }
            asked += 1;
            is_primary()
        })?;
        Ok(replica)
    }

    /// Waits until every running node reports that all slots are served, and its replicas are in
    /// sync.
    ///
    /// # Errors
    /// This does not happen in time.
    pub fn until_whole(&self) -> io::Result<()> {
        until("the Cluster is whole", || {
            self.everywhere(|n| {
                let info: String = self.ask(n, &["CLUSTER", "INFO"])?;
                let replica =
                    wait::replication(&self.nodes[n], "role")?.as_deref() == Some("slave");
                Ok(info.contains("cluster_state:ok")
                    && (!replica || wait::follows(&self.nodes[n])?))
            })
        })
    }

    /// Starts to move a slot: its owner answers ASK for keys that it no longer has, and TRYAGAIN if
    /// it has only some of them.
    ///
    /// # Errors
    /// A node refuses.
    pub fn begin_migration(&self, slot: u16, from: usize, to: usize) -> io::Result<()> {
        let (from_id, to_id) = (self.id(from)?, self.id(to)?);
        let slot = slot.to_string();
        self.ask::<()>(to, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id])?;
        self.ask::<()>(from, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id])
    }

    /// Moves the keys that the slot has now. Returns their number.
    ///
    /// # Errors
    /// A node refuses.
    pub fn migrate_keys(&self, slot: u16, from: usize, to: usize) -> io::Result<usize> {
        let (port, slot) = (self.nodes[to].port().to_string(), slot.to_string());
        let mut moved = 0;
        loop {
            let keys: Vec<String> =
                self.ask(from, &["CLUSTER", "GETKEYSINSLOT", &slot, MIGRATE_KEYS])?;
            if keys.is_empty() {
                return Ok(moved);
            }
            moved += keys.len();
            let mut words = vec!["MIGRATE", "127.0.0.1", &port, "", "0", MIGRATE_TIMEOUT_MS];
            words.push("KEYS");
            words.extend(keys.iter().map(String::as_str));
            self.ask::<()>(from, &words)?;
        }
    }

    /// Ends the move, and waits until every node knows about it.
    ///
    /// # Errors
    /// A node refuses, or the nodes do not agree in time.
    pub fn end_migration(&self, slot: u16, from: usize, to: usize) -> io::Result<()> {
        let id = self.id(to)?;
        let text = slot.to_string();
        // The new owner first: from then on it no longer redirects to the old one.
        for n in [to, from] {
            self.ask::<()>(n, &["CLUSTER", "SETSLOT", &text, "NODE", &id])?;
        }
        until("every node knows the slot's new owner", || {
            Ok(self.owner(slot)? == Some(to))
        })
    }

    fn running(&self) -> impl Iterator<Item = usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].pid().is_some())
    }

    fn everywhere(&self, mut holds: impl FnMut(usize) -> io::Result<bool>) -> io::Result<bool> {
        for n in self.running() {
            if !holds(n)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn ask<T: redis::FromRedisValue>(&self, n: usize, words: &[&str]) -> io::Result<T> {
        ask(&self.nodes[n], words)
    }

    fn id(&self, n: usize) -> io::Result<String> {
        self.ask(n, &["CLUSTER", "MYID"])
    }

    /// A node's view of all nodes.
    fn table(&self, n: usize) -> io::Result<Vec<Row>> {
        let text: String = self.ask(n, &["CLUSTER", "NODES"])?;
        Ok(text.lines().filter_map(Row::parse).collect())
    }
}

fn slots_of(primary: usize) -> Range<u16> {
    let part = |n: usize| u16::try_from(usize::from(SLOTS) * n / PRIMARIES).unwrap_or(SLOTS);
    part(primary)..part(primary + 1)
}

/// A line of CLUSTER NODES.
struct Row {
    port: u16,
    flags: String,
    slots: Vec<(u16, u16)>,
}

impl Row {
    fn parse(line: &str) -> Option<Self> {
        let words: Vec<&str> = line.split(' ').collect();
        let mut ports = words.get(1)?.split(['@', ',']);
        let port: u16 = ports.next()?.rsplit_once(':')?.1.parse().ok()?;
        let bus: u16 = ports.next()?.parse().ok()?;
        let slots = words.iter().skip(8).filter(|word| !word.starts_with('['));
        let range = |word: &&str| {
            let (first, last) = word.split_once('-').unwrap_or((word, word));
            Some((first.parse().ok()?, last.parse().ok()?))
        };
        Some(Self {
            // Zero if the node only has a TLS port.
            port: match port {
                0 => bus.checked_sub(BUS_OFFSET)?,
                port => port,
            },
            flags: (*words.get(2)?).to_owned(),
            slots: slots.filter_map(range).collect(),
        })
    }

    fn is_met(&self) -> bool {
        !self.flags.contains("handshake") && !self.flags.contains("noaddr")
    }

    fn serves(&self, slot: u16) -> bool {
        // `nofailover` is not a failure.
        let fails = |flag| matches!(flag, "fail" | "fail?");
        !self.flags.split(',').any(fails)
            && self
                .slots
                .iter()
                .any(|(first, last)| (*first..=*last).contains(&slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_primaries_share_all_slots() {
        assert_eq!(slots_of(0).start, 0);
        assert_eq!(slots_of(0).end, slots_of(1).start);
        assert_eq!(slots_of(1).end, slots_of(2).start);
        assert_eq!(slots_of(2).end, SLOTS);
    }

    #[test]
    fn a_line_of_cluster_nodes_is_read() {
        let line =
            "07c3 127.0.0.1:30004@40004,host master,fail? - 0 1 4 connected 0-5460 7 [93->-292f]";
        let row = Row::parse(line).unwrap();
        assert_eq!(row.port, 30_004);
        assert!(row.is_met() && !row.serves(7));
        assert_eq!(row.slots, [(0, 5_460), (7, 7)]);
        let tls = Row::parse(&line.replace(":30004", ":0")).unwrap();
        assert_eq!(tls.port, 30_004);
        let well = Row::parse(&line.replace("fail?", "nofailover")).unwrap();
        assert!(well.serves(7));
    }
}
