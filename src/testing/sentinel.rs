//! A private temporary primary with replicas, watched by sentinels.

use super::{
    Server, ServerBinary, ServerOptions,
    wait::{self, ask, until},
};
use std::io;

/// The name under which the sentinels know the primary.
const NAME: &str = "cachetx";
/// The number of servers, and of sentinels.
const THREE: usize = 3;

/// A private primary (server 0) with two replicas (servers 1 and 2), watched by three sentinels,
/// all on 127.0.0.1.
///
/// If a primary is away for a second, a replica replaces it. Dropping the trio kills all six.
///
/// # Examples
/// ```no_run
/// use cachetx::testing::{SentinelTrio, ServerBinary};
///
/// if let Some(binary) = ServerBinary::any() {
///     let trio = SentinelTrio::start(binary)?;
///     println!("ask {:?} for {}", trio.urls(), trio.name());
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct SentinelTrio {
    servers: Vec<Server>,
    sentinels: Vec<Server>,
}

impl SentinelTrio {
    /// Starts all six, and waits until the replicas are in sync and the sentinels know each other.
    ///
    /// # Errors
    /// A server does not start, or they do not agree in time.
    pub fn start(binary: &ServerBinary) -> io::Result<Self> {
        Self::start_with(binary, ServerOptions::new())
    }

    /// The same with options for every server. Of these, the sentinels only use TLS.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with(binary: &ServerBinary, options: ServerOptions) -> io::Result<Self> {
        let (name, value) = wait::FAST_SYNC;
        let options = options.config(name, value);
        let servers: io::Result<Vec<_>> =
            (0..THREE).map(|_| options.clone().start(binary)).collect();
        let servers = servers?;
        let port = servers[0].announced_port().to_string();
        for replica in &servers[1..] {
            ask::<()>(replica, &["REPLICAOF", "127.0.0.1", &port])?;
        }
        // Sentinels query the primary for its replicas only every ten seconds, but the first time
        // at once.
        until("the replicas follow", || {
            let known = wait::replication(&servers[0], "connected_slaves")?;
            Ok(known.as_deref() == Some("2")
                && wait::follows(&servers[1])?
                && wait::follows(&servers[2])?)
        })?;
        let watches = format!(
            "sentinel monitor {NAME} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {NAME} 1000\n\
             sentinel failover-timeout {NAME} 2500\n\
             sentinel parallel-syncs {NAME} 2\n"
        );
        let start = |_| options.sentinel(watches.clone()).start(binary);
        let sentinels: io::Result<Vec<_>> = (0..THREE).map(start).collect();
        let trio = Self {
            servers,
            sentinels: sentinels?,
        };
        until("the sentinels know all", || {
            for n in 0..THREE {
                if trio.field(n, "num-slaves")?.as_deref() != Some("2")
                    || trio.field(n, "num-other-sentinels")?.as_deref() != Some("2")
                {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        Ok(trio)
    }

    /// The name under which the sentinels know the primary.
    #[must_use]
    pub fn name(&self) -> &str {
        NAME
    }

    /// The URLs of the sentinels.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::url).collect()
    }

    /// One of the three servers, 0 to 2.
    ///
    /// # Panics
    /// No server has that number.
    #[must_use]
    pub fn server(&self, n: usize) -> &Server {
        &self.servers[n]
    }

    /// One of the three servers, to be killed or restarted.
    ///
    /// # Panics
    /// No server has that number.
    pub fn server_mut(&mut self, n: usize) -> &mut Server {
        &mut self.servers[n]
    }

    /// One of the three sentinels, to be killed or restarted.
    ///
    /// # Panics
    /// No sentinel has that number.
    pub fn sentinel_mut(&mut self, n: usize) -> &mut Server {
        &mut self.sentinels[n]
    }

    /// The server that every running sentinel names as the primary, and that reports to be it;
    /// `None` if they do not agree.
    ///
    /// # Errors
    /// A running sentinel does not answer.
    pub fn primary(&self) -> io::Result<Option<usize>> {
        let mut ports = Vec::new();
        for sentinel in self.sentinels.iter().filter(|s| s.pid().is_some()) {
            let address: (String, u16) =
                ask(sentinel, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME])?;
            ports.push(address.1);
        }
        ports.dedup();
        let [port] = ports[..] else { return Ok(None) };
        let named = |server: &&Server| server.announced_port() == port && server.pid().is_some();
        let Some(server) = self.servers.iter().find(named) else {
            return Ok(None);
        };
        let role = wait::replication(server, "role")?;
        let is_primary = role.as_deref() == Some("master");
        Ok(self
            .servers
            .iter()
            .position(|s| is_primary && s.announced_port() == port))
    }

    /// Makes the sentinels replace the running primary (`SENTINEL FAILOVER`), and waits until all
    /// agree on the new one and the others follow it.
    ///
    /// # Errors
    /// This does not happen in time.
    pub fn fail_over(&self) -> io::Result<usize> {
        let before = self.primary()?;
        let mut asked = 0;
        let mut after = None;
        until("the primary was replaced", || {
            // Refused while no replica is known to be good, and abandoned if the promotion takes
            // too long.
            if asked % 500 == 0 {
                let _ = ask::<()>(&self.sentinels[0], &["SENTINEL", "FAILOVER", NAME]);
            }
            asked += 1;
            after = self.primary()?;
            Ok(after.is_some() && after != before)
        })?;
        // The old primary accepts writes until a sentinel reconfigures it, and then loses them.
        until("the other servers follow", || {
            for (n, server) in self.servers.iter().enumerate() {
                if Some(n) != after && server.pid().is_some() && !wait::follows(server)? {
                    return Ok(false);
                }
            }
            Ok(true)
        })?;
        after.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// A field of a sentinel's information about the primary.
    fn field(&self, n: usize, name: &str) -> io::Result<Option<String>> {
        let all: Vec<String> = ask(&self.sentinels[n], &["SENTINEL", "MASTER", NAME])?;
        let mut pairs = all.chunks(2);
        Ok(pairs
            .find(|pair| pair[0] == name)
            .and_then(|pair| pair.get(1).cloned()))
    }
}
