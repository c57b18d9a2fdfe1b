//! The code of docs/guide: its pages quote these files, and a test compares them.
//!
//! `cargo run --features testing,tokio --example guide` runs what needs no server of its own.

mod connect;
mod derived;
mod reads;
mod saves;
mod start;
mod tasks;
mod transactions;

use cachetx::{BoxError, Cache, Document, Params, Rules, Store};
use serde::{Deserialize, Serialize};
use std::path::Path;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Product {
    cents: u32,
    stock: u32,
}

/// A store of products on an in-memory server.
fn open(folder: &Path) -> Result<(Cache, Store), BoxError> {
    let rules = Rules::from_path(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/shop.json"))?;
    let cache = Cache::builder(rules).in_memory().open()?;
    let store = Store::builder(&cache)
        .root(folder)
        .run_param("shop_id")
        .layout_of("product", "{shop_id}/product-{sku}.json")
        .open()?;
    Ok((cache, store))
}

/// A new product.
fn product(store: &Store, sku: &str) -> Result<Document<Product>, BoxError> {
    let params = Params::new().with("sku", sku);
    let product = store.document_with("main-street", "product", params)?;
    product.create(&Product {
        cents: 400,
        stock: 10,
    })?;
    Ok(product)
}

fn main() -> Result<(), BoxError> {
    let pages: [fn() -> Result<(), BoxError>; 7] = [
        start::run,
        saves::run,
        reads::run,
        derived::run,
        transactions::run,
        connect::run,
        tasks::run,
    ];
    pages.into_iter().try_for_each(|page| page())
}

#[test]
fn each_page_runs() -> Result<(), BoxError> {
    main()
}
