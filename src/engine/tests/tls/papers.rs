//! An authority, and certificates that it has signed.

use crate::engine::TlsOptions;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// PEM files: `ca`, `server` and `client`, the last two with keys.
pub(super) struct Papers {
    dir: TempDir,
    server: [PathBuf; 2],
}

impl Papers {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = dir.path().display().to_string();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        fs::write(
            dir.path().join("ca.pem"),
            params.self_signed(&key).unwrap().pem(),
        )
        .unwrap();
        let issuer = Issuer::new(params, key);
        let names: [&[&str]; 2] = [&["127.0.0.1", "redis.test"], &["client.test"]];
        for (file, names) in ["server", "client"].into_iter().zip(names) {
            let names = names.iter().map(|name| (*name).to_owned());
            let params = CertificateParams::new(names.collect::<Vec<_>>()).unwrap();
            let key = KeyPair::generate().unwrap();
            let signed = params.signed_by(&key, &issuer).unwrap().pem();
            fs::write(dir.path().join(format!("{file}.pem")), signed).unwrap();
            fs::write(dir.path().join(format!("{file}.key")), key.serialize_pem()).unwrap();
        }
        let server = ["server.pem", "server.key"].map(|name| dir.path().join(name));
        Self { dir, server }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Certificate and key.
    pub(super) fn server(&self) -> &[PathBuf; 2] {
        &self.server
    }

    /// Options that trust the authority.
    pub(super) fn authority(&self) -> TlsOptions {
        TlsOptions::new().root_ca(self.path("ca.pem"))
    }

    /// Options that also send the client's certificate.
    pub(super) fn client(&self) -> TlsOptions {
        let (certificate, key) = (self.path("client.pem"), self.path("client.key"));
        self.authority().client_certificate(certificate, key)
    }

    /// Replaces the files by those of `others`.
    pub(super) fn become_like(&self, others: &Self) {
        for name in ["ca.pem", "client.pem", "client.key"] {
            fs::copy(others.path(name), self.path(name)).unwrap();
        }
    }
}
