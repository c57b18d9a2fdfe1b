//! A web shop on tokio: products are documents, the price list is derived from them.
//!
//! `cargo run --features metrics,tokio --example shop` serves it on 127.0.0.1:8080, with the in-memory engine and a temporary folder;
//! `… --example shop -- redis://127.0.0.1/ data/shops` on that server, with its documents in that folder. Then:
//!
//! ```text
//! curl 127.0.0.1:8080/products/tea
//! curl -X PUT -d 5 127.0.0.1:8080/products/tea/price -H content-type:application/json
//! curl -X POST 127.0.0.1:8080/products/tea/orders
//! curl 127.0.0.1:8080/prices
//! curl 127.0.0.1:8080/metrics
//! ```

#[cfg(all(test, feature = "testing"))]
mod load;
mod service;

use cachetx::{BoxError, Cache, Rules, Store, observe::Metrics};
use metrics_exporter_prometheus::PrometheusBuilder;
use service::Shop;
use std::{
    env,
    path::{Path, PathBuf},
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

const RULES: &str = include_str!("../../rules/shop.json");

/// `None` for the in-memory engine.
async fn open(url: Option<&str>, root: &Path) -> Result<Shop, BoxError> {
    let metrics = PrometheusBuilder::new()
        .set_buckets(&Metrics::BUCKETS_SECONDS)?
        .install_recorder()?;
    let cache = Cache::builder(Rules::from_json(RULES)?).observer(Metrics::new());
    let cache = match url {
        Some(url) => cache.url(url).open_async().await?,
        None => cache.in_memory().open_async().await?,
    };
    let store = Store::builder(cache)
        .root(root)
        .run_param("shop_id")
        .layout_of("product", "{shop_id}/product-{sku}.json");
    Shop::open(store.open_async().await?, metrics).await
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let temporary = tempfile::tempdir()?;
    let mut arguments = env::args().skip(1);
    let (url, folder) = (arguments.next(), arguments.next());
    if url.is_some() && folder.is_none() {
        return Err(
            "a server outlives this program, so its documents have to: name their folder too"
                .into(),
        );
    }
    let folder = folder.map_or(temporary.path().to_owned(), PathBuf::from);
    let shop = open(url.as_deref(), &folder).await?;
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("http://{}/prices", listener.local_addr()?);
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    service::serve(listener, shop, stop).await
}
