//! `cachetx invalidate` and `locks`: what they do on a server.

use crate::rows::{AWAY, Scene, as_json, code, text};
use cachetx::{
    Cache, Document, OutboxFile, Params, RawObject, Rules, Store,
    testing::{SentinelTrio, ServerBinary},
};
use serde_json::{Value, json};

const SALE: &str =
    "--rules shop.json --task sale --param shop_id=s --param sku=tea --param sku=coffee";
const LOCKS: &str = "main --root root --rules shop.json --run-param shop_id \
                     --layout {shop_id}/{controller}.json --layout product={shop_id}/{sku}.item";

fn client(scene: &Scene) -> redis::Connection {
    let client = redis::Client::open(scene.server.url()).expect("a URL");
    client.get_connection().expect("it connects")
}

/// What is there of the entries that the sale deletes.
fn warm(scene: &Scene) {
    let mut client = client(scene);
    for key in ["shop:{s}:product:tea", "shop:{s}:prices"] {
        redis::cmd("SET")
            .arg(key)
            .arg("1")
            .exec(&mut client)
            .expect("it is set");
    }
}

fn left(scene: &Scene) -> u64 {
    let mut keys = redis::cmd("EXISTS");
    keys.arg(&[
        "shop:{s}:product:tea",
        "shop:{s}:product:coffee",
        "shop:{s}:prices",
    ]);
    keys.query(&mut client(scene)).expect("it answers")
}

#[test]
fn invalidate_says_what_was_there_and_which_keys() {
    let scene = Scene::start();
    warm(&scene);
    let output = scene.run("invalidate", SALE);
    assert_eq!(
        (code(&output), text(&output)),
        (
            Some(0),
            "2 of 3 entries were there and are deleted\n  del shop:{s}:product:tea\n  del shop:{s}:product:coffee\n  del shop:{s}:prices\n"
        )
    );
    assert_eq!(left(&scene), 0);
    let again = scene.run("invalidate", &format!("{SALE} --format json"));
    assert_eq!(
        as_json(&again),
        json!({
            "outcome": "invalidated",
            "removed": 0,
            "keys": ["shop:{s}:product:tea", "shop:{s}:product:coffee", "shop:{s}:prices"],
            "cause": null,
        })
    );
}

#[test]
fn a_server_that_is_away_leaves_a_record_only_where_an_outbox_is_named() {
    let scene = Scene::start();
    warm(&scene);
    let away = |arguments: &str| {
        let mut command = scene.command("invalidate", &format!("{SALE} {arguments}"));
        command.env("CACHETX_URL", AWAY).output().expect("it runs")
    };
    let output = away("--format json");
    assert_eq!(code(&output), Some(1));
    assert!(as_json(&output)["error"].is_string());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("nothing is recorded"), "{said}");

    let output = away("--outbox empty --format json");
    assert_eq!(code(&output), Some(1));
    let told = as_json(&output);
    assert_eq!(
        (&told["outcome"], &told["removed"]),
        (&json!("deferred"), &Value::Null)
    );
    let files = OutboxFile::list(scene.folder.path().join("empty")).expect("listed");
    assert_eq!((files.len(), files[0].records[0].keys.len()), (1, 3));
    assert_eq!(left(&scene), 2);
    // The record is for the server that is away: another one gets it only if it is said to be the same.
    let kept = scene.run("outbox replay", "empty");
    let said = String::from_utf8_lossy(&kept.stderr);
    assert!(
        code(&kept) == Some(1) && said.contains("--any-server"),
        "{said}"
    );
    assert_eq!(left(&scene), 2);
    assert_eq!(
        code(&scene.run("outbox replay", "empty --any-server")),
        Some(0)
    );
    assert_eq!(left(&scene), 0);

    // A typing mistake makes no folder, and a store's root is not its outbox.
    assert_eq!(code(&away("--outbox none")), Some(2));
    assert!(!scene.folder.path().join("none").exists());
    std::fs::create_dir(scene.folder.path().join("root/.cachetx-outbox")).expect("made");
    assert_eq!(code(&away("--outbox root")), Some(2));
    assert_eq!(code(&away("--outbox root/.cachetx-outbox")), Some(1));
}

#[test]
fn locks_are_listed_and_cleared() {
    let scene = Scene::start();
    let rules = Rules::from_path(scene.folder.path().join("shop.json")).expect("it compiles");
    let cache = Cache::builder(rules)
        .url(scene.server.url())
        .open()
        .expect("a cache");
    let store = Store::builder(&cache)
        .root(scene.folder.path().join("root"))
        .run_param("shop_id")
        .layout("{shop_id}/{controller}.json")
        .layout_of("product", "{shop_id}/{sku}.item")
        .open()
        .expect("a store");
    let tea = Params::new().with("sku", "tea");
    let tea: Document<RawObject> = store
        .document_with("main", "product", tea)
        .expect("a handle");
    tea.create(&RawObject::from_json("{}").expect("JSON"))
        .expect("it is made");
    let none = scene.run("locks list", LOCKS);
    assert_eq!((code(&none), text(&none)), (Some(0), "0 locks held\n"));

    let guard = tea.lock().expect("free");
    let held = as_json(&scene.run("locks list", &format!("{LOCKS} --format json")));
    let lock = &held["held"][0];
    assert_eq!(
        (&held["run"], &lock["controller"], &lock["params"]),
        (&json!("main"), &json!("product"), &json!({ "sku": "tea" }))
    );
    let owner = lock["owner"].as_str().expect("text");
    assert!(
        owner.ends_with(&format!(":{}", std::process::id())),
        "{owner}"
    );
    assert!(
        lock["remaining_ms"].as_u64().is_some_and(|left| left > 0),
        "{lock}"
    );

    let cleared = scene.run("locks clear", LOCKS);
    let told = text(&cleared);
    assert!(
        told.starts_with("1 lock cleared\n  product[sku=tea]: "),
        "{told}"
    );
    assert!(store.locks("main").expect("it answers").is_empty());
    let again = as_json(&scene.run("locks clear", &format!("{LOCKS} --format json")));
    assert_eq!(
        again,
        json!({ "run": "main", "cleared": 0, "held_before": [], "files_of_no_layout": 0 })
    );
    drop(guard);

    // Without the layouts of the program that writes them, documents are not found, which is said.
    let without = LOCKS.replace("--layout product={shop_id}/{sku}.item", "");
    assert_ne!(without, LOCKS);
    let blind = scene.run("locks list", &without);
    let said = String::from_utf8_lossy(&blind.stderr);
    assert_eq!((code(&blind), text(&blind)), (Some(1), "0 locks held\n"));
    assert!(said.contains("1 file of no layout"), "{said}");
}

#[test]
fn locks_make_no_root_and_no_run() {
    let scene = Scene::start();
    for (line, complaint) in [
        (
            LOCKS.replace("--root root", "--root none"),
            "none is not there",
        ),
        (
            LOCKS.replace("--root root", "--root shop.json"),
            "is no folder",
        ),
        (LOCKS.replace("product=", "="), "CONTROLLER=TEMPLATE"),
        (
            LOCKS.replace(
                "--layout product={shop_id}/{sku}.item",
                "--layout produce={shop_id}/{sku}.item",
            ),
            "did you mean",
        ),
        (LOCKS.replace("main ", "a/b "), "contains `/`"),
    ] {
        for command in ["locks list", "locks clear"] {
            let output = scene.run(command, &line);
            let said = String::from_utf8_lossy(&output.stderr);
            assert_eq!(code(&output), Some(2), "{line}: {said}");
            assert!(said.contains(complaint), "{line}: {said}");
        }
    }
    assert!(!scene.folder.path().join("none").exists());
    // Documents may be locked before their run's folder is there.
    let other = scene.run("locks list", &LOCKS.replace("main ", "mian "));
    let said = String::from_utf8_lossy(&other.stderr);
    assert!(
        code(&other) == Some(0) && said.contains("mian is not there"),
        "{said}"
    );
    assert!(!scene.folder.path().join("root/mian").exists());
}

#[test]
fn sentinels_name_the_server() {
    let scene = Scene::start();
    let binary = ServerBinary::any().expect("no server found: run `make servers`");
    let trio = SentinelTrio::start(binary).expect("they start");
    let run = |command: &str, arguments: &str| {
        let mut command = scene.command(command, arguments);
        command
            .env("CACHETX_URL", trio.urls().join(" "))
            .output()
            .expect("it runs")
    };
    let named = format!("--sentinel {}", trio.name());
    let booted = run("boot", &named);
    assert_eq!(code(&booted), Some(0), "{booted:?}");
    assert!(
        text(&booted).contains(&format!("sentinel {}", trio.name())),
        "{booted:?}"
    );
    let done = run(
        "invalidate",
        &format!("{SALE} {named} --primary redis://primary/2"),
    );
    assert_eq!(code(&done), Some(0), "{done:?}");
    for wrong in ["", "--cluster --sentinel a", "--primary redis://primary/2"] {
        assert_eq!(code(&run("boot", wrong)), Some(2), "{wrong}");
    }
}
