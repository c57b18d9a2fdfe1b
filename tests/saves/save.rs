//! A document from its creation to its end, on every server.

use crate::support::{self, Climate, RUN, World, committed, get, key, on_every_server, pttl};
use cachetx::{
    CacheOutcome, Document, Engine, NO_TASKS, Params, RawObject, Save, Store,
    testing::{ServerBinary, ServerOptions},
};
use std::fs;

#[test]
fn from_its_making_to_its_end() {
    on_every_server(|world| {
        let store = world.store();
        let document = world.climate(&store);
        assert_eq!(document.cache_key(), key("climate"));
        assert!(!document.exists().expect("looked"));
        assert!(document.lock().expect_err("there is none").is_not_found());
        assert!(document.read().expect_err("there is none").is_not_found());

        committed(&document.create(&Climate::of(1)).expect("created"));
        assert!(
            document
                .create(&Climate::of(9))
                .expect_err("there is one")
                .is_already_exists()
        );
        assert_eq!(
            store.documents(RUN).expect("listed")[0].to_string(),
            "climate"
        );
        assert_eq!(*document.read().expect("read"), Climate::of(1));

        world.warm();
        let mut held = document.lock().expect("locked");
        held.years = 30;
        // With the task: its two controllers, and wepp, which depends on climate.
        let outcome = held
            .dump_and_unlock_with_transaction(["build_climate"])
            .expect("saved");
        assert_eq!(committed(&outcome), 3);
        assert_eq!(world.dependents(), 0);
        assert_eq!(world.on_disk(), Climate::of(30));

        world.warm();
        // Without the task: the dependents of the document itself.
        assert_eq!(
            committed(
                &document
                    .lock()
                    .expect("locked")
                    .dump_and_unlock()
                    .expect("saved")
            ),
            1
        );
        assert_eq!(world.dependents(), 2);

        let mut redis = world.redis();
        assert_eq!(
            get(&mut redis, &key("climate")),
            Some(fs::read(world.file()).expect("there"))
        );
        for sibling in ["", ":stamp"] {
            let ttl = pttl(&mut redis, &(key("climate") + sibling));
            assert!(
                (990_000..=1_000_000).contains(&ttl),
                "{sibling}: {ttl} ms of the controller's 1000 s"
            );
        }
        assert_eq!(document.read().expect("read").years, 30);

        world.warm();
        let outcome = document.delete(["build_climate"]).expect("deleted");
        assert!(
            matches!(outcome.cache, CacheOutcome::Invalidated { removed: 4 }),
            "{outcome:?}"
        );
        assert!(!document.exists().expect("looked"));
        assert_eq!(
            (world.dependents(), get(&mut redis, &key("climate"))),
            (0, None)
        );
        assert!(document.delete(NO_TASKS).expect_err("gone").is_not_found());
        committed(&document.create(&Climate::of(2)).expect("made anew"));
        assert_eq!(document.read().expect("read").years, 2);
    });
}

#[test]
fn a_read_only_marker_refuses_locks_and_writes() {
    let world = World::start();
    let document = world.climate(&world.store());
    document.create(&Climate::of(1)).expect("created");
    let mut held = document.lock().expect("locked");
    held.years = 2;
    let marker = world.run_folder().join("READONLY");
    fs::write(&marker, "").expect("written");

    let refused = held.dump_and_unlock().expect_err("refused");
    assert!(refused.error().is_read_only(), "{refused}");
    assert_eq!(refused.into_value().years, 2);
    assert!(document.lock().expect_err("refused").is_read_only());
    assert!(
        document
            .delete(NO_TASKS)
            .expect_err("refused")
            .is_read_only()
    );
    let soils: Document<Climate> = world.store().document(RUN, "soils").expect("a document");
    assert!(
        soils
            .create(&Climate::of(1))
            .expect_err("refused")
            .is_read_only()
    );
    assert_eq!(document.read().expect("reading is fine").years, 1);
    assert!(world.temporary_files().is_empty());
    fs::remove_file(marker).expect("removed");
    document
        .lock()
        .expect("locked")
        .dump_and_unlock()
        .expect("saved");
}

#[test]
fn a_foreign_document_keeps_every_other_byte() {
    let world = World::start();
    let store = world.store();
    let samples =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/Test_Watershed_15");
    let mut texts = vec![(
        "{ \"b\": 12345678901234567890123, \"a\":1e-06 ,\"wd\": \"x\", \"u\": \"\\u00e9é\", \"f\":250.0 }\n".to_owned(),
        "made up",
    )];
    for name in ["climate.nodb", "wepp.nodb"] {
        match fs::read_to_string(samples.join(name)) {
            Ok(text) => texts.push((text, name)),
            Err(_) => support::skipped(name, "the sample documents are not here"),
        }
    }
    fs::create_dir(world.run_folder()).expect("made");
    for (text, name) in texts {
        fs::write(world.file(), &text).expect("written");
        let document: Document<RawObject> = store.document(RUN, "climate").expect("a document");
        let outcome = document.locked(|raw| Ok(raw.set("wd", &"elsewhere")?));
        outcome.expect("saved");
        let (start, rest) = text.split_once("\"wd\": \"").expect("it has one");
        let (_, end) = rest.split_once('"').expect("it ends");
        let expected = format!("{start}\"wd\": \"elsewhere\"{end}");
        assert_eq!(
            fs::read_to_string(world.file()).expect("there"),
            expected,
            "{name}"
        );
        assert_eq!(
            get(&mut world.redis(), &key("climate")),
            Some(expected.into_bytes()),
            "{name}"
        );
    }
}

#[test]
fn the_lock_key_and_the_layout_are_the_callers() {
    let world = World::start();
    let rules = r#"{ "version": "1.0",
        "cache_keys": { "climate": "nodb_cache:{project}:climate", "omni": "nodb_cache:{project}:omni:{scenario}" },
        "rules": { "run": { "invalidates_cache": ["omni"] } } }"#;
    let cache = support::cache_of(rules.parse().expect("rules"))
        .url(world.server.url())
        .open()
        .expect("a cache");
    let builder = || {
        cachetx::Store::builder(&cache)
            .root(world.root.path())
            .run_param("project")
    };
    let store = builder()
        .layout("{project}/{controller}.json")
        .lock_key("nodb-lock:{project}:{controller}.nodb")
        .open()
        .expect("a store");
    let run = "copacetic-sled;;omni;;undisturbed";
    let document: Document<Climate> = store.document(run, "climate").expect("a document");
    document.create(&Climate::of(1)).expect("created");
    assert!(world.root.path().join(run).join("climate.json").exists());
    let held = document.lock().expect("locked");
    let value = get(&mut world.redis(), &format!("nodb-lock:{run}:climate.nodb")).expect("held");
    let value: serde_json::Value = serde_json::from_slice(&value).expect("JSON");
    for field in ["token", "owner", "acquired_at", "expires_at", "ttl"] {
        assert!(value.get(field).is_some(), "{field} is missing in {value}");
    }
    drop(held);

    // A controller with more placeholders: refused if documents would share a file; else each has
    // its own.
    let scenario = || Params::new().with("scenario", "burned");
    let shared = store
        .document_with::<Climate>(run, "omni", scenario())
        .expect_err("one file for all");
    assert!(shared.is_config(), "{shared}");
    let store = builder()
        .layout("{project}/{controller}-{scenario}.json")
        .open()
        .expect("a store");
    // The other way round: own files and one key.
    let shared = store
        .document_with::<Climate>(run, "climate", scenario())
        .expect_err("one entry for all");
    assert!(shared.is_config(), "{shared}");
    assert!(shared.to_string().contains("{scenario}"), "{shared}");
    let omni: Document<Climate> = store
        .document_with(run, "omni", scenario())
        .expect("a document");
    omni.create(&Climate::of(3)).expect("created");
    assert!(
        world
            .root
            .path()
            .join(run)
            .join("omni-burned.json")
            .exists()
    );
    assert!(omni.clear_lock().is_ok_and(|was_there| !was_there));

    // The params of a save extend what its tasks delete.
    let mut redis = world.redis();
    for scenario in ["burned", "unburned"] {
        support::set(
            &mut redis,
            &format!("nodb_cache:{run}:omni:{scenario}"),
            b"derived",
        );
    }
    let save = Save::new()
        .tasks(["run"])
        .params(Params::new().with("scenario", ["burned", "unburned"]));
    let (_, outcome) = document
        .locked_with(save, |climate| {
            climate.years = 5;
            Ok(())
        })
        .expect("saved");
    assert_eq!(committed(&outcome), 2);
}

/// A document that is bigger than any value that the server takes: the file is saved and readers
/// get it, the old entry and the dependents are gone, and no connection is lost.
#[test]
fn a_document_over_the_server_s_bound_is_saved_and_not_cached() {
    const BOUND: usize = 1024 * 1024;
    for binary in ServerBinary::all() {
        for engine in [Engine::Script, Engine::Watch] {
            let options = ServerOptions::new().config("proto-max-bulk-len", &BOUND.to_string());
            let world = World {
                server: options.start(binary).expect("the server starts"),
                root: tempfile::TempDir::new().expect("a temporary folder"),
            };
            let cache = world.cache_builder().engine(engine).open();
            let store = Store::builder(cache.expect("a cache")).root(world.root.path());
            let store = store.open().expect("a store");
            let document = world.climate(&store);
            document.create(&Climate::of(1)).expect("made");
            world.warm();
            let mut held = document.lock().expect("locked");
            held.note = "x".repeat(BOUND);
            let outcome = held.dump_and_unlock_with_transaction(["build_climate"]);
            let outcome = outcome.expect("saved");
            assert!(
                matches!(outcome.cache, CacheOutcome::Invalidated { removed: 4 }),
                "{outcome:?}"
            );
            assert_eq!(world.on_disk().note.len(), BOUND);
            assert_eq!(document.read().expect("read").note.len(), BOUND);
            assert_eq!(get(&mut world.redis(), &key("climate")), None);
            assert_eq!(store.cache().stats().reconnects, 0);
            drop(document.try_lock().expect("free"));
        }
    }
}
