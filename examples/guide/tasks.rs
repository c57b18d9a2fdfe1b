//! docs/guide/tokio.md

use crate::Product;
use cachetx::{
    BoxError, Error, Params, Rules,
    aio::{Cache, Document, Locked, Store},
};
use std::{path::Path, time::Duration};

#[tokio::main(flavor = "current_thread")]
pub async fn run() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let (cache, store) = open(folder.path()).await?;
    let sku = Params::new().with("sku", "tea");
    let tea: Document<Product> = store.document_with("main-street", "product", sku)?;
    tea.create(&Product {
        cents: 400,
        stock: 10,
    })
    .await?;
    sell(&tea).await?;
    reprice(&tea, 400).await?;
    restock(&tea, 1).await?;
    in_time(&tea).await?;

    let shop = Params::new().with("shop_id", "main-street");
    let load = || async { Ok(vec![tea.read().await?.cents]) };
    let prices: Vec<u32> = cache.get_or_load_json("price_list", &shop, load).await?;
    assert_eq!(prices, [400]);

    another_source(&cache, &Database::default()).await?;

    cache.close().await?; // before the runtime ends
    Ok(())
}

async fn open(root: &Path) -> Result<(Cache, Store), BoxError> {
    let rules = Rules::from_path(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/shop.json"))?;
    let cache = Cache::builder(rules).in_memory().open_async().await?;
    let store = Store::builder(cache.clone())
        .root(root)
        .run_param("shop_id")
        .layout_of("product", "{shop_id}/product-{sku}.json")
        .open_async()
        .await?;
    Ok((cache, store))
}

async fn sell(tea: &Document<Product>) -> Result<(), BoxError> {
    let mut held = tea.lock().await?; // other tasks wait without a thread
    pay(held.cents).await; // a guard may be held over an await
    held.stock -= 1;
    held.dump_and_unlock_with_transaction(["sell"]).await?;
    Ok(())
}

/// Returns the price before.
async fn reprice(tea: &Document<Product>, cents: u32) -> Result<u32, Error> {
    let (before, _) = tea
        .update(["reprice"], move |tea| {
            let before = tea.cents;
            tea.cents = cents;
            Ok(before)
        })
        .await?;
    Ok(before)
}

async fn restock(tea: &Document<Product>, pieces: u32) -> Result<(), BoxError> {
    let mut held = tea.lock().await?;
    held.stock += pieces;
    let saved = held.dump_and_unlock_with_transaction(["sell"]).await;
    saved.map_err(Error::from)?; // an error without the guard: the lock is released
    Ok(())
}

async fn pay(_cents: u32) {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

async fn in_time(tea: &Document<Product>) -> Result<(), BoxError> {
    let waiting = tea.lock_timeout(Duration::from_secs(5));
    tokio::select! {
        held = waiting => Locked::unlock(held?).await,
        () = shutdown() => return Ok(()), // the wait is over, and nothing is held
    };
    Ok(())
}

async fn another_source(cache: &Cache, database: &Database) -> Result<(), BoxError> {
    let shop = Params::new().with("shop_id", "main-street");
    let change = || async {
        let mut transaction = database.begin().await?;
        transaction
            .execute("INSERT INTO sales VALUES ($1, $2)")
            .await?;
        transaction.commit().await?; // has to be over when the closure ends
        Ok(())
    };
    let ((), outcome) = cache.invalidate_around(["sell"], &shop, change).await?;
    assert!(outcome.is_settled());
    Ok(())
}

/// Has the shape of a client of PostgreSQL.
#[derive(Default)]
struct Database {
    committed: tokio::sync::Mutex<Vec<String>>,
}

struct Transaction<'a> {
    database: &'a Database,
    changes: Vec<String>,
}

impl Database {
    async fn begin(&self) -> std::io::Result<Transaction<'_>> {
        let changes = Vec::new();
        Ok(Transaction {
            database: self,
            changes,
        })
    }
}

impl Transaction<'_> {
    async fn execute(&mut self, change: &str) -> std::io::Result<()> {
        self.changes.push(change.to_owned());
        Ok(())
    }

    async fn commit(self) -> std::io::Result<()> {
        self.database.committed.lock().await.extend(self.changes);
        Ok(())
    }
}

async fn shutdown() {
    tokio::time::sleep(Duration::from_secs(60)).await;
}
