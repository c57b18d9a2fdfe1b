use super::{Cache, Inner, stats::Counters};
use crate::{
    Engine, Result, Rules,
    engine::{RulesFacts, ServerConfig, ServerEngine},
};
use std::{path::Path, sync::Arc, time::Duration};

/// How a [`Cache`] reaches its server. Every option states its default.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is opened"]
pub struct CacheBuilder {
    rules: Rules,
    server: ServerConfig,
}

impl CacheBuilder {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            server: ServerConfig::new(""),
        }
    }

    /// The server: `redis://[user:password@]host[:port][/db]`, `rediss://…` for TLS, or
    /// `redis+unix:///path/to.sock?db=0&user=…&pass=…`. No default.
    pub fn url(mut self, url: impl Into<String>) -> Self {
        self.server.url = url.into();
        self
    }

    /// How operations run on the server; [`Engine::Auto`] by default.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.server.engine = engine;
        self
    }

    /// Time to open a connection; 1 s by default, and never zero.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.server.connect_timeout = timeout;
        self
    }

    /// Time to wait for a reply; 1 s by default, and never zero.
    pub fn response_timeout(mut self, timeout: Duration) -> Self {
        self.server.response_timeout = timeout;
        self
    }

    /// Connections at most; 16 by default, and at least one. A thread that finds none free waits for up to the response
    /// time-out.
    pub fn pool_size(mut self, connections: u32) -> Self {
        self.server.pool_size = connections;
        self
    }

    /// A PEM file with the certificate authority that `rediss://` trusts; the system's and Mozilla's by default.
    pub fn tls_root_ca(mut self, pem: impl AsRef<Path>) -> Self {
        self.server.tls_root_ca = Some(pem.as_ref().to_owned());
        self
    }

    /// Connects and boots: finds out how operations can run there, and loads what they need.
    ///
    /// # Errors
    ///
    /// An option that cannot work, or a server that is away or refuses.
    pub fn open(self) -> Result<Cache> {
        let engine = ServerEngine::open(self.server())?;
        Ok(self.with(engine))
    }

    /// Connects and boots at the first use, so that a program can start while its server is away.
    ///
    /// # Errors
    ///
    /// An option that cannot work.
    pub fn open_lazy(self) -> Result<Cache> {
        let engine = ServerEngine::lazy(self.server())?;
        Ok(self.with(engine))
    }

    fn server(&self) -> ServerConfig {
        ServerConfig {
            rules: RulesFacts::of(&self.rules),
            ..self.server.clone()
        }
    }

    fn with(self, engine: ServerEngine) -> Cache {
        Cache(Arc::new(Inner {
            rules: self.rules,
            engine: Box::new(engine),
            counters: Counters::default(),
            response_timeout: self.server.response_timeout,
        }))
    }
}
