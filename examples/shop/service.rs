//! Its handlers.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use cachetx::{
    BoxError, Error, Params,
    aio::{Cache, Document, Locked, Store},
    observe::Metrics,
};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use tokio::net::TcpListener;

/// The only one, and what it sells.
const SHOP: &str = "main-street";
const SKUS: [&str; 2] = ["tea", "gin"];
pub const STOCK: u32 = 1_000;
/// How long whoever pays for an order is waited for.
const PAYMENT: Duration = Duration::from_millis(5);

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Product {
    pub cents: u32,
    pub stock: u32,
}

/// What handlers share.
#[derive(Clone)]
pub struct Shop {
    cache: Cache,
    store: Store,
    metrics: PrometheusHandle,
}

/// A failure as the client sees it: what was not found or is busy is no fault of the service.
pub struct Failure(Error);

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let error = self.0;
        let status = if error.is_not_found() || error.is_invalid_name() || error.is_params() {
            StatusCode::NOT_FOUND
        } else if error.is_retryable() {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        (status, error.to_string()).into_response()
    }
}

impl Shop {
    /// Makes the products that are not there yet.
    pub async fn open(store: Store, metrics: PrometheusHandle) -> Result<Self, BoxError> {
        let shop = Self {
            cache: store.cache(),
            store,
            metrics,
        };
        for sku in SKUS {
            let product = shop.product(sku)?;
            let first = Product {
                cents: 400,
                stock: STOCK,
            };
            match product.create(&first).await {
                Err(e) if !e.is_already_exists() => return Err(e.into()),
                _ => {}
            }
        }
        Ok(shop)
    }

    pub fn product(&self, sku: &str) -> Result<Document<Product>, Error> {
        let params = Params::new().with("sku", sku);
        self.store.document_with(SHOP, "product", params)
    }
}

/// Answers requests until `stop` comes to its end, then those that have begun; what is left for the server is brought there before it returns.
pub async fn serve(
    listener: TcpListener,
    shop: Shop,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), BoxError> {
    let cache = shop.cache.clone();
    axum::serve(listener, routes(shop))
        .with_graceful_shutdown(stop)
        .await?;
    cache.close().await?;
    Ok(())
}

fn routes(shop: Shop) -> Router {
    Router::new()
        .route("/products/{sku}", get(product))
        .route("/products/{sku}/price", put(reprice))
        .route("/products/{sku}/orders", post(order))
        .route("/prices", get(prices))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .with_state(shop)
}

/// As the file says.
async fn product(
    State(shop): State<Shop>,
    Path(sku): Path<String>,
) -> Result<Json<Product>, Failure> {
    let product = shop.product(&sku)?.read().await?;
    Ok(Json(Product::clone(&product)))
}

/// A short change that needs nothing but the document: `update`, without a lock.
async fn reprice(
    State(shop): State<Shop>,
    Path(sku): Path<String>,
    Json(cents): Json<u32>,
) -> Result<StatusCode, Failure> {
    let product = shop.product(&sku)?;
    product
        .update(["reprice"], move |product| {
            product.cents = cents;
            Ok(())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A payment takes long and must not be made twice, so it is made under the document's lock. Other orders wait for the lock, without a thread. A client that
/// goes away while its order waits has ordered nothing: this future is dropped. From the payment on the order goes on without it.
async fn order(State(shop): State<Shop>, Path(sku): Path<String>) -> Result<StatusCode, Failure> {
    let product = shop.product(&sku)?.lock().await?;
    if product.stock == 0 {
        return Ok(StatusCode::CONFLICT);
    }
    match tokio::spawn(sell(product)).await {
        Ok(sold) => sold.map(|()| StatusCode::CREATED).map_err(Failure),
        Err(_) => Ok(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

async fn sell(mut product: Locked<Product>) -> Result<(), Error> {
    let payment = pay(product.cents).await;
    product.stock -= 1;
    let saved = product.dump_and_unlock_with_transaction(["sell"]).await;
    if let Err(unsaved) = saved {
        payment.refund().await;
        return Err(unsaved.into());
    }
    Ok(())
}

/// Stands for a request to another service.
async fn pay(_cents: u32) -> Payment {
    tokio::time::sleep(PAYMENT).await;
    Payment
}

struct Payment;

impl Payment {
    async fn refund(self) {
        tokio::time::sleep(PAYMENT).await;
    }
}

/// From the cache. After a product was saved, one of those who ask makes the list anew.
async fn prices(State(shop): State<Shop>) -> Result<Json<BTreeMap<String, u32>>, Failure> {
    let params = Params::new().with("shop_id", SHOP);
    let prices = shop
        .cache
        .get_or_load_json("price_list", &params, || async {
            let mut prices = BTreeMap::new();
            for sku in SKUS {
                prices.insert(sku.to_owned(), shop.product(sku)?.read().await?.cents);
            }
            Ok(prices)
        });
    Ok(Json(prices.await?))
}

/// Answered while other handlers wait for locks: they hold no thread.
async fn health() -> StatusCode {
    StatusCode::OK
}

/// For Prometheus.
async fn metrics(State(shop): State<Shop>) -> String {
    Metrics::poll(&shop.cache.stats());
    shop.metrics.render()
}
