//! Where a server is, and how to be let in.

use super::{Engine, RulesFacts, topology::Address};
use crate::{Error, Result, error::Kind, limits};
use redis::{
    Client, IntoConnectionInfo as _,
    io::tcp::{TcpSettings, socket2::TcpKeepalive},
};
use std::{fmt, path::PathBuf, time::Duration};

/// What a connection needs to know, and how operations are to run on it.
#[derive(Clone)]
pub(crate) struct ServerConfig {
    /// `redis://`, `rediss://` or `redis+unix://`, with credentials and database number.
    pub(crate) url: String,
    /// Which servers there are beside the one of the URL.
    pub(crate) topology: TopologyConfig,
    /// Where the topology found the server, in place of the URL's host and port.
    pub(super) address: Option<Address>,
    /// Refuses to work with a server that is not a primary.
    pub(super) primary_only: bool,
    pub(crate) engine: Engine,
    /// The database of locks and fences; the cache's own where there is none.
    pub(crate) lock_database: Option<u32>,
    /// For what a boot reports of them.
    pub(crate) rules: Option<RulesFacts>,
    /// TCP, TLS, AUTH and SELECT included; looking the name up is not.
    pub(crate) connect_timeout: Duration,
    /// For each write and each read.
    pub(crate) response_timeout: Duration,
    /// Connections at most.
    pub(crate) pool_size: u32,
    /// PEM file of the certificates that are trusted in place of the system's.
    pub(crate) tls_root_ca: Option<PathBuf>,
}

/// How to find the server that has a key.
#[derive(Clone)]
pub(crate) enum TopologyConfig {
    /// The URL says it.
    Single,
    /// A Cluster's nodes know each other; some of them, to start with.
    Cluster { seeds: Vec<String> },
    /// Sentinels know the primary of that name; the URL says how to be let in there.
    Sentinel { name: String, urls: Vec<String> },
}

impl ServerConfig {
    pub(crate) fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            topology: TopologyConfig::Single,
            address: None,
            primary_only: false,
            engine: Engine::default(),
            lock_database: None,
            rules: None,
            connect_timeout: limits::DEFAULT_CONNECT_TIMEOUT,
            response_timeout: limits::DEFAULT_RESPONSE_TIMEOUT,
            pool_size: limits::DEFAULT_POOL_SIZE,
            tls_root_ca: None,
        }
    }

    /// The database number that the URL names.
    pub(super) fn database(&self) -> Result<i64> {
        let client = self.client()?;
        Ok(client.get_connection_info().redis_settings().db())
    }

    /// The same way in at another address.
    pub(super) fn at(&self, address: &Address) -> Self {
        Self {
            address: Some(address.clone()),
            ..self.clone()
        }
    }

    /// The same with another URL, for one server.
    pub(super) fn single(&self, url: &str) -> Self {
        Self {
            url: url.to_owned(),
            topology: TopologyConfig::Single,
            ..self.clone()
        }
    }

    /// How long an operation waits for servers that do not know yet which of them has the keys.
    pub(super) fn patience(&self) -> Duration {
        self.connect_timeout.saturating_add(self.response_timeout)
    }

    /// Where the server is, fit to be shown.
    pub(super) fn shown(&self) -> String {
        match &self.address {
            Some(address) => address.to_string(),
            None => redacted(&self.url),
        }
    }

    fn check(&self) -> Result<(), &'static str> {
        if self.url.is_empty() {
            return Err("no server: give CacheBuilder::url one, such as redis://127.0.0.1/");
        }
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

    pub(super) fn client(&self) -> Result<Client> {
        let config = |message| Error::new(Kind::Config(message));
        self.check().map_err(|why| config(why.to_owned()))?;
        let shown = redacted(&self.url);
        // The client's own messages are left out where they might quote the URL.
        let bad_url = |_| config(format!("the server URL `{shown}` is not one"));
        let info = self.url.as_str().into_connection_info().map_err(bad_url)?;
        let info = match &self.address {
            None => info,
            Some(address) => {
                let Some(moved) = address.in_place_of(info.addr()) else {
                    return Err(config(format!(
                        "`{shown}` is a Unix socket: give a host and a port"
                    )));
                };
                info.set_addr(moved)
            }
        };
        let keepalive = TcpKeepalive::new().with_time(limits::TCP_KEEPALIVE);
        let settings = TcpSettings::default().set_nodelay(true);
        let info = info.set_tcp_settings(settings.set_keepalive(keepalive));
        let redis = info.redis_settings().clone().set_skip_set_lib_name();
        let info = info.set_redis_settings(redis);
        if !info.addr().is_supported() {
            return Err(config(format!(
                "the server URL `{shown}` needs the feature `tls`"
            )));
        }
        if matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            provide_crypto();
        }
        match &self.tls_root_ca {
            None => Client::open(info).map_err(bad_url),
            Some(path) => with_root_ca(info, path),
        }
    }
}

/// The client takes rustls's default provider and panics where there is none, or several; a program's own choice stays.
#[cfg(feature = "tls")]
fn provide_crypto() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // An error means that another thread was faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

#[cfg(not(feature = "tls"))]
fn provide_crypto() {}

#[cfg(feature = "tls")]
fn with_root_ca(info: redis::ConnectionInfo, path: &std::path::Path) -> Result<Client> {
    let root_cert = std::fs::read(path).map_err(|source| {
        Error::new(Kind::Io {
            path: path.to_owned(),
            action: "read the TLS root certificates",
            source,
        })
    })?;
    let unusable = |why: String| {
        let path = path.display();
        Error::new(Kind::Config(format!(
            "{path}: not usable as TLS root certificates: {why}"
        )))
    };
    // The client takes a file without any for an empty list, and then trusts nobody.
    if !root_cert.windows(PEM.len()).any(|window| window == PEM) {
        return Err(unusable("no certificate in it".to_owned()));
    }
    let certificates = redis::TlsCertificates {
        client_tls: None,
        root_cert: Some(root_cert),
    };
    Client::build_with_tls(info, certificates).map_err(|e| unusable(e.to_string()))
}

#[cfg(feature = "tls")]
const PEM: &[u8] = b"-----BEGIN CERTIFICATE-----";

#[cfg(not(feature = "tls"))]
fn with_root_ca(_: redis::ConnectionInfo, path: &std::path::Path) -> Result<Client> {
    Err(Error::new(Kind::Config(format!(
        "{}: TLS root certificates need the feature `tls`",
        path.display()
    ))))
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
            .field("tls_root_ca", &self.tls_root_ca)
            .finish()
    }
}

/// `url` as it may be logged: without user, password and query (a Unix socket's password stands there).
pub(crate) fn redacted(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    let query_first = rest.find('?') < rest.rfind('@');
    if query_first && rest.contains('?') && !scheme.ends_with("unix") {
        // A password with a `?` that was not escaped, or something else that is no URL.
        return format!("{scheme}://…");
    }
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(r, _)| (r, "?…"));
    // The last `@`: a password may hold one that was not escaped.
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
        let error = config.client().map(|_| ()).unwrap_err();
        assert!(error.is_config() && !format!("{error:?}").contains("secret"));
        config.url = "redis://h/".to_owned();
        config.response_timeout = Duration::ZERO;
        assert!(config.client().is_err_and(|e| e.is_config()));
    }
}
