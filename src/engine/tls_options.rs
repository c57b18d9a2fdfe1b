//! TLS options.

use std::path::{Path, PathBuf};

/// TLS options for servers whose URL says `rediss://`. By default a server's certificate is checked
/// against the system's authorities (Mozilla's if the system has none) and the host of the URL, and
/// no client certificate is sent.
///
/// Files are PEM. They are read for each new connection, so they may be replaced while the program
/// runs. Needs the feature `tls`.
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, Rules, TlsOptions};
///
/// let tls = TlsOptions::new()
///     .root_ca("/etc/redis/ca.pem")
///     .client_certificate("/etc/redis/client.pem", "/etc/redis/client.key")
///     .server_name("cache.example.org");
/// let rules = Rules::from_path("rules/nodb.json")?;
/// let opened = Cache::builder(rules).url("rediss://10.0.0.7/").tls(tls).open();
/// assert!(opened.is_err()); // no such files here
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct TlsOptions {
    pub(super) root_ca: Option<PathBuf>,
    pub(super) client_certificate: Option<(PathBuf, PathBuf)>,
    pub(super) server_name: Option<String>,
}

impl TlsOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// A file with the trusted authorities, in place of the system's.
    pub fn root_ca(mut self, pem: impl AsRef<Path>) -> Self {
        self.root_ca = Some(pem.as_ref().to_owned());
        self
    }

    /// Files with the client certificate (and those between it and its authority) and its key, for
    /// mutual TLS. None by default.
    pub fn client_certificate(
        mut self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Self {
        let files = (certificate.as_ref(), key.as_ref());
        self.client_certificate = Some((files.0.to_owned(), files.1.to_owned()));
        self
    }

    /// The name that servers' certificates must be for; also sent to the servers (SNI). For servers
    /// that are reached by an address, or by another name than in their certificates. It applies to
    /// all servers of a Cluster, to the sentinels, and to the servers that they name. By default
    /// each server's own host.
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}
