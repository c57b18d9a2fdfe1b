//! A primary that sentinels watch, and its successors.

use crate::support::{
    self, Climate,
    failover::{LOCK_TTL, replaced_under_load, soak},
    nodes::Nodes,
    until,
};
use cachetx::{
    Cache, CacheBuilder, CacheOutcome, Params, Save, Store,
    testing::{SentinelTrio, ServerBinary, ServerOptions, WireFault},
};
use std::{thread, time::Duration};
use tempfile::TempDir;

fn builder(trio: &SentinelTrio) -> CacheBuilder {
    Cache::builder(support::rules()).sentinel(trio.name(), trio.urls())
}

fn store(trio: &SentinelTrio, root: &TempDir) -> Store {
    Store::builder(builder(trio).open().expect("the cache opens"))
        .root(root.path())
        .lock_ttl(LOCK_TTL)
        .open()
        .expect("the store opens")
}

/// On the oldest and the newest server, or on all of them.
fn on_servers(all: bool, test: impl Fn(SentinelTrio, &TempDir)) {
    let binaries = ServerBinary::all();
    assert!(!binaries.is_empty(), "no server found: run `make servers`");
    for (n, binary) in binaries.iter().enumerate() {
        if n > 0 && n + 1 < binaries.len() && !all {
            eprintln!("skipped: {binary} (CACHETX_SOAK=1 runs it)");
            continue;
        }
        eprintln!("on {binary}");
        let trio = SentinelTrio::start(binary).expect("a primary, replicas and sentinels");
        test(trio, &TempDir::new().expect("a temporary folder"));
    }
}

#[test]
fn the_primary_is_found_and_its_successor_followed() {
    on_servers(true, |mut trio, root| {
        // The first sentinel that is asked is down.
        trio.sentinel_mut(0).kill();
        let cache = builder(&trio).open().expect("another sentinel is asked");
        let report = cache.report().expect("booted");
        assert_eq!(report.topology, "sentinel cachetx");
        let store = Store::builder(&cache)
            .root(root.path())
            .open()
            .expect("a store");
        let document = store
            .document::<Climate>("copacetic-sled", "climate")
            .expect("a document");
        document.create(&Climate::of(1)).expect("created");
        trio.sentinel_mut(0).restart().expect("restarted");

        // As many replicas as there are; more than that wait for the time given, and fail nothing.
        for (asked, wait) in [(2, 10_000), (3, 50), (0, 0)] {
            let save = Save::new().wait_replicas(asked, Duration::from_millis(wait));
            let saved = document.locked_with(save, |climate| {
                climate.years += 1;
                Ok(())
            });
            let outcome = saved.expect("saved").1;
            assert!(
                matches!(outcome.cache, CacheOutcome::Committed { .. }),
                "{outcome:?}"
            );
            match asked {
                // How many have it within that time is the machine's affair.
                3 => assert!(outcome.replicas.is_some_and(|n| n <= 2), "{outcome:?}"),
                _ => assert_eq!(outcome.replicas, (asked > 0).then_some(2), "{asked}"),
            }
        }
        // A guard that is held for a while listens to its lock's channel, there too once it is elsewhere.
        let patient = Store::builder(&cache)
            .root(root.path())
            .lock_ttl(Duration::from_secs(3_600));
        let patient = patient.open().expect("a store");
        let soils = patient.document::<Climate>("copacetic-sled", "soils");
        let soils = soils.expect("a document");
        soils.create(&Climate::of(1)).expect("created");
        let listening = soils.lock().expect("locked");
        let heard_at = |n: usize| -> u64 {
            let channel = format!("{}:lock:free", soils.cache_key());
            let mut plain = Nodes::of([trio.server(n).url()]);
            let count: (String, u64) = plain.run(&["PUBSUB", "NUMSUB", &channel]);
            count.1
        };
        let first = trio.primary().expect("sentinels answer").expect("one");
        until("it listens", || heard_at(first) == 1);
        let second = trio.fail_over().expect("replaced");
        // Long before its next renewal, which would find the successor too.
        until("it listens to the successor", || heard_at(second) == 1);
        drop(listening);
        let mut held = document.lock().expect("the new primary is found");
        held.years += 1;
        let outcome = held.dump_and_unlock().expect("saved");
        assert!(
            matches!(outcome.cache, CacheOutcome::Committed { .. }),
            "{outcome:?}"
        );
        let mut plain = Nodes::of([trio.server(second).url()]);
        let own: Vec<u8> = plain.run(&["GET", document.cache_key()]);
        assert_eq!(own, Climate::of(5).bytes());
        assert_eq!(document.read().expect("read").years, 5);
    });
}

/// A sentinel that is behind names a server that is a replica by now: it is not taken for the primary.
#[test]
fn a_replica_that_a_sentinel_names_is_not_written_to() {
    on_servers(soak(), |trio, root| {
        let store = store(&trio, root);
        let document = store
            .document::<Climate>("copacetic-sled", "climate")
            .expect("a document");
        document.create(&Climate::of(1)).expect("created");
        // Without a word to the sentinels, which need seconds to notice.
        let port = trio.server(1).port().to_string();
        let mut first = redis::Client::open(trio.server(0).url())
            .and_then(|client| client.get_connection())
            .expect("a connection");
        let mut replicaof = |host: &str, port: &str| {
            let command = redis::cmd("REPLICAOF").arg(host).arg(port).exec(&mut first);
            command.expect("REPLICAOF");
        };
        replicaof("127.0.0.1", &port);
        let refused = document.lock().map(drop).expect_err("nobody takes writes");
        assert!(refused.is_unavailable(), "{refused:?}");
        assert!(
            refused.to_string().contains("is not the primary"),
            "{refused}"
        );
        assert!(store.cache().stats().redirects > 0);
        // A reader has the file.
        assert_eq!(document.read().expect("read").years, 1);
        replicaof("NO", "ONE");
        until("it is the primary again", || document.lock().is_ok());
    });
}

#[test]
fn what_cannot_work_is_said_when_it_is_opened() {
    let Some(binary) = ServerBinary::any() else {
        return;
    };
    let server = cachetx::testing::Server::start(binary).expect("a server");
    let of = |name: &str, urls: Vec<String>| Cache::builder(support::rules()).sentinel(name, urls);
    let refused = of("m", vec![])
        .open_lazy()
        .map(drop)
        .expect_err("nobody to ask");
    assert!(refused.is_config(), "{refused}");
    let refused = of("m", vec![server.url()])
        .url("redis+unix:///s.sock")
        .open_lazy();
    assert!(refused.is_err_and(|e| e.is_config()));
    // A server that is no sentinel, and nobody at all.
    let refused = of("m", vec![server.url()])
        .open()
        .map(drop)
        .expect_err("no sentinel");
    assert!(
        refused.is_unavailable() && refused.to_string().contains("no sentinel says"),
        "{refused}"
    );
}

/// A reply that is lost is a reason to ask the sentinels, and none to give up the connections to a primary that they name again.
#[test]
fn a_lost_reply_costs_one_connection() {
    const READERS: usize = 8;
    let options = ServerOptions::new().proxied();
    let binary = ServerBinary::any().expect("no server found: run `make servers`");
    let trio = SentinelTrio::start_with(binary, options).expect("a trio");
    let proxy = trio.server(0).proxy().expect("proxied");
    let cache = builder(&trio).response_timeout(Duration::from_secs(2));
    let cache = cache.open().expect("the cache opens");
    let params = Params::new().with("run_id", "copacetic-sled");
    let read = || cache.get("ash", &params);
    let all_read = || {
        proxy.delay_replies(Duration::from_millis(100));
        thread::scope(|scope| {
            let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
            for reader in readers {
                reader.join().expect("no panic").expect("read");
            }
        });
        proxy.delay_replies(Duration::ZERO);
    };
    all_read();
    proxy.reset();
    proxy.inject(WireFault::SwallowReply);
    let lost = read().expect_err("no reply");
    assert!(lost.is_unavailable(), "{lost}");
    all_read();
    let made = proxy.traffic().connections;
    assert!(made < READERS as u64 / 2, "{made} connections were made");
}

fn replaced(replace: impl Fn(&mut SentinelTrio)) {
    on_servers(soak(), |mut trio, root| {
        let store = store(&trio, root);
        let mut nodes = Nodes::of((0..3).map(|n| trio.server(n).url()));
        let hot = ["hot-1".to_owned(), "hot-2".to_owned()];
        let series = |n| format!("run-{n}");
        replaced_under_load(&store, &mut nodes, &hot, series, 2, || replace(&mut trio));
        eprintln!("{:?}", store.cache().stats());
        let primary = trio.primary().expect("sentinels answer");
        assert!(primary.is_some_and(|n| n != 0), "{primary:?}");
    });
}

#[test]
fn a_killed_primary_is_replaced_under_load() {
    replaced(|trio| {
        trio.server_mut(0).kill();
        until("a replica was promoted", || {
            trio.primary()
                .expect("sentinels answer")
                .is_some_and(|n| n != 0)
        });
    });
}

#[test]
fn a_primary_is_replaced_on_demand_under_load() {
    replaced(|trio| {
        trio.fail_over().expect("replaced");
    });
}
