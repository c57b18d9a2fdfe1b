//! docs/guide/start.md

use crate::Product;
use cachetx::{BoxError, Cache, Document, Params, Rules, Store};

pub fn run() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let root = folder.path();
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/shop.json");

    let rules = Rules::from_path(rules)?;
    let cache = Cache::builder(rules).in_memory().open()?;
    let store = Store::builder(&cache)
        .root(root)
        .run_param("shop_id")
        .layout_of("product", "{shop_id}/product-{sku}.json")
        .open()?;

    let sku = Params::new().with("sku", "tea");
    let tea: Document<Product> = store.document_with("main-street", "product", sku)?;
    tea.create(&Product {
        cents: 400,
        stock: 10,
    })?;

    let shop = Params::new().with("shop_id", "main-street");
    let load = || Ok(vec![("tea".to_owned(), tea.read()?.cents)]);
    let prices: Vec<(String, u32)> = cache.get_or_load_json("price_list", &shop, load)?;
    assert_eq!(prices[0].1, 400);

    let (_, outcome) = tea.update(["reprice"], |tea| {
        tea.cents = 500;
        Ok(())
    })?;
    assert!(outcome.cache.is_settled());
    assert!(cache.get("price_list", &shop)?.is_none());

    assert!(root.join("main-street/product-tea.json").exists());
    cache.close()?;
    Ok(())
}
