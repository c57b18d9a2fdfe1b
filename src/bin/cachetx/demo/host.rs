//! The server of the demo's cache: a private one, or the operations' model if there is none.

use super::TIMEOUT;
use cachetx::{
    BoxError, Cache, CacheBuilder, Rules,
    testing::{MemoryServer, Server, ServerBinary},
};

pub(super) enum Host {
    Private {
        server: Box<Server>,
        /// A plain client, so that what is shown is not the library's own view.
        plain: Box<redis::Connection>,
    },
    Memory {
        server: MemoryServer,
        /// Why there is no server.
        reason: String,
    },
}

impl Host {
    pub(super) fn start() -> Result<Self, BoxError> {
        let reason = match ServerBinary::any() {
            None => "no redis-server or valkey-server was found".to_owned(),
            Some(binary) => match Server::start(binary) {
                Ok(server) => {
                    let plain = redis::Client::open(server.unix_url())?
                        .get_connection()?
                        .into();
                    return Ok(Self::Private {
                        server: Box::new(server),
                        plain,
                    });
                }
                Err(e) => format!("{binary} does not start here: {}", first_line(&e)),
            },
        };
        let server = MemoryServer::new();
        Ok(Self::Memory { server, reason })
    }

    pub(super) fn cache(&self, rules: Rules) -> CacheBuilder {
        let builder = Cache::builder(rules);
        match self {
            Self::Private { server, .. } => builder
                .url(server.unix_url())
                .connect_timeout(TIMEOUT)
                .response_timeout(TIMEOUT),
            Self::Memory { server, .. } => builder.memory_server(server),
        }
    }

    /// Whether each of the keys exists.
    pub(super) fn present(&mut self, keys: &[String]) -> Result<Vec<bool>, BoxError> {
        match self {
            Self::Private { plain, .. } => keys
                .iter()
                .map(|key| Ok(redis::cmd("EXISTS").arg(key).query(&mut **plain)?))
                .collect(),
            Self::Memory { server, .. } => {
                Ok(keys.iter().map(|key| server.contains(key)).collect())
            }
        }
    }

    pub(super) fn end(&mut self) {
        match self {
            Self::Private { server, .. } => server.kill(),
            Self::Memory { server, .. } => server.stop(),
        }
    }

    /// What [`end`](Self::end) does, for people.
    pub(super) fn ending(&self) -> &'static str {
        match self {
            Self::Private { .. } => "killed   the server",
            Self::Memory { .. } => "stopped  the model",
        }
    }

    /// `redis-7.0.15`.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Private { server, .. } => server.binary().to_string(),
            Self::Memory { .. } => "memory".to_owned(),
        }
    }

    /// For people.
    pub(super) fn description(&self) -> String {
        match self {
            Self::Private { server, .. } => format!("a private {}", server.binary()),
            Self::Memory { reason, .. } => {
                format!("NONE, {reason}: the operations run on their model in this process")
            }
        }
    }
}

fn first_line(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}
