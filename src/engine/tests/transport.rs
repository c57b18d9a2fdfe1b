//! TLS, passwords, database numbers, Unix sockets, and what a call costs on the wire.

use super::*;
use crate::{limits::STAGING_BYTES, testing::Proxy};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::{fs, path::PathBuf};

fn works(config: ServerConfig) {
    let engine = ServerEngine::open(config).unwrap();
    run(&engine, acquire("l", "me", 0)).unwrap();
    let reply = run(&engine, commit(&vec![b'x'; STAGING_BYTES], &["a"]));
    assert_eq!(reply.unwrap(), committed(0));
}

#[test]
fn unix_sockets_passwords_and_database_numbers_work() {
    let options = |_: &ServerBinary| Some(ServerOptions::new().password("secret"));
    for binary in servers() {
        let server = options(binary).unwrap().start(binary).unwrap();
        works(ServerConfig::new(format!("{}3", server.url())));
        works(ServerConfig::new(format!("{}&db=4", server.unix_url())));
        let mut plain = plain(&server.unix_url());
        for (db, keys) in [("3", 3), ("4", 3), ("0", 0)] {
            cmd::<()>(&mut plain, &["SELECT", db]);
            assert_eq!(cmd::<i32>(&mut plain, &["DBSIZE"]), keys, "{db}");
        }
        for url in [
            format!("redis://127.0.0.1:{}/", server.port()),
            format!("redis://:wrong@127.0.0.1:{}/", server.port()),
        ] {
            let error = ServerEngine::open(ServerConfig::new(url)).map(|_| ());
            let error = error.unwrap_err();
            assert!(error.is_server(), "{error:?}");
            assert!(!format!("{error:?}").contains("wrong@"), "{error:?}");
        }
    }
}

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

#[cfg(feature = "tls")]
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

#[test]
fn each_operation_is_one_round_trip_on_the_wire() {
    on_every_server(|bed| {
        let proxy = Proxy::start(bed.server.port()).unwrap();
        bed.engine = ServerEngine::open(bed.config_at(proxy.url())).unwrap();
        for (id, bytes, requests) in [
            ("c1", 10, 1),
            ("c2", STAGING_BYTES, 2),
            ("c3", 3_000_000, 2),
        ] {
            proxy.reset();
            bed.hold();
            let counted = proxy.traffic();
            assert_eq!(counted.round_trips, bed.trips());
            proxy.reset();
            let ask = Commit {
                id: id.to_owned(),
                ..commit(&vec![b'x'; bytes], &["a", "b"])
            };
            assert_eq!(bed.run(ask), committed(0));
            let counted = proxy.traffic();
            assert_eq!(counted.round_trips, bed.trips());
            if bed.kind != Engine::Watch {
                assert_eq!(counted.requests, requests);
            }
            assert!(counted.bytes_up > bytes as u64 && counted.bytes_down > 0);
            assert_eq!(counted.connections, 0);
        }
    });
}

#[test]
fn threads_share_the_pool() {
    on_every_server(|bed| {
        let (engine, rounds) = (&bed.engine, 50);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                scope.spawn(move || {
                    for round in 0..rounds {
                        let key = format!("own{thread}");
                        let ask = Commit {
                            id: format!("{thread}.{round}"),
                            locks: vec![],
                            own: vec![own(&key, round.to_string().as_bytes())],
                            dependents: vec![],
                            release: true,
                        };
                        assert_eq!(run(engine, ask).unwrap(), committed(0));
                    }
                });
            }
        });
        assert_eq!(bed.get("own7"), Some((rounds - 1).to_string()));
    });
}
