//! The server and the engines, as the command line names them.

use cachetx::{CacheBuilder, Engine};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Name {
    /// Script where the server allows it, else Watch
    #[default]
    Auto,
    /// Lua scripts
    Script,
    /// A library of functions: Redis from 7.0 on, and Valkey
    Function,
    /// WATCH and MULTI, without Lua
    Watch,
}

impl From<Name> for Engine {
    fn from(name: Name) -> Self {
        match name {
            Name::Auto => Self::Auto,
            Name::Script => Self::Script,
            Name::Function => Self::Function,
            Name::Watch => Self::Watch,
        }
    }
}

#[derive(clap::Args)]
pub(crate) struct Server {
    /// The server, such as redis://127.0.0.1/
    #[arg(long)]
    url: String,
    /// The server is a node of a Cluster: all of it is meant
    #[arg(long)]
    cluster: bool,
}

impl Server {
    pub(crate) fn of(&self, cache: CacheBuilder) -> CacheBuilder {
        match self.cluster {
            true => cache.cluster([self.url.as_str()]),
            false => cache.url(self.url.as_str()),
        }
    }
}
