//! The search for the server that takes an operation.

use super::*;
use crate::engine::TopologyConfig;
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::Barrier,
    thread,
    time::Duration,
};

const THREADS: usize = 16;

/// Accepts connections and answers nothing.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    (listener, url)
}

fn config(url: &str, topology: TopologyConfig) -> ServerConfig {
    ServerConfig {
        topology,
        connect_timeout: Duration::from_millis(300),
        response_timeout: Duration::from_millis(300),
        ..ServerConfig::new(url)
    }
}

/// If they asked one after the other, they would wait for as many time-outs as there are threads.
#[test]
fn threads_that_ask_in_vain_ask_together() {
    let (_silent, url) = silent();
    let urls = vec![url.clone()];
    let sentinel = TopologyConfig::Sentinel {
        name: "m".to_owned(),
        urls: urls.clone(),
    };
    for topology in [TopologyConfig::Cluster { seeds: urls }, sentinel] {
        let engine = ServerEngine::lazy(config(&url, topology)).unwrap();
        let start = Barrier::new(THREADS);
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    let done = run(&engine, read("own"));
                    let Err(Fault::NotDone(error)) = done else {
                        panic!("nobody was asked to do it: {done:?}");
                    };
                    assert!(error.is_unavailable(), "{error:?}");
                    assert_eq!(error.effect(), crate::model::Effect::None, "{error:?}");
                });
            }
        });
        let asked = engine.counters().round_trips();
        assert!((1..THREADS as u64 / 2).contains(&asked), "{asked}");
    }
}

/// Answers every request like a sentinel that knows the primary's port.
fn sentinel(port: u16) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            let mut request = [0; 1024];
            while stream.read(&mut request).is_ok_and(|n| n > 0) {
                let port = port.to_string();
                let answer = format!("*2\r\n$9\r\n127.0.0.1\r\n${}\r\n{port}\r\n", port.len());
                if stream.write_all(answer.as_bytes()).is_err() {
                    break;
                }
            }
        }
    });
    url
}

/// The first sentinel is cut off from the others and missed the failover.
#[test]
fn where_a_sentinel_s_word_is_not_true_the_next_one_is_asked() {
    let Some(binary) = ServerBinary::any() else {
        return;
    };
    let server = Server::start(binary).unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let told = [nobody.local_addr().unwrap().port(), server.port()];
    drop(nobody);
    found_by(told.map(sentinel).into());
}

#[test]
fn sentinels_that_do_not_answer_keep_no_other_from_being_asked() {
    let Some(binary) = ServerBinary::any() else {
        return;
    };
    let server = Server::start(binary).unwrap();
    // More than one call has time for.
    let silent = [silent(), silent(), silent()];
    let urls = silent.iter().map(|(_, url)| url.clone());
    found_by(urls.chain([sentinel(server.port())]).collect());
}

/// The number of calls, each with its own time limit.
const GOES: usize = 5;

fn found_by(urls: Vec<String>) {
    let topology = TopologyConfig::Sentinel {
        name: "m".to_owned(),
        urls,
    };
    // A busy machine may need a third call.
    let engine = ServerEngine::lazy(config("", topology)).unwrap();
    let tries = (0..GOES).map(|_| run(&engine, acquire("l", "me", 0)));
    let replies: Vec<_> = tries.filter_map(Result::ok).collect();
    assert!(
        matches!(replies.first(), Some(AcquireReply::Acquired { .. })),
        "{replies:?}"
    );
}

/// The same name may lead to another server by now.
#[test]
fn a_connection_to_a_server_that_became_a_replica_is_not_used_again() {
    on_every_server(|bed| {
        bed.cmd::<()>(&["REPLICAOF", "127.0.0.1", "1"]);
        let refused = bed.try_run(acquire("l", "me", 0)).unwrap_err();
        let refused = refused.into_error();
        assert!(refused.to_string().contains("READONLY"), "{refused}");
        bed.cmd::<()>(&["REPLICAOF", "NO", "ONE"]);
        let before = bed.engine.counters().reconnects();
        bed.hold();
        assert_eq!(bed.engine.counters().reconnects(), before + 1);
    });
}
