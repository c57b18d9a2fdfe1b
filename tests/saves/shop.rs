//! A shop: products, orders, a price list and page fragments in one store, each with its own
//! layout.

use crate::support::{self, World, committed};
use cachetx::{BoxError, Cache, Document, NO_TASKS, Params, Save, Store};
use serde_json::{Value, json};

const SHOP: &str = "main-street";
const RULES: &str = r#"{
  "version": "1.1",
  "cache_keys": {
    "product": "{{{shop_id}}}:product:{sku}",
    "order": "{{{shop_id}}}:order:{year}:{number}",
    "shop": "{{{shop_id}}}:shop",
    "price_list": "{{{shop_id}}}:price_list",
    "search": "{{{shop_id}}}:search",
    "home_page": "{{{shop_id}}}:home_page:{fragment}"
  },
  "depends_on": {
    "price_list": ["product"],
    "search": ["product"]
  },
  "rules": {
    "feature": { "invalidates_cache": ["home_page"] },
    "sell": { "invalidates_cache": ["price_list"] }
  }
}"#;
const DERIVED: [&str; 2] = ["price_list", "search"];

fn cache(world: &World) -> Cache {
    let cache = support::cache_of(RULES.parse().expect("rules"));
    cache.url(world.server.url()).open().expect("a cache")
}

fn store(world: &World, cache: &Cache) -> Store {
    let store = Store::builder(cache)
        .root(world.root.path())
        .run_param("shop_id")
        .layout("{shop_id}/{controller}.json")
        .layout_of("product", "{shop_id}/product-{sku}.json")
        .layout_of("order", "{shop_id}/order-{year}-{number}.json");
    store.open().expect("a store")
}

fn product(store: &Store, sku: &str) -> Document<Value> {
    let params = Params::new().with("sku", sku);
    store
        .document_with(SHOP, "product", params)
        .expect("a document")
}

fn order(store: &Store, year: &str, number: &str) -> Document<Value> {
    let params = Params::from([("year", year), ("number", number)]);
    store
        .document_with(SHOP, "order", params)
        .expect("a document")
}

fn shop() -> Params {
    Params::new().with("shop_id", SHOP)
}

fn fill(cache: &Cache) {
    for controller in DERIVED {
        let value = cache.get_or_load_json(controller, &shop(), || Ok(1));
        value.expect("loaded");
    }
    for fragment in ["top", "news"] {
        let params = shop().with("fragment", fragment);
        let value = cache.get_or_load_json("home_page", &params, || Ok(1));
        value.expect("loaded");
    }
}

fn is_cached(cache: &Cache, controller: &str) -> bool {
    let value = cache.get(controller, &shop()).expect("asked");
    value.is_some()
}

#[test]
fn each_controller_has_files_of_its_own_and_a_save_deletes_what_is_derived() -> Result<(), BoxError>
{
    let world = World::start();
    let cache = cache(&world);
    let store = store(&world, &cache);
    let tea = product(&store, "tea");
    tea.create(&json!({"cents": 400}))?;
    order(&store, "2026", "17").create(&json!(["tea"]))?;
    store.document(SHOP, "shop")?.create(&json!({}))?;
    for file in ["product-tea.json", "order-2026-17.json", "shop.json"] {
        assert!(
            world.root.path().join(SHOP).join(file).exists(),
            "{file} is missing"
        );
    }
    fill(&cache);
    let (.., outcome) = tea.update(NO_TASKS, |tea| {
        tea["cents"] = json!(500);
        Ok(())
    })?;
    assert_eq!(committed(&outcome), 2);
    assert!(DERIVED.iter().all(|derived| !is_cached(&cache, derived)));

    // A save gets the params that the own key does not have.
    fill(&cache);
    let missing = tea
        .update(["feature"], |_| Ok(()))
        .expect_err("which page?");
    assert!(
        missing.is_params() && missing.to_string().contains("`fragment`"),
        "{missing}"
    );
    let featured = Save::new()
        .tasks(["feature"])
        .params(Params::new().with("fragment", ["top", "news"]));
    let (.., outcome) = tea.update_with(featured, |_| Ok(()))?;
    assert_eq!(committed(&outcome), 4);
    Ok(())
}

#[test]
fn a_transaction_saves_across_layouts() -> Result<(), BoxError> {
    let world = World::start();
    let cache = cache(&world);
    let store = store(&world, &cache);
    let (tea, sold) = (product(&store, "tea"), order(&store, "2026", "17"));
    tea.create(&json!({"stock": 10}))?;
    sold.create(&json!([]))?;
    fill(&cache);
    let mut both = store.transaction((&tea, &sold))?;
    both.0["stock"] = json!(9);
    both.1 = json!(["tea"]);
    let outcome = both.commit(["sell"])?;
    assert_eq!(committed(&outcome), 2);
    assert_eq!(*tea.read()?, json!({"stock": 9}));
    assert_eq!(*sold.read()?, json!(["tea"]));
    Ok(())
}

#[test]
fn every_document_is_listed_and_so_is_every_lock() -> Result<(), BoxError> {
    let world = World::start();
    let store = store(&world, &cache(&world));
    let names = |store: &Store| -> Result<Vec<String>, BoxError> {
        let found = store.documents(SHOP)?;
        Ok(found.iter().map(ToString::to_string).collect())
    };
    assert!(names(&store)?.is_empty());
    for sku in ["tea", "gin-and-tonic"] {
        product(&store, sku).create(&json!({}))?;
    }
    let last = order(&store, "2026", "17-b");
    last.create(&json!([]))?;
    store.document(SHOP, "shop")?.create(&json!({}))?;
    // Other files are ignored, even if a layout matches the name but no key does.
    std::fs::create_dir(world.root.path().join(SHOP).join("product-old.json"))?;
    std::os::unix::fs::symlink(
        "shop.json",
        world.root.path().join(SHOP).join("product-link.json"),
    )?;
    let long = format!("product-{}.json", "x".repeat(230));
    for file in [
        &long,
        "order-20:26-17.json",
        "product-tea:stamp.json",
        "order-2026.json",
        "notes.txt",
        "product-.json",
        "product-{.json",
    ] {
        std::fs::write(world.root.path().join(SHOP).join(file), "{}")?;
    }
    let all = [
        "product[sku=gin-and-tonic]",
        "product[sku=tea]",
        "order[year=2026, number=17-b]",
        "shop",
    ];
    assert_eq!(names(&store)?, all);
    // Each can be opened by what is listed.
    for listed in store.documents(SHOP)? {
        let found: Document<Value> =
            store.document_with(SHOP, &listed.controller, listed.params)?;
        assert!(found.exists()?);
    }

    let (tea, held) = (product(&store, "tea"), last.lock()?);
    let other = tea.lock()?;
    let mut locks: Vec<_> = store.locks(SHOP)?;
    locks.sort_by_key(|lock| lock.document.to_string());
    let held_by: Vec<_> = locks.iter().map(|lock| lock.document.to_string()).collect();
    assert_eq!(
        held_by,
        ["order[year=2026, number=17-b]", "product[sku=tea]"]
    );
    let refused = tea.try_lock().expect_err("held").to_string();
    assert!(
        refused.contains("main-street/product[sku=tea]"),
        "{refused}"
    );
    assert_eq!(store.clear_locks(SHOP)?, 2);
    assert!(store.locks(SHOP)?.is_empty());
    drop((held, other));
    Ok(())
}

#[test]
fn layouts_that_could_share_a_file_are_refused() {
    let world = World::start();
    let cache = cache(&world);
    let open = |layouts: &[(&str, &str)]| {
        let store = Store::builder(&cache).root(world.root.path());
        let mut store = store
            .run_param("shop_id")
            .layout("{shop_id}/{controller}.json");
        for (controller, layout) in layouts {
            store = store.layout_of(*controller, *layout);
        }
        store.open().map(drop)
    };
    for (layouts, why) in [
        (
            &[
                ("product", "{shop_id}/{sku}.json"),
                ("order", "{shop_id}/order-{year}-{number}.json"),
            ][..],
            "could share the file",
        ),
        (&[("product", "{shop_id}/{sku}.json")], "`shop.json`"),
        (&[("produkt", "{shop_id}/p-{sku}.json")], "`product`"),
        (
            &[("product", "{shop_id}/products/{sku}.json")],
            "folder/file",
        ),
        (
            &[("product", "{sku}/{shop_id}.json")],
            "the run param alone",
        ),
        (&[("product", "{shop_id}/p-{sku.json")], "not closed"),
        (&[("product", "{shop_id}/product.json")], "share one file"),
        (
            &[("product", "{shop_id}/p-{sku}-{size}.json")],
            "share one entry",
        ),
        (
            &[("shop", "{shop_id}/a.json"), ("shop", "{shop_id}/b.json")],
            "twice",
        ),
    ] {
        let error = open(layouts).expect_err(why);
        assert!(error.to_string().contains(why), "{error}");
    }
    // The same with any lock key.
    let shared = Store::builder(&cache)
        .root(world.root.path())
        .run_param("shop_id")
        .lock_key("lock:{shop_id}:{controller}:{tenant}")
        .layout_of("shop", "{shop_id}/x.json")
        .layout_of("search", "{shop_id}/x.json")
        .open();
    let error = shared.map(drop).expect_err("one file");
    assert!(error.to_string().contains("`x.json`"), "{error}");
}

#[test]
fn a_document_has_one_lock_and_a_run_has_entries_of_its_own() {
    let world = World::start();
    let rules = r#"{ "version": "1.0", "cache_keys": { "product": "product:{sku}", "order": "{{{shop_id}}}:order:{number}" }, "rules": {} }"#;
    let cache = support::cache_of(rules.parse().expect("rules"));
    let cache = cache.in_memory().open().expect("a cache");
    let store = |lock_key: &str| {
        let store = Store::builder(&cache).root(world.root.path());
        let store = store
            .run_param("shop_id")
            .layout("{shop_id}/{controller}.json")
            .layout_of("order", "{shop_id}/order-{number}.json")
            .lock_key(lock_key);
        store.open().expect("a store")
    };
    let params = || Params::from([("sku", "tea"), ("number", "1"), ("tenant", "a")]);
    for (lock_key, controller, why) in [
        (
            "l:{shop_id}:{controller}:{number}:{sku}",
            "product",
            "has no {shop_id}",
        ),
        (
            "l:{shop_id}:{controller}:{number}:{tenant}",
            "order",
            "several locks",
        ),
        ("l:{shop_id}:{controller}", "order", "share one lock"),
    ] {
        let refused = store(lock_key).document_with::<Value>(SHOP, controller, params());
        let error = refused.map(drop).expect_err(why);
        assert!(
            error.is_config() && error.to_string().contains(why),
            "{error}"
        );
    }
}
