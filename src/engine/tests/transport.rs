//! Passwords, database numbers, Unix sockets, and what a call costs on the wire.

use super::*;
use crate::{op::ReadReply, testing::Proxy};

pub(super) fn works(config: ServerConfig) {
    let engine = ServerEngine::open(config).unwrap();
    run(&engine, acquire("l", "me", 0)).unwrap();
    let reply = run(&engine, commit(&vec![b'x'; BIG], &["a"]));
    assert_eq!(reply.unwrap(), committed(0));
    free::listens(&engine);
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

#[test]
fn the_newer_protocol_works_in_every_engine() {
    on_every_server(|bed| {
        let rules = crate::rules::Rules::from_path("rules/nodb.json").unwrap();
        let url = format!("{}?protocol=resp3", bed.server.url());
        let config = ServerConfig {
            rules: Some(Arc::new(crate::rules::LiveRules::new(rules))),
            ..bed.config_at(url)
        };
        drop(ServerEngine::open(config.clone()).unwrap());
        bed.engine = ServerEngine::open(config).unwrap();
        let report = bed.engine.report().unwrap();
        assert_ne!(report.version, "unknown", "{report}");
        assert_eq!(report.warnings, Vec::<String>::new());
        for bytes in [10, BIG] {
            bed.cmd::<()>(&["FLUSHDB"]);
            bed.hold();
            bed.cmd::<()>(&["MSET", "a", "old", "b", "old"]);
            bed.cmd::<()>(&["HSET", "cachetx:leases:run", "a", "l:t:9"]);
            let held = bed.run(acquire("l", "you", 0));
            assert!(matches!(held, AcquireReply::Held { .. }), "{held:?}");
            let ask = commit(&vec![b'x'; bytes], &["a", "b"]);
            assert_eq!(bed.run(ask.clone()), committed(2));
            let ReadReply::Found {
                value,
                voucher,
                left_ms,
            } = bed.run(Read {
                life: true,
                ..read("own")
            });
            assert_eq!(
                (value.map(|v| v.len()), voucher.is_some()),
                (Some(bytes), true)
            );
            assert!(left_ms.is_some_and(|left| left <= 100_000), "{left_ms:?}");
            assert_eq!(bed.run(ask), CommitReply::Replayed);
            assert_eq!(bed.run(invalidate(&["own"])), removed(0));
        }
    });
}

#[test]
fn each_operation_is_one_round_trip_on_the_wire() {
    on_every_server(|bed| {
        let proxy = Proxy::start(bed.server.port()).unwrap();
        bed.engine = ServerEngine::open(bed.config_at(proxy.url())).unwrap();
        bed.warm();
        for (id, bytes, requests) in [("c1", 10, 4), ("c2", BIG, 4), ("c3", 3_000_000, 4)] {
            proxy.reset();
            bed.hold();
            let counted = proxy.traffic();
            assert_eq!(counted.round_trips, 1);
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
                            token: String::new(),
                            wait: None,
                        };
                        assert_eq!(run(engine, ask).unwrap(), committed(0));
                    }
                });
            }
        });
        assert_eq!(bed.get("own7"), Some((rounds - 1).to_string()));
    });
}
