//! A Cluster that tests share, and what they do on it.

use crate::support::{self, Climate, nodes::Nodes};
use cachetx::{
    Cache, CacheBuilder, Document, Outcome, Rules, Save, Store,
    testing::{Cluster, ServerBinary},
};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use tempfile::TempDir;

/// A Cluster, and a folder of the test's own.
pub struct Bed {
    pub cluster: MutexGuard<'static, Cluster>,
    pub root: TempDir,
}

/// Runs `test` on a Cluster of each server that was found. They take seconds to come up, so the tests of this file share
/// them, one at a time, with runs of their own. They end with the process.
pub fn on_every_server(test: impl Fn(&Bed)) {
    static CLUSTERS: OnceLock<Vec<Mutex<Cluster>>> = OnceLock::new();
    let clusters = CLUSTERS.get_or_init(|| {
        let binaries = ServerBinary::all();
        assert!(!binaries.is_empty(), "no server found: run `make servers`");
        let start = |binary| Mutex::new(Cluster::start(binary).expect("a Cluster"));
        binaries.iter().map(start).collect()
    });
    for cluster in clusters {
        let cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("on {}", cluster.node(0).binary());
        let root = TempDir::new().expect("a temporary folder");
        let bed = Bed { cluster, root };
        // The test before may have had other rules.
        bed.nodes().run::<u64>(&["DEL", "cachetx:leases:{rules}"]);
        test(&bed);
    }
}

impl Bed {
    pub fn builder(&self, rules: Rules) -> CacheBuilder {
        // Two nodes tell of the others.
        Cache::builder(rules).cluster(self.cluster.urls().into_iter().take(2))
    }

    pub fn store(&self) -> Store {
        self.store_of(self.builder(support::rules()))
    }

    pub fn store_of(&self, cache: CacheBuilder) -> Store {
        let cache = cache.open().expect("the cache opens");
        Store::builder(cache)
            .root(self.root.path())
            .open()
            .expect("the store opens")
    }

    pub fn nodes(&self) -> Nodes {
        Nodes::of((0..6).map(|n| self.cluster.node(n).url()))
    }

    /// Tests share the Cluster and have rules of their own, which a boot warns of.
    pub fn forget_rules(&self) {
        self.nodes().run::<u64>(&["DEL", "cachetx:leases:{rules}"]);
    }

    pub fn owner(&self, key: &str) -> (u16, usize) {
        let slot = self.cluster.slot(key).expect("a slot");
        let owner = self.cluster.owner(slot).expect("nodes answer");
        (slot, owner.expect("they agree"))
    }

    pub fn file(&self, run: &str, controller: &str) -> Climate {
        let path = self
            .root
            .path()
            .join(run)
            .join(format!("{controller}.nodb"));
        let text = std::fs::read(path).expect("the document is there");
        serde_json::from_slice(&text).expect("it is whole")
    }
}

pub fn key(run: &str, controller: &str) -> String {
    format!("nodb_cache:{{{run}}}:{controller}")
}

pub fn climate(store: &Store, run: &str) -> Document<Climate> {
    store.document(run, "climate").expect("a document")
}

pub fn add_one(document: &Document<Climate>, save: Save) -> cachetx::Result<Outcome> {
    let saved = document.locked_with(save, |climate| {
        climate.years += 1;
        Ok(())
    });
    saved.map(|((), outcome)| outcome)
}

pub const DEPENDENTS: [&str; 3] = ["wepp", "ash", "soils"];

pub fn task() -> Save {
    Save::new().tasks(["build_climate"])
}
