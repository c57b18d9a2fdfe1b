//! A Cluster's primary is replaced while saves go on.

use crate::support::{
    self,
    failover::{LOCK_TTL, key, replaced_under_load, soak},
    nodes::Nodes,
};
use cachetx::{
    Cache, Params, Store,
    testing::{Cluster, ServerBinary},
};
use tempfile::TempDir;

/// On the oldest and the newest server; on every one with `CACHETX_SOAK`.
fn on_servers(replace: impl Fn(&mut Cluster, usize)) {
    let all = ServerBinary::all();
    assert!(!all.is_empty(), "no server found: run `make servers`");
    for (n, binary) in all.iter().enumerate() {
        if n > 0 && n + 1 < all.len() && !soak() {
            eprintln!("skipped: {binary} (CACHETX_SOAK=1 runs it)");
            continue;
        }
        eprintln!("on {binary}");
        let mut cluster = Cluster::start(binary).expect("a Cluster");
        let root = TempDir::new().expect("a temporary folder");
        let cache = Cache::builder(support::rules()).cluster(cluster.urls());
        let store = Store::builder(cache.open().expect("the cache opens"))
            .root(root.path())
            .lock_ttl(LOCK_TTL)
            .open()
            .expect("the store opens");
        let mut nodes = Nodes::of(cluster.urls());
        let owner = |run: &str| {
            let slot = cluster.slot(&key(run, "climate")).expect("a slot");
            cluster
                .owner(slot)
                .expect("nodes answer")
                .expect("they agree")
        };
        // Runs of the node that is replaced; and one hot one of another.
        let victim = 0;
        let mut theirs = (0..)
            .map(|n| format!("run-{n}"))
            .filter(|run| owner(run) == victim);
        let mut hot: Vec<String> = theirs.by_ref().take(1).collect();
        hot.extend(
            (0..)
                .map(|n| format!("other-{n}"))
                .find(|run| owner(run) != victim),
        );
        let series: Vec<String> = theirs.take(60).collect();
        let replace = || replace(&mut cluster, victim);
        replaced_under_load(&store, &mut nodes, &hot, |n| series[n].clone(), 1, replace);
        let stats = store.cache().stats();
        eprintln!("{stats:?}");
        assert!(stats.redirects > 0);
    }
}

#[test]
fn a_killed_primary_is_replaced_under_load() {
    on_servers(|cluster, victim| {
        cluster.node_mut(victim).kill();
        cluster.until_whole().expect("the replica takes over");
    });
}

#[test]
fn a_primary_hands_over_under_load() {
    on_servers(|cluster, victim| {
        cluster.fail_over(victim).expect("handed over");
        cluster.until_whole().expect("the old one follows");
    });
}

/// A reader waits for nobody, and still finds out who took over.
#[test]
fn a_process_that_only_reads_follows_the_successor() {
    let mut cluster = Cluster::start(support::any_binary()).expect("a Cluster");
    let cache = Cache::builder(support::rules()).cluster(cluster.urls());
    let cache = cache.open().expect("the cache opens");
    let params = Params::new().with("run_id", "a");
    cache.get("ash", &params).expect("read");
    let slot = cluster.slot(&key("a", "ash")).expect("a slot");
    let owner = |cluster: &Cluster| cluster.owner(slot).expect("nodes answer");
    let victim = owner(&cluster).expect("they agree");
    cluster.node_mut(victim).kill();
    support::until("a replica took over", || owner(&cluster).is_some());
    support::until("the reader asks it", || cache.get("ash", &params).is_ok());
}
