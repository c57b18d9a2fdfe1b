//! docs/guide/derived-values.md

use crate::{Product, open, product};
use cachetx::{BoxError, Cache, Document, OnBusy, Params, PutOutcome, Rules};
use std::{path::Path, time::Duration};

pub fn run() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let (cache, store) = open(folder.path())?;
    let tea = product(&store, "tea")?;
    price_list(&cache, &tea)?;
    set(&cache)?;
    another_source(&cache)?;
    options(cache.rules(), folder.path())
}

fn price_list(cache: &Cache, tea: &Document<Product>) -> Result<(), BoxError> {
    let shop = Params::new().with("shop_id", "main-street");
    let prices: Vec<u32> = cache.get_or_load_json("price_list", &shop, || {
        Ok(vec![tea.read()?.cents]) // read what the value is made of in here, not before
    })?;
    assert_eq!(prices, [400]);
    Ok(())
}

fn set(cache: &Cache) -> Result<(), BoxError> {
    let shop = Params::new().with("shop_id", "main-street");
    let put = cache.put_json("best_sellers", &shop, &["tea", "gin"])?;
    assert_eq!(put, PutOutcome::Set);
    Ok(())
}

fn another_source(cache: &Cache) -> Result<(), BoxError> {
    let shop = Params::new().with("shop_id", "main-street");
    let mut database = vec!["tea"];
    let (rows, outcome) = cache.invalidate_around(["sell"], &shop, || {
        database.push("gin"); // begins, changes and commits
        Ok(database.len())
    })?;
    assert!(rows == 2 && outcome.is_settled());
    cache.invalidate(["reprice"], &shop)?; // for a change that has happened already
    Ok(())
}

fn options(rules: Rules, outbox: &Path) -> Result<(), BoxError> {
    let cache = Cache::builder(rules)
        .url("redis://127.0.0.1/")
        .early_refresh(Duration::from_secs(5)) // one reader reloads 5 s before the end
        .ttl_jitter(0.1) // entries that are set together do not end together
        .on_busy(OnBusy::LoadWithoutFilling) // do not wait for another loader
        .lease_ttl(Duration::from_secs(30)) // how long others wait for a loader that died
        .outbox(outbox) // without a store, the outbox needs a folder
        .open_lazy()?;
    drop(cache);
    Ok(())
}
