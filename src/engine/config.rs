//! Where a server is and how to connect to it.

use super::{
    CredentialsSource, Engine, TlsOptions,
    address::Address,
    link::{self, Target, Way},
};
use crate::{
    model::{Error, Result, error::Kind, limits},
    rules::LiveRules,
};
use std::{fmt, sync::Arc, time::Duration};

/// How to connect, and how operations run on the connection.
#[derive(Clone)]
pub(crate) struct ServerConfig {
    /// `redis://`, `rediss://` or `redis+unix://`, with credentials and database number.
    pub(crate) url: String,
    /// Replaces the URL.
    #[cfg(feature = "redis-1")]
    pub(crate) client: Option<redis::Client>,
    /// Which servers there are besides the one of the URL.
    pub(crate) topology: TopologyConfig,
    /// Where the topology found the server. Replaces the URL's host and port.
    pub(super) address: Option<Address>,
    /// Refuse a server that is not a primary.
    pub(super) primary_only: bool,
    pub(crate) engine: Engine,
    /// The database of locks and fences; `None` is the cache's own.
    pub(crate) lock_database: Option<u32>,
    /// What a boot reports on.
    pub(crate) rules: Option<Arc<LiveRules>>,
    /// Whether a boot leaves a notice of these rules for other boots.
    pub(crate) leaves_notice: bool,
    /// For TCP, TLS, AUTH and SELECT together; not for the name lookup.
    pub(crate) connect_timeout: Duration,
    /// For each write and each read.
    pub(crate) response_timeout: Duration,
    /// The most connections.
    pub(crate) pool_size: u32,
    /// For URLs that mean TLS.
    pub(crate) tls: TlsOptions,
    /// Replaces the URL's user and password.
    pub(crate) credentials: Option<CredentialsSource>,
    /// The same for sentinels.
    pub(crate) sentinel_credentials: Option<CredentialsSource>,
}

/// How the server that has a key is found.
#[derive(Clone)]
pub(crate) enum TopologyConfig {
    /// The one of the URL.
    Single,
    /// The nodes of a Cluster know each other; these are some of them, to start with.
    Cluster { seeds: Vec<String> },
    /// Sentinels know the primary of this name; the URL says how to log in there.
    Sentinel { name: String, urls: Vec<String> },
}

impl ServerConfig {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            #[cfg(feature = "redis-1")]
            client: None,
            topology: TopologyConfig::Single,
            address: None,
            primary_only: false,
            engine: Engine::default(),
            lock_database: None,
            rules: None,
            leaves_notice: true,
            connect_timeout: limits::DEFAULT_CONNECT_TIMEOUT,
            response_timeout: limits::DEFAULT_RESPONSE_TIMEOUT,
            pool_size: limits::DEFAULT_POOL_SIZE,
            tls: TlsOptions::default(),
            credentials: None,
            sentinel_credentials: None,
        }
    }

    /// The database number in the URL.
    pub(super) fn database(&self) -> Result<u32> {
        Ok(self.way()?.database)
    }

    /// The same configuration at another address.
    pub(super) fn at(&self, address: &Address) -> Self {
        Self {
            address: Some(address.clone()),
            ..self.clone()
        }
    }

    /// The same configuration with another URL, for one server.
    pub(super) fn single(&self, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            topology: TopologyConfig::Single,
            ..self.clone()
        }
    }

    /// For a sentinel, which has its own users and passwords, and TLS or none.
    pub(super) fn sentinel(&self, url: &str) -> Self {
        let tls = match link::is_tls(url) {
            true => self.tls.clone(),
            false => TlsOptions::default(),
        };
        Self {
            tls,
            credentials: self.sentinel_credentials.clone(),
            ..self.single(url)
        }
    }

    /// How long an operation waits while the servers do not agree yet which of them has the keys.
    pub(super) fn patience(&self) -> Duration {
        self.connect_timeout.saturating_add(self.response_timeout)
    }

    /// The server's address, without secrets.
    pub(super) fn shown(&self) -> String {
        #[cfg(feature = "redis-1")]
        if let Some(client) = &self.client {
            return client.get_connection_info().addr().to_string();
        }
        match &self.address {
            Some(address) => address.to_string(),
            None => redacted(&self.url),
        }
    }

    /// Tells the server from others, whatever the user and password; `None` if it is not known. All
    /// Clusters have the same identity, since each process may name other nodes.
    pub(crate) fn identity(&self) -> Option<String> {
        let way = self.way().ok();
        let database = way.as_ref().map_or(0, |way| way.database);
        Some(match &self.topology {
            TopologyConfig::Cluster { .. } => format!("cluster/{database}"),
            TopologyConfig::Sentinel { name, .. } => format!("sentinel {name}/{database}"),
            TopologyConfig::Single => match way?.target {
                Target::Unix(path) => format!("{}/{database}", path.display()),
                Target::Tcp(Address { host, port }) => match host.to_ascii_lowercase().as_str() {
                    "localhost" => format!("127.0.0.1:{port}/{database}"),
                    host => format!("{host}:{port}/{database}"),
                },
            },
        })
    }

    fn check(&self) -> Result<(), &'static str> {
        match self.url.is_empty() {
            true => Err("no server: give CacheBuilder::url one, such as redis://127.0.0.1/"),
            false => self.check_bounds(),
        }
    }

    /// Checks the time-outs and the pool size, which do not depend on the server.
    pub(crate) fn check_bounds(&self) -> Result<(), &'static str> {
        if self.connect_timeout.is_zero() || self.response_timeout.is_zero() {
            return Err(
                "a time-out of zero would fail every call: leave it out for the default of 1 s",
            );
        }
        if self.connect_timeout.max(self.response_timeout) > limits::MAX_TIMEOUT {
            return Err("a time-out is at most a day: what is longer is no time-out");
        }
        if self.pool_size == 0 {
            return Err("a pool of no connections: CacheBuilder::pool_size takes at least 1");
        }
        Ok(())
    }

    /// Checks that the options fit together. Reads the files that they name, so that errors in them
    /// show before a server is asked.
    pub(super) fn check_options(&self) -> Result<()> {
        #[cfg(feature = "redis-1")]
        if self.client.is_some() {
            return self.check_client();
        }
        if self.tls == TlsOptions::default() {
            return Ok(());
        }
        link::check_tls(&self.tls).map_err(|e| Error::new(Kind::Config(e.to_string())))
    }

    /// How to reach and log in to a server is up to the client.
    #[cfg(feature = "redis-1")]
    fn check_client(&self) -> Result<()> {
        let why = if !matches!(self.topology, TopologyConfig::Single) {
            "CacheBuilder::client is for one server: leave it out for a Cluster or sentinels"
        } else if self.credentials.is_some() {
            "CacheBuilder::client has credentials of its own: leave CacheBuilder::credentials out"
        } else if self.tls != TlsOptions::default() {
            "CacheBuilder::client has TLS of its own: leave CacheBuilder::tls out"
        } else {
            return Ok(());
        };
        Err(Error::new(Kind::Config(why.to_owned())))
    }

    /// Where the server is and how to log in; refuses what cannot work.
    pub(super) fn way(&self) -> Result<Way> {
        let config = |message| Error::new(Kind::Config(message));
        #[cfg(feature = "redis-1")]
        if let Some(client) = &self.client {
            self.check_bounds().map_err(|why| config(why.to_owned()))?;
            return Way::of(client).map_err(|why| config(format!("the client {why}")));
        }
        self.check().map_err(|why| config(why.to_owned()))?;
        let shown = redacted(&self.url);
        let refuse = |why: String| config(format!("the server URL `{shown}` {why}"));
        let mut way = Way::parse(&self.url).map_err(refuse)?;
        way.primary_only = self.primary_only;
        if let Some(address) = &self.address {
            if way.address().is_none() {
                return Err(refuse(
                    "is a Unix socket: give a host and a port".to_owned(),
                ));
            }
            way.target = Target::Tcp(address.clone());
        }
        if way.credentials.is_some() && self.credentials.is_some() {
            return Err(refuse(
                "has a password, and CacheBuilder::credentials is set too: leave one out"
                    .to_owned(),
            ));
        }
        match &mut way.tls {
            Some(tls) => {
                tls.clone_from(&self.tls);
            }
            None if self.tls != TlsOptions::default() => {
                return Err(refuse(
                    "is without TLS, and CacheBuilder::tls is set: write `rediss://`".to_owned(),
                ));
            }
            None => {}
        }
        Ok(way)
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("url", &redacted(&self.url))
            .field("engine", &self.engine)
            .field("lock_database", &self.lock_database)
            .field("rules", &self.rules)
            .field("connect_timeout", &self.connect_timeout)
            .field("response_timeout", &self.response_timeout)
            .field("pool_size", &self.pool_size)
            .field("tls", &self.tls)
            .field("credentials", &self.credentials)
            .field("sentinel_credentials", &self.sentinel_credentials)
            .finish()
    }
}

/// `url` as it may be logged: without user, password and query (which holds a Unix socket's
/// password).
pub(crate) fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let query_first = rest.find('?') < rest.rfind('@');
    if query_first && rest.contains('?') && !scheme.ends_with("unix") {
        // A password with an unescaped `?`, or something else that is not a URL.
        return format!("{scheme}://…");
    }
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(r, _)| (r, "?…"));
    // The last `@`: a password may hold an unescaped one.
    let (login, rest) = rest.rsplit_once('@').map_or(("", rest), |(_, r)| ("…@", r));
    let separator = if scheme.is_empty() { "" } else { "://" };
    format!("{scheme}{separator}{login}{rest}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_shown_without_credentials() {
        for (url, shown) in [
            ("redis://h:1/2", "redis://h:1/2"),
            ("redis://u:secret@h:1/", "redis://…@h:1/"),
            ("rediss://:se@cret@h/", "rediss://…@h/"),
            (
                "redis+unix:///s.sock?pass=secret&db=1",
                "redis+unix:///s.sock?…",
            ),
            ("u:secret@h", "…@h"),
            ("redis://u:sec?ret@h:1/", "redis://…"),
            ("unix:///s.sock?pass=se@cret", "unix:///s.sock?…"),
        ] {
            assert_eq!(redacted(url), shown);
        }
        let mut config = ServerConfig::new("redis://u:secret@[h/");
        assert!(!format!("{config:?}").contains("secret"));
        let error = config.way().map(|_| ()).unwrap_err();
        assert!(error.is_config() && !format!("{error:?}").contains("secret"));
        config.url = "redis://h/".to_owned();
        config.response_timeout = Duration::ZERO;
        assert!(config.way().is_err_and(|e| e.is_config()));
    }
}
