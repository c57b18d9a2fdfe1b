//! A truth in SQLite, and values derived from it in a cache: a change deletes what depends on it, before and after, in such a way
//! that nobody caches an old value meanwhile, not even where this process dies in the middle.
//!
//! `cargo run --example sqlite` runs on the in-memory engine; `cargo run --example sqlite -- redis://127.0.0.1/` on a server.

use cachetx::{BoxError, Cache, Params, Rules};
use rusqlite::Connection;
use std::path::Path;

/// The yields of the model depend on the soils of the run.
const RULES: &str = r#"{
  "version": "1.0",
  "cache_keys": { "yields": "farm:{run_id}:yields" },
  "rules": { "edit_soils": { "invalidates_cache": ["yields"] } }
}"#;

/// The derived value: dear to compute, so it is cached. It reads on the connection that is written to, and begins after it was
/// called: no older snapshot of the database.
fn yields(cache: &Cache, params: &Params, database: &Connection) -> Result<f64, BoxError> {
    let value = cache.get_or_load_json("yields", params, || {
        let sum = "SELECT total(depth * fertility) FROM soils";
        Ok(database.query_row(sum, [], |row| row.get(0))?)
    })?;
    Ok(value)
}

/// The change: committed when the closure returns, or rolled back.
fn deepen(cache: &Cache, params: &Params, database: &mut Connection) -> Result<usize, BoxError> {
    let (rows, outcome) = cache.invalidate_around(["edit_soils"], params, || {
        let transaction = database.transaction()?;
        let rows = transaction.execute("UPDATE soils SET depth = depth * 2", [])?;
        transaction.commit()?;
        Ok(rows)
    })?;
    println!("{rows} soils changed; the cache: {outcome:?}");
    Ok(rows)
}

fn run(cache: &Cache, folder: &Path) -> Result<(), BoxError> {
    let mut database = Connection::open(folder.join("farm.db"))?;
    database.execute_batch(
        "CREATE TABLE soils (name TEXT, depth REAL, fertility REAL);
         INSERT INTO soils VALUES ('sand', 0.5, 1.0), ('loam', 1.0, 3.0);",
    )?;
    let params = Params::new().with("run_id", "copacetic-sled");

    assert_eq!(yields(cache, &params, &database)?, 3.5);
    assert_eq!(cache.get_json("yields", &params)?, Some(3.5));
    deepen(cache, &params, &mut database)?;
    assert_eq!(cache.get_json::<f64>("yields", &params)?, None);
    assert_eq!(yields(cache, &params, &database)?, 7.0);

    // A change that fails is no proof that nothing was changed: the entry goes all the same.
    let failed = cache.invalidate_around(["edit_soils"], &params, || {
        database.execute("UPDATE soil SET depth = 0", [])?;
        Ok(())
    });
    println!("as expected: {}", failed.expect_err("no such table"));
    assert_eq!(cache.get_json::<f64>("yields", &params)?, None);
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let builder = Cache::builder(Rules::from_json(RULES)?);
    let builder = match std::env::args().nth(1) {
        // What is to be deleted is recorded here first: another process finishes it, should this one die.
        Some(url) => builder.url(url).outbox(folder.path().join("outbox")),
        None => builder.in_memory(),
    };
    run(&builder.open()?, folder.path())
}

#[test]
fn the_example_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = Rules::from_json(RULES).expect("the rules compile");
    let cache = Cache::builder(rules).in_memory().open().expect("a cache");
    run(&cache, folder.path()).expect("it runs");
}
