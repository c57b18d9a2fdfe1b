//! What a save costs whose dependents' keys have a param that its own key does not have, by the number of values in the list that it is
//! given; and what two designs cost that were dropped. docs/design.md cites it.
//!
//! `cargo run --release --features testing --example list_param` starts a private server. Each row is of saves that find all of their
//! dependents there: requests as the server counts them, its CPU time by `INFO cpu`, per save.

use cachetx::{
    BoxError, Cache, Document, Params, RawObject, Rules, Save, Store,
    testing::{Server, ServerBinary},
};
use std::path::Path;

const RULES: &str = r#"{
  "version": "1.1",
  "cache_keys": {
    "product": "{{{shop_id}}}:product:{sku}",
    "home_page": "{{{shop_id}}}:home:{fragment}"
  },
  "depends_on": { "home_page": ["product"] },
  "rules": {}
}"#;

/// Saves of each row, of a shop each.
const SAVES: usize = 50;
/// Bytes of a dependent, and of the product.
const BYTES: usize = 100;

/// Of the server, since it was started.
#[derive(Clone, Copy)]
struct Spent {
    microseconds: f64,
    bytes: f64,
}

fn spent(server: &mut redis::Connection) -> Result<Spent, BoxError> {
    let info: String = redis::cmd("INFO").arg("everything").query(server)?;
    let field = |name: &str| -> Result<f64, BoxError> {
        let mut lines = info.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(value.ok_or("INFO lacks a field")?.trim().parse()?)
    };
    Ok(Spent {
        microseconds: (field("used_cpu_user")? + field("used_cpu_sys")?) * 1e6,
        bytes: field("total_net_input_bytes")?,
    })
}

fn home_pages(shop: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{{{shop}}}:home:{n}")).collect()
}

/// Puts all dependents of all shops there, and their names into a set where one is kept.
fn fill(server: &mut redis::Connection, count: usize, set: bool) -> Result<(), BoxError> {
    redis::cmd("FLUSHALL").exec(server)?;
    let value = "x".repeat(BYTES);
    for shop in (0..SAVES).map(|n| format!("shop-{n}")) {
        let mut pipe = redis::pipe();
        for key in home_pages(&shop, count) {
            pipe.set(&key, &value).ignore();
            if set {
                pipe.sadd(format!("{{{shop}}}:home"), &key).ignore();
            }
        }
        pipe.exec(server)?;
    }
    Ok(())
}

/// The library's own way: the list goes with the save.
fn by_list(store: &Store, shop: &str, count: usize) -> Result<(), BoxError> {
    let tea: Document<RawObject> =
        store.document_with(shop, "product", Params::new().with("sku", "tea"))?;
    let fragments: Vec<String> = (0..count).map(|n| n.to_string()).collect();
    let save = Save::new().params(Params::new().with("fragment", fragments));
    tea.update_with(save, |tea| Ok(tea.set("note", &"x".repeat(BYTES))?))?;
    Ok(())
}

/// Dropped: what was cached is read from a set beside it, then deleted with it.
fn by_set(server: &mut redis::Connection, shop: &str) -> Result<(), BoxError> {
    let set = format!("{{{shop}}}:home");
    let keys: Vec<String> = redis::cmd("SMEMBERS").arg(&set).query(server)?;
    let mut pipe = redis::pipe();
    let value = "x".repeat(BYTES);
    pipe.atomic().set(format!("{{{shop}}}:product:tea"), value);
    pipe.cmd("UNLINK").arg(keys).arg(set);
    Ok(pipe.exec(server)?)
}

/// Dropped: a number in the dependents' keys, which readers ask for first.
fn by_generation(server: &mut redis::Connection, shop: &str) -> Result<(), BoxError> {
    let mut pipe = redis::pipe();
    let value = "x".repeat(BYTES);
    pipe.atomic().set(format!("{{{shop}}}:product:tea"), value);
    pipe.incr(format!("{{{shop}}}:home"), 1);
    Ok(pipe.exec(server)?)
}

fn make_products(folder: &Path) -> std::io::Result<()> {
    for shop in (0..SAVES).map(|n| folder.join(format!("shop-{n}"))) {
        std::fs::create_dir(&shop)?;
        std::fs::write(shop.join("product-tea.json"), "{}")?;
    }
    Ok(())
}

fn main() -> Result<(), BoxError> {
    let binary = ServerBinary::any().ok_or("no server was found")?;
    let private = Server::start(binary)?;
    let mut server = redis::Client::open(private.unix_url())?.get_connection()?;
    let folder = tempfile::tempdir()?;
    let cache = Cache::builder(RULES.parse::<Rules>()?).url(private.unix_url());
    let cache = cache.open()?;
    let store = Store::builder(&cache)
        .root(folder.path())
        .run_param("shop_id");
    let store = store
        .layout_of("product", "{shop_id}/product-{sku}.json")
        .open()?;
    make_products(folder.path())?;
    println!("{binary}, {SAVES} saves a row; per save:");
    println!("| dependents | way | bytes sent | server's CPU, us |");
    println!("| ---: | --- | ---: | ---: |");
    for count in [1, 10, 100, 1_000] {
        for way in ["list param", "set beside", "generation"] {
            fill(&mut server, count, way == "set beside")?;
            let before = spent(&mut server)?;
            for shop in (0..SAVES).map(|n| format!("shop-{n}")) {
                match way {
                    "list param" => by_list(&store, &shop, count)?,
                    "set beside" => by_set(&mut server, &shop)?,
                    _ => by_generation(&mut server, &shop)?,
                }
            }
            let after = spent(&mut server)?;
            let per_save = |after: f64, before: f64| (after - before) / SAVES as f64;
            println!(
                "| {count} | {way} | {:.0} | {:.0} |",
                per_save(after.bytes, before.bytes),
                per_save(after.microseconds, before.microseconds)
            );
        }
    }
    Ok(())
}
