//! TLS, with the test's own authorities: one server, a Cluster and sentinels of the builds that
//! support it, and a TLS front before the others.

mod front;
mod papers;

use super::{transport::works, *};
use crate::{
    engine::{TlsOptions, TopologyConfig},
    op::{FillReply, ReadReply},
    testing::{Cluster, SentinelTrio},
};
use front::Front;
use papers::Papers;
use std::time::Duration;

/// A server with these options; `None` if the build does not know them, such as one without TLS.
fn start(options: &ServerOptions, binary: &ServerBinary) -> Option<Server> {
    let server = options.clone().start(binary).ok();
    if server.is_none() {
        eprintln!("skipped: {binary} was built without TLS");
    }
    server
}

fn config(url: impl Into<String>, tls: &TlsOptions) -> ServerConfig {
    ServerConfig {
        tls: tls.clone(),
        ..ServerConfig::new(url)
    }
}

/// Why the server cannot be used with these options.
fn refusal(url: &str, tls: &TlsOptions) -> String {
    let error = ServerEngine::open(config(url, tls)).map(drop).unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert_eq!(error.effect(), crate::model::Effect::None);
    error.to_string()
}

#[track_caller]
fn says(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{message}");
    }
}

/// What fails, and why, on a server that requires client certificates.
fn wrong_papers_are_refused(url: &str, papers: &Papers, others: &Papers) {
    let nothing = refusal(url, &TlsOptions::new());
    says(&nothing, &["UnknownIssuer", "TlsOptions::root_ca"]);
    let other = refusal(url, &others.client());
    says(&other, &["TlsOptions::root_ca"]);
    let none = refusal(url, &papers.authority());
    says(
        &none,
        &["CertificateRequired", "TlsOptions::client_certificate"],
    );
    let foreign = refusal(url, &others.client().root_ca(papers.path("ca.pem")));
    says(
        &foreign,
        &[
            "TLS: received fatal alert",
            "TlsOptions::client_certificate",
        ],
    );
    let name = refusal(url, &papers.client().server_name("cache.example.org"));
    says(&name, &["cache.example.org", "TlsOptions::server_name"]);
}

#[test]
fn a_server_is_checked_against_the_authority_and_the_name() {
    let papers = Papers::new();
    let [certificate, key] = papers.server();
    for binary in servers() {
        let options = ServerOptions::new().tls(certificate, key);
        let Some(server) = start(&options, binary) else {
            continue;
        };
        assert!(server.url().starts_with("rediss://"));
        says(
            &refusal(&server.url(), &TlsOptions::new()),
            &["UnknownIssuer"],
        );
        works(config(server.url(), &papers.authority()));
        let url = server.url().replace("127.0.0.1", "localhost");
        says(&refusal(&url, &papers.authority()), &["server_name"]);
        works(config(
            format!("{url}2"),
            &papers.authority().server_name("redis.test"),
        ));
        let plain = server.url().replace("rediss:", "redis:");
        let error = ServerEngine::open(ServerConfig::new(plain)).map(drop);
        assert!(error.is_err_and(|e| e.is_unavailable()));
    }
    let server = Server::start(&servers()[0]).unwrap();
    let url = server.url().replace("redis:", "rediss:");
    says(
        &refusal(&url, &papers.authority()),
        &["speak TLS on this port?"],
    );
}

/// Requests and replies of many callers fill the socket while the server is halted.
#[test]
fn values_get_through_while_the_socket_takes_no_more() {
    let papers = Papers::new();
    let server = Server::start(&servers()[0]).unwrap();
    let front = Front::start(&papers, server.port());
    let plain = ServerConfig::new(server.url());
    for config in [plain, config(front.url(), &papers.client())] {
        fills_the_socket(&server, config);
    }
}

fn fills_the_socket(server: &Server, config: ServerConfig) {
    let engine = ServerEngine::open(ServerConfig {
        response_timeout: Duration::from_secs(60),
        ..config
    });
    let engine = engine.unwrap();
    let name = |n: u8| format!("value-{n}");
    let value = |n: u8| vec![n; 60 << 10];
    let all = |work: &(dyn Fn(u8) + Sync)| {
        server.pause().unwrap();
        std::thread::scope(|scope| {
            for n in 0..64 {
                scope.spawn(move || work(n));
            }
            std::thread::sleep(Duration::from_millis(50));
            server.resume().unwrap();
        });
    };
    for n in 0..64 {
        let leased = Lease {
            ttl_ms: 3_600_000,
            ..lease(&name(n))
        };
        run(&engine, leased).unwrap();
    }
    all(&|n| {
        let filled = run(&engine, fill(&name(n), &value(n)));
        assert_eq!(filled.unwrap(), FillReply::Filled);
    });
    all(&|n| {
        let ReadReply::Found { value: found, .. } = run(&engine, read(&name(n))).unwrap();
        assert_eq!(found.as_deref(), Some(&value(n)[..]));
    });
    for n in 0..64 {
        assert_eq!(run(&engine, invalidate(&[&name(n)])).unwrap(), removed(1));
    }
}

#[test]
fn files_and_urls_that_cannot_work_are_refused_at_once() {
    let papers = Papers::new();
    let refused = |url: &str, tls: TlsOptions| {
        let error = ServerEngine::lazy(config(url, &tls)).map(drop).unwrap_err();
        assert!(error.is_config(), "{error:?}");
        error.to_string()
    };
    let tls = || TlsOptions::new();
    let url = "rediss://127.0.0.1/";
    let missing = papers.path("none.pem");
    says(
        &refused(url, tls().root_ca(&missing)),
        &["none.pem: No such file"],
    );
    let [certificate, key] = papers.server();
    says(&refused(url, tls().root_ca(key)), &["no certificate in it"]);
    let swapped = tls().client_certificate(key, certificate);
    says(&refused(url, swapped), &["no certificate in it"]);
    let client = papers.path("client.pem");
    says(
        &refused(url, tls().client_certificate(client, key)),
        &["do not fit"],
    );
    says(
        &refused("redis://127.0.0.1/", papers.authority()),
        &["write `rediss://`"],
    );
    says(
        &refused("rediss://127.0.0.1/#insecure", tls()),
        &["has a fragment"],
    );
}

#[test]
fn mutual_tls_works_on_one_server_and_new_files_are_taken() {
    let (papers, others) = (Papers::new(), Papers::new());
    let [certificate, key] = papers.server();
    let options = ServerOptions::new().mutual_tls(certificate, key, papers.path("ca.pem"));
    for binary in servers() {
        // If the build has no TLS, a front before its port has.
        let (url, _running) = match start(&options, binary) {
            Some(server) => (server.url(), (server, None)),
            None => {
                let server = Server::start(binary).unwrap();
                let front = Front::start(&papers, server.port());
                (front.url(), (server, Some(front)))
            }
        };
        wrong_papers_are_refused(&url, &papers, &others);
        works(config(&url, &papers.client()));
        let moved = Papers::new();
        let engine = ServerEngine::lazy(config(&url, &moved.client())).unwrap();
        assert!(
            run(&engine, read("own")).is_err(),
            "not the server's authority"
        );
        moved.become_like(&papers);
        run(&engine, read("own")).unwrap();
    }
}

#[cfg(feature = "redis-1")]
#[test]
fn a_caller_s_client_has_its_own_tls() {
    let (papers, others) = (Papers::new(), Papers::new());
    let client = |url: &str, papers: &Papers| {
        let read = |name: &str| std::fs::read(papers.path(name)).unwrap();
        let certificates = redis::TlsCertificates {
            client_tls: Some(redis::ClientTlsConfig {
                client_cert: read("client.pem"),
                client_key: read("client.key"),
            }),
            root_cert: Some(read("ca.pem")),
        };
        let client = redis::Client::build_with_tls(url, certificates).unwrap();
        ServerConfig {
            client: Some(client),
            ..ServerConfig::new("")
        }
    };
    for binary in servers() {
        let server = Server::start(binary).unwrap();
        let front = Front::start(&papers, server.port());
        works(client(&front.url(), &papers));
        let refused = ServerEngine::open(client(&front.url(), &others)).map(drop);
        let refused = refused.unwrap_err();
        assert!(refused.is_unavailable(), "{refused:?}");
        says(&refused.to_string(), &["UnknownIssuer"]);
    }
}

#[test]
fn mutual_tls_works_in_a_cluster() {
    let (papers, others) = (Papers::new(), Papers::new());
    let [certificate, key] = papers.server();
    let options = ServerOptions::new().mutual_tls(certificate, key, papers.path("ca.pem"));
    for binary in servers() {
        let (urls, _running) = match start(&options, binary) {
            Some(_) => {
                let cluster = Cluster::start_with(binary, options.clone()).unwrap();
                (cluster.urls(), (cluster, Vec::new()))
            }
            // If their port is changed later, its nodes still announce the first one.
            None if binary.version().0 < 7 => continue,
            None => {
                let cluster = Cluster::start(binary).unwrap();
                let fronts = Front::before_all(&papers, &cluster);
                let urls = fronts.iter().map(Front::url).collect();
                (urls, (cluster, fronts))
            }
        };
        let cluster = |tls: &TlsOptions, seeds: &[String]| ServerConfig {
            topology: TopologyConfig::Cluster {
                seeds: seeds.to_vec(),
            },
            ..config(&seeds[0], tls)
        };
        let refused = ServerEngine::open(cluster(&others.client(), &urls)).map(drop);
        says(&refused.unwrap_err().to_string(), &["TlsOptions::root_ca"]);
        // The others are found through one node, and have another name than in their certificate.
        let options = papers.client().server_name("redis.test");
        let engine = ServerEngine::open(cluster(&options, &urls[..1])).unwrap();
        for tag in ["a", "b", "c", "d", "e", "f"] {
            let ask = Commit {
                own: vec![own(&format!("{{{tag}}}:own"), b"x")],
                locks: vec![],
                dependents: vec![],
                ..commit(b"x", &[])
            };
            assert_eq!(run(&engine, ask).unwrap(), committed(0), "{binary}");
        }
        assert_eq!(engine.report().unwrap().topology, "cluster of 3 primaries");
    }
}

#[test]
fn mutual_tls_works_behind_sentinel() {
    let (papers, others) = (Papers::new(), Papers::new());
    let [certificate, key] = papers.server();
    let options = ServerOptions::new().mutual_tls(certificate, key, papers.path("ca.pem"));
    for binary in servers() {
        if start(&options, binary).is_none() {
            continue;
        }
        let trio = SentinelTrio::start_with(binary, options.clone()).unwrap();
        let behind = |tls: &TlsOptions| ServerConfig {
            topology: TopologyConfig::Sentinel {
                name: trio.name().to_owned(),
                urls: trio.urls(),
            },
            ..config("rediss://the-primary/", tls)
        };
        let refused = ServerEngine::open(behind(&others.client())).map(drop);
        says(&refused.unwrap_err().to_string(), &["TlsOptions::root_ca"]);
        works(behind(&papers.client()));
    }
}
