//! Many clients at once, over HTTP.

use super::{
    open,
    service::{Product, STOCK, serve},
};
use cachetx::{
    BoxError,
    testing::{Server, ServerBinary},
};
use reqwest::{Client, StatusCode};
use std::{collections::BTreeMap, time::Duration};
use tokio::{net::TcpListener, sync::oneshot, task::JoinSet};

const CLIENTS: u32 = 32;
const ORDERS: u32 = 4;

/// One client: orders, and in between all else that is on offer. How many of its orders were taken.
async fn shop_around(client: Client, shop: String, number: u32) -> Result<u32, BoxError> {
    let get = |path: &str| client.get(format!("{shop}{path}")).send();
    let mut taken = 0;
    for round in 0..ORDERS {
        let order = client.post(format!("{shop}/products/tea/orders"));
        let status = order.send().await?.status();
        assert_eq!(status, StatusCode::CREATED);
        taken += 1;
        let cents = 1 + number * ORDERS + round;
        let reprice = client.put(format!("{shop}/products/gin/price"));
        reprice.json(&cents).send().await?.error_for_status()?;
        let prices: BTreeMap<String, u32> = get("/prices").await?.json().await?;
        assert_eq!(prices["tea"], 400);
        assert_eq!(get("/health").await?.status(), StatusCode::OK);
        for none in ["rum", "a.b", "%7B"] {
            let answer = get(&format!("/products/{none}")).await?;
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{none}");
        }
    }
    Ok(taken)
}

/// A client that goes away while its order waits for the lock or is being paid.
async fn give_up(client: Client, shop: String) -> Result<(), BoxError> {
    let order = client.post(format!("{shop}/products/tea/orders"));
    let order = order.timeout(Duration::from_millis(3)).send().await;
    // Or it was quick enough.
    assert!(order.is_ok() || order.is_err_and(|e| e.is_timeout()));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_order_is_counted_and_no_price_is_stale() -> Result<(), BoxError> {
    let server = Server::start(ServerBinary::any().ok_or("no server: run `make servers`")?)?;
    let folder = tempfile::tempdir()?;
    let shop = open(Some(&server.url()), folder.path()).await?;
    let tea = shop.product("tea")?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(serve(listener, shop, async {
        let _ = stopped.await;
    }));

    let client = Client::new();
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(shop_around(client.clone(), address.clone(), number));
        clients.spawn({
            let gives_up = give_up(client.clone(), address.clone());
            async move { gives_up.await.map(|()| 0) }
        });
    }
    let mut taken = 0;
    for client in clients.join_all().await {
        taken += client?;
    }
    assert_eq!(taken, CLIENTS * ORDERS);

    // The list is what the files say.
    let get = |path: &str| client.get(format!("{address}{path}")).send();
    let prices: BTreeMap<String, u32> = get("/prices").await?.json().await?;
    let gin: Product = get("/products/gin").await?.json().await?;
    assert_eq!(prices["gin"], gin.cents);

    let metrics = get("/metrics").await?.text().await?;
    let line = r#"cachetx_saves_total{kind="save",outcome="committed"} "#;
    let committed = metrics.lines().find_map(|it| it.strip_prefix(line));
    let committed: u32 = committed.ok_or("no such metric")?.parse()?;
    assert!(committed >= taken, "{metrics}");

    // Nobody holds the lock for ever. Each order that was answered is sold once, and of those who gave up those that were quick enough.
    let left = tea.lock().await?.stock;
    assert!(
        (STOCK - taken - CLIENTS..=STOCK - taken).contains(&left),
        "{left}"
    );
    stop.send(()).map_err(|()| "it has stopped by itself")?;
    served.await??;
    Ok(())
}
