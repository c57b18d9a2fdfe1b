//! Three documents that are saved as one, and their dependents.

use crate::support::{World, get, key, set};
use cachetx::{Document, Rules, Save, Store, StoreBuilder, Transaction};
use serde::{Deserialize, Serialize};
use std::{fs, path::Path};

/// `sum` depends on all three; `view` depends on the last one, by a task. The task also names a
/// document of the trio, whose entry is set.
pub const RULES: &str = r#"{
  "version": "1.1",
  "cache_keys": {
    "ash": "nodb_cache:{{{run_id}}}:ash",
    "climate": "nodb_cache:{{{run_id}}}:climate",
    "soils": "nodb_cache:{{{run_id}}}:soils",
    "sum": "nodb_cache:{{{run_id}}}:sum",
    "view": "nodb_cache:{{{run_id}}}:view"
  },
  "depends_on": { "sum": ["ash", "climate", "soils"] },
  "rules": { "build": { "invalidates_cache": ["view", "soils"] } }
}"#;

pub const MEMBERS: [&str; 3] = ["climate", "ash", "soils"];
pub const DEPENDENTS: [&str; 2] = ["sum", "view"];

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    pub n: u64,
}

pub type Three = (Count, Count, Count);

pub fn rules() -> Rules {
    Rules::from_json(RULES).expect("the trio's rules compile")
}

pub fn store_builder(world: &World) -> StoreBuilder {
    let cache = super::cache_of(rules()).url(world.server.url());
    Store::builder(cache.open().expect("a cache")).root(world.root.path())
}

pub fn store(world: &World) -> Store {
    store_builder(world).open().expect("a store")
}

pub fn document(store: &Store, run: &str, controller: &str) -> Document<Count> {
    store.document(run, controller).expect("a document")
}

pub fn documents(store: &Store, run: &str) -> [Document<Count>; 3] {
    MEMBERS.map(|controller| document(store, run, controller))
}

pub fn create(store: &Store, run: &str, n: u64) {
    for document in documents(store, run) {
        document.create(&Count { n }).expect("created");
    }
}

pub fn begin(store: &Store, run: &str) -> cachetx::Result<Transaction<Three>> {
    let [a, b, c] = documents(store, run);
    store.transaction((&a, &b, &c))
}

pub fn fill(transaction: &mut Transaction<Three>, n: u64) {
    let (a, b, c) = &mut **transaction;
    (a.n, b.n, c.n) = (n, n, n);
}

/// Sets all three to `n`.
pub fn set_all(store: &Store, run: &str, n: u64, save: Save) -> cachetx::Result<cachetx::Outcome> {
    let mut transaction = begin(store, run)?;
    fill(&mut transaction, n);
    Ok(transaction.commit_with(save)?)
}

/// The values in the files.
pub fn on_disk(root: &Path, run: &str) -> [u64; 3] {
    MEMBERS.map(|controller| {
        let file = root.join(run).join(format!("{controller}.nodb"));
        let text = fs::read(file).expect("the document is there");
        let count: Count = serde_json::from_slice(&text).expect("it is whole");
        count.n
    })
}

/// Checks that all documents are of one save.
pub fn all_or_none(seen: [u64; 3]) -> Result<u64, String> {
    match seen {
        [a, b, c] if a == b && b == c => Ok(a),
        _ => Err(format!(
            "some documents are saved and some are not: {seen:?}"
        )),
    }
}

pub fn warm(redis: &mut redis::Connection) {
    for controller in DEPENDENTS {
        set(redis, &key(controller), b"derived");
    }
}

pub fn dependents(redis: &mut redis::Connection) -> usize {
    let mut there = |controller: &str| get(redis, &key(controller)).is_some();
    DEPENDENTS.into_iter().filter(|it| there(it)).count()
}

/// Temporary files in the run's folder, and journals: what a dead process has left half done.
pub fn left_over(root: &Path, run: &str) -> Vec<String> {
    let names = |folder: &Path| -> Vec<String> {
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .collect()
    };
    let temporary = names(&root.join(run));
    let mut left: Vec<String> = temporary
        .into_iter()
        .filter(|it| it.ends_with(".tmp"))
        .collect();
    left.extend(names(&root.join(".cachetx-journal")));
    left
}
