//! Numbered databases of a Cluster, where the server has them.

use crate::support::{self, Climate};
use cachetx::{
    Cache, CacheBuilder, Document, Store,
    testing::{Cluster, Flavour, ServerBinary, ServerOptions},
};
use std::time::Duration;

const DATABASE: &str = "3";

fn with_database(cluster: &Cluster, number: &str) -> CacheBuilder {
    let urls = cluster.urls().into_iter().take(2);
    Cache::builder(support::rules())
        .cluster(urls.map(|url| format!("{url}{number}")))
        .response_timeout(Duration::from_secs(10))
}

fn keys(cluster: &Cluster, node: usize, database: &str) -> u64 {
    let mut redis = support::connect(cluster.node(node));
    redis::cmd("SELECT").arg(database).exec(&mut redis).unwrap();
    redis::cmd("DBSIZE").query(&mut redis).unwrap()
}

/// `None` where the server has no such option.
fn start(binary: &ServerBinary) -> Option<Cluster> {
    let options = ServerOptions::new().config("cluster-databases", "16");
    match (binary.flavour(), binary.version().0) {
        (Flavour::Valkey, 9..) => Some(Cluster::start_with(binary, options).unwrap()),
        _ => None,
    }
}

#[test]
fn saves_are_in_their_database_while_a_slot_moves() {
    let root = tempfile::tempdir().unwrap();
    let Some(cluster) = ServerBinary::all().iter().find_map(start) else {
        support::skipped("databases", "no Valkey 9 on this machine");
        return;
    };
    let cache = with_database(&cluster, DATABASE).open().unwrap();
    let store = Store::builder(&cache).root(root.path()).open().unwrap();
    let climate: Document<Climate> = store.document(support::RUN, "climate").unwrap();
    climate.create(&Climate::of(1)).unwrap();
    let slot = cluster.slot(climate.cache_key()).unwrap();
    let from = cluster.owner(slot).unwrap().unwrap();
    let to = (from + 1) % 3;
    assert!(keys(&cluster, from, DATABASE) > 0);
    assert_eq!(keys(&cluster, from, "0"), 0);

    // The lock is on the node that the slot is on its way to: ASK leads there, into the same database.
    cluster.begin_migration(slot, from, to).unwrap();
    let mut old = support::connect(cluster.node(from));
    let mut new = support::connect(cluster.node(to));
    let lock = &format!("{}:lock", climate.cache_key());
    for redis in [&mut old, &mut new] {
        redis::cmd("SELECT").arg(DATABASE).exec(redis).unwrap();
    }
    redis::cmd("FLUSHDB").exec(&mut old).unwrap();
    assert_eq!(climate.holder().unwrap(), None);
    redis::cmd("ASKING").exec(&mut new).unwrap();
    support::set(&mut new, lock, b"somebody");
    let holder = climate.holder().unwrap().expect("a holder");
    assert_eq!(holder.holder.owner, "somebody");
    assert!(cache.stats().redirects > 0, "nobody was sent on");
    redis::cmd("ASKING").exec(&mut new).unwrap();
    redis::cmd("DEL").arg(lock).exec(&mut new).unwrap();

    cluster.end_migration(slot, from, to).unwrap();
    let mut locked = climate.lock().unwrap();
    locked.years = 5;
    support::committed(&locked.dump_and_unlock().unwrap());
    let value = support::get(&mut new, climate.cache_key());
    assert_eq!(value, Some(Climate::of(5).bytes()));
    assert_eq!(keys(&cluster, to, "0"), 0);
}

#[test]
fn what_cannot_be_had_is_refused() {
    let several = Cache::builder(support::rules()).cluster(["redis://a/1", "redis://b/2"]);
    let error = several.open_lazy().map(drop).unwrap_err();
    assert!(
        error.is_config() && error.to_string().contains("several databases"),
        "{error}"
    );
    crate::bed::on_every_server(|bed| {
        let refused = with_database(&bed.cluster, DATABASE)
            .open()
            .map(drop)
            .unwrap_err();
        assert!(refused.is_server(), "{refused:?}");
        assert!(
            refused.to_string().contains("cluster-databases"),
            "{refused}"
        );
        let apart = with_database(&bed.cluster, "")
            .lock_database(1)
            .open()
            .map(drop);
        assert!(apart.unwrap_err().to_string().contains("lock_database"));
    });
}
