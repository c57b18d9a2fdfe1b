//! TLS, with an authority of the test's own.

use super::{transport::works, *};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{fs, path::PathBuf};

/// A certificate of an authority of the test's own: the authority's PEM, the server's, and its key's.
fn certificates(dir: &std::path::Path) -> [PathBuf; 3] {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&key).unwrap().pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let server = params.signed_by(&key, &issuer).unwrap().pem();
    let texts = [("ca", ca), ("server", server), ("key", key.serialize_pem())];
    texts.map(|(name, text)| {
        let path = dir.join(format!("{name}.pem"));
        fs::write(&path, text).unwrap();
        path
    })
}

#[test]
fn tls_is_checked_against_the_given_authority() {
    let dir = tempfile::tempdir().unwrap();
    let [ca, certificate, key] = certificates(dir.path());
    let mut tested = 0;
    for binary in servers() {
        let options = ServerOptions::new().tls(&certificate, &key);
        // Not every build has TLS: such a server does not know the option.
        let Ok(server) = options.start(binary) else {
            eprintln!("skipped: {binary} was built without TLS");
            continue;
        };
        let mut config = ServerConfig::new(server.url());
        assert!(config.url.starts_with("rediss://"));
        let refused = ServerEngine::open(config.clone()).map(|_| ()).unwrap_err();
        assert!(refused.is_unavailable(), "{refused:?}");
        config.tls_root_ca = Some(ca.clone());
        works(config);
        tested += 1;
    }
    eprintln!("TLS tested on {tested} servers");
    let mut config = ServerConfig::new("rediss://127.0.0.1/");
    config.tls_root_ca = Some(dir.path().join("none.pem"));
    assert!(ServerEngine::lazy(config.clone()).is_err_and(|e| e.is_io()));
    config.tls_root_ca = Some(key);
    assert!(ServerEngine::lazy(config).is_err_and(|e| e.is_config()));
}
