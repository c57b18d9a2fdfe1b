//! The server and the engines, as the command line names them.

use cachetx::{CacheBuilder, Credentials, Engine, TlsOptions};
use std::path::PathBuf;

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
    /// The server, such as redis://127.0.0.1/; CACHETX_PASSWORD and CACHETX_USER may hold the password and the user
    #[arg(long)]
    url: String,
    /// The server is a node of a Cluster: all of it is meant
    #[arg(long)]
    cluster: bool,
    /// The authorities that a rediss:// server's certificate is checked against (PEM); the system's by default
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// The certificate to show to a rediss:// server (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_certificate: Option<PathBuf>,
    /// The certificate's key (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    tls_key: Option<PathBuf>,
    /// The name that a rediss:// server's certificate has to be for; the URL's host by default
    #[arg(long, value_name = "NAME")]
    tls_name: Option<String>,
}

impl Server {
    pub(crate) fn of(&self, cache: CacheBuilder) -> CacheBuilder {
        let cache = match self.cluster {
            true => cache.cluster([self.url.as_str()]),
            false => cache.url(self.url.as_str()),
        };
        // A command ends soon: its rules are nobody's concern.
        let cache = cache.tls(self.tls()).without_rules_notice();
        match std::env::var("CACHETX_PASSWORD") {
            Err(_) => cache,
            Ok(password) => {
                let login = match std::env::var("CACHETX_USER") {
                    Ok(user) => Credentials::new(user, password),
                    Err(_) => Credentials::password(password),
                };
                cache.credentials(move || Ok(login.clone()))
            }
        }
    }

    fn tls(&self) -> TlsOptions {
        let mut options = TlsOptions::new();
        if let Some(ca) = &self.tls_ca {
            options = options.root_ca(ca);
        }
        if let (Some(certificate), Some(key)) = (&self.tls_certificate, &self.tls_key) {
            options = options.client_certificate(certificate, key);
        }
        match &self.tls_name {
            Some(name) => options.server_name(name.as_str()),
            None => options,
        }
    }
}
