//! TLS settings of a server.

use std::{path::PathBuf, process::Command};

/// PEM files.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    /// The authority that must have signed the certificates of peers: of clients, and of servers of
    /// the same Cluster or trio.
    pub(super) authority: Option<PathBuf>,
}

impl Tls {
    pub(super) fn arguments(&self, port: u16, command: &mut Command) {
        command.args(["--port", "0", "--tls-port", &port.to_string()]);
        command.arg("--tls-cert-file").arg(&self.certificate);
        command.arg("--tls-key-file").arg(&self.key);
        command.arg("--tls-ca-cert-file");
        match &self.authority {
            None => command
                .arg(&self.certificate)
                .args(["--tls-auth-clients", "no"]),
            Some(authority) => command.arg(authority).args([
                "--tls-auth-clients",
                "yes",
                "--tls-replication",
                "yes",
            ]),
        };
    }
}
