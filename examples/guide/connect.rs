//! docs/guide/engines.md, docs/guide/cluster-and-sentinel.md

use cachetx::{BoxError, Cache, Credentials, CrossSlot, Engine, Rules, Store, TlsOptions};
use std::{path::Path, time::Duration};

/// None of these asks for its server before it is used.
pub fn run() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let rules = || Rules::from_path(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/shop.json"));
    for open in [one_server, cluster, sentinel, credentials] {
        let cache = open(rules()?)?;
        replicas(&cache, folder.path())?;
    }
    assert!(tls(rules()?).is_err(), "its certificates are not here");
    Ok(())
}

fn one_server(rules: Rules) -> Result<Cache, BoxError> {
    let cache = Cache::builder(rules)
        .url("redis://127.0.0.1/0")
        .engine(Engine::Auto) // the default
        .connect_timeout(Duration::from_secs(1)) // the default
        .response_timeout(Duration::from_secs(1)) // the default
        .pool_size(16) // the default
        .circuit_breaker(Duration::from_secs(2)) // the default
        .open_lazy()?; // `open` boots at once and fails if the server is unreachable
    Ok(cache)
}

fn cluster(rules: Rules) -> Result<Cache, BoxError> {
    let cache = Cache::builder(rules)
        .cluster(["redis://10.0.0.1/", "redis://10.0.0.2/"])
        .cross_slot(CrossSlot::Refuse) // the default
        .open_lazy()?;
    Ok(cache)
}

fn sentinel(rules: Rules) -> Result<Cache, BoxError> {
    let sentinels = ["redis://10.0.0.1:26379/", "redis://10.0.0.2:26379/"];
    let cache = Cache::builder(rules)
        .sentinel("main", sentinels)
        .credentials(|| Ok(Credentials::password(std::env::var("REDIS_PASSWORD")?)))
        .open_lazy()?;
    Ok(cache)
}

fn credentials(rules: Rules) -> Result<Cache, BoxError> {
    let cache = Cache::builder(rules)
        .url("redis://10.0.0.7/")
        .credentials(|| {
            let password = std::fs::read_to_string("/run/secrets/redis")?;
            Ok(Credentials::new("shop", password.trim_end()))
        })
        .open_lazy()?;
    Ok(cache)
}

fn replicas(cache: &Cache, root: &Path) -> Result<(), BoxError> {
    let store = Store::builder(cache)
        .root(root)
        .run_param("shop_id")
        .layout_of("product", "{shop_id}/product-{sku}.json")
        .wait_replicas(1, Duration::from_millis(200))
        .open()?;
    drop(store);
    Ok(())
}

fn tls(rules: Rules) -> Result<Cache, BoxError> {
    let tls = TlsOptions::new()
        .root_ca("/etc/redis/ca.pem") // the default: the system's authorities
        .client_certificate("/etc/redis/client.pem", "/etc/redis/client.key") // mutual TLS
        .server_name("cache.example.org"); // the default: the URL's host
    let cache = Cache::builder(rules)
        .url("rediss://10.0.0.7/")
        .tls(tls)
        .open_lazy()?;
    Ok(cache)
}
