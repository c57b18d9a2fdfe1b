//! docs/guide/start.md

use cachetx::{BoxError, Cache, Document, Params, Rules, Store};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Product {
    cents: u32,
    stock: u32,
}

pub fn run() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let root = folder.path().to_str().ok_or("not UTF-8")?;
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/shop.json");
    program(rules, root)?;
    program(rules, root)?; // it can be repeated
    assert!(folder.path().join("main-street/product-tea.json").exists());
    Ok(())
}

/// The page's `main`.
fn program(rules: &str, root: &str) -> Result<(), BoxError> {
    let rules = Rules::from_path(rules)?;
    let cache = Cache::builder(rules).in_memory().open()?;
    let store = Store::builder(&cache)
        .root(root)
        .run_param("shop_id")
        .layout_of("product", "{shop_id}/product-{sku}.json")
        .open()?;

    let sku = Params::new().with("sku", "tea");
    let tea: Document<Product> = store.document_with("main-street", "product", sku)?;
    let first = Product {
        cents: 400,
        stock: 10,
    };
    match tea.create(&first) {
        Err(e) if !e.is_already_exists() => return Err(e.into()),
        _ => {} // created now, or by an earlier run
    }

    let shop = Params::new().with("shop_id", "main-street");
    let load = || Ok(vec![("tea".to_owned(), tea.read()?.cents)]);
    let prices: Vec<(String, u32)> = cache.get_or_load_json("price_list", &shop, load)?;
    println!("{prices:?}");

    let (_, outcome) = tea.update(["reprice"], |tea| {
        tea.cents += 100;
        Ok(())
    })?;
    assert!(outcome.cache.is_settled());
    assert!(cache.get("price_list", &shop)?.is_none());

    cache.close()?;
    Ok(())
}
