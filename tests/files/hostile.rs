//! Hostile input, each with a clear error, and nothing lost.

use crate::support::{Climate, RUN, World, get, key};
use cachetx::{Cache, Document, Error, Locked, NO_TASKS, Params, RawObject, Rules, Save, Store};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fs, os::unix::fs::symlink, path::PathBuf, time::Duration};

#[track_caller]
fn says(error: &Error, parts: &[&str]) {
    let told = error.to_string();
    for part in parts {
        assert!(told.contains(part), "{told:?} does not say {part:?}");
    }
}

#[test]
fn run_ids_that_are_no_folder_names() {
    let world = World::start();
    // Below the root's parent, which belongs to the test: a shared folder may contain anything.
    let store = Store::builder(world.cache())
        .root(world.root.path().join("root"))
        .open()
        .expect("a store");
    let outside = world.root.path().join("x");
    let long = "r".repeat(300);
    for run in [
        "../x",
        "/etc",
        "a/../../b",
        "..",
        ".",
        "",
        ".hidden",
        "a/b",
        "nul\0",
        "line\nbreak",
        &long,
    ] {
        let refused = store.document::<Climate>(run, "climate").expect_err(run);
        assert!(refused.is_invalid_name(), "{run:?}: {refused}");
        says(&refused, &["run id"]);
        assert!(store.clear_locks(run).expect_err(run).is_invalid_name());
        assert!(store.documents(run).expect_err(run).is_invalid_name());
    }
    // Valid as a folder's name, but not in a key.
    for run in ["a{b", "a}b"] {
        assert!(
            store
                .document::<Climate>(run, "climate")
                .expect_err(run)
                .is_params()
        );
    }
    assert!(!outside.exists());
    let made = fs::read_dir(world.root.path().join("root"));
    assert_eq!(made.expect("the root").count(), 0, "nothing was made");
    let unknown = store
        .document::<Climate>(RUN, "climat")
        .expect_err("no such controller");
    says(&unknown, &["climat", "did you mean", "climate"]);
}

#[test]
fn symbolic_links_lead_nowhere() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    let elsewhere = tempfile::tempdir().expect("a folder");
    fs::write(elsewhere.path().join("climate.nodb"), r#"{"years":1}"#).expect("written");

    // The run folder.
    symlink(elsewhere.path(), world.run_folder()).expect("linked");
    for refused in [
        document.lock().map(drop).expect_err("a link"),
        document.read().map(drop).expect_err("a link"),
        document
            .create(&Climate::of(1))
            .map(drop)
            .expect_err("a link"),
        document.delete(NO_TASKS).map(drop).expect_err("a link"),
    ] {
        says(&refused, &[RUN, "symbolic link"]);
    }
    fs::remove_file(world.run_folder()).expect("removed");

    // The document, and its sidecar.
    fs::create_dir(world.run_folder()).expect("made");
    symlink(elsewhere.path().join("climate.nodb"), world.file()).expect("linked");
    says(
        &document.lock().expect_err("a link"),
        &["climate.nodb", "symbolic link"],
    );
    says(&document.read().expect_err("a link"), &["symbolic link"]);
    fs::remove_file(world.file()).expect("removed");
    let sidecar = world.run_folder().join(".climate.nodb.cachetx");
    symlink(elsewhere.path().join("planted"), &sidecar).expect("linked");
    assert!(
        document
            .create(&Climate::of(1))
            .expect_err("a link")
            .is_io()
    );
    assert!(!elsewhere.path().join("planted").exists());
    assert_eq!(
        fs::read(elsewhere.path().join("climate.nodb")).expect("there"),
        br#"{"years":1}"#
    );
    fs::remove_file(sidecar).expect("removed");
    document
        .create(&Climate::of(1))
        .expect("now it can be made");
}

#[test]
fn files_that_are_no_documents() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    fs::create_dir(world.run_folder()).expect("made");
    let cases: [(&[u8], &[&str]); 9] = [
        (b"", &["empty"]),
        (b"   \n", &["empty"]),
        (b"{\"years\": 1", &["line 1"]),
        (b"years: 1", &["line 1"]),
        (b"{\"years\": 1}{", &["trailing"]),
        (b"\xff\xfe{}", &["UTF-8"]),
        (b"{\"years\": \"many\"}", &["years"]),
        (
            b"{\n\"a\": [1, NaN], \"years\": 1}",
            &["NaN", "line 2", "column 10"],
        ),
        (
            b"{\"years\": 1, \"b\": -Infinity}",
            &["-Infinity", "line 1", "column 19"],
        ),
    ];
    for (text, parts) in cases {
        fs::write(world.file(), text).expect("written");
        let locked = document.lock().expect_err("no document");
        assert!(locked.is_document(), "{locked}");
        says(&locked, parts);
        says(&document.read().expect_err("no document"), parts);
        let raw: Document<RawObject> = store.document(RUN, "climate").expect("a document");
        if !text.windows(4).any(|w| w == b"many") {
            raw.lock().expect_err("no object either");
        }
        assert_eq!(
            fs::read(world.file()).expect("there"),
            text,
            "the file stays as it was"
        );
        assert_eq!(
            get(&mut world.redis(), &(key("climate") + ":lock")),
            None,
            "and the lock is free"
        );
    }
    fs::remove_file(world.file()).expect("removed");
    fs::create_dir(world.file()).expect("made");
    says(
        &document.lock().expect_err("a folder"),
        &["climate.nodb", "directory"],
    );
    says(&document.read().expect_err("a folder"), &["directory"]);
    says(
        &document.create(&Climate::of(1)).expect_err("a folder"),
        &["directory"],
    );
    fs::remove_dir(world.file()).expect("removed");
    let fifo = std::process::Command::new("mkfifo")
        .arg(world.file())
        .status();
    if fifo.is_ok_and(|made| made.success()) {
        says(
            &document
                .lock()
                .expect_err("a pipe, which is not waited for"),
            &["plain file"],
        );
    }
}

#[test]
fn documents_that_are_too_large() {
    let world = World::start();
    let store = world.store();
    let document: Document<Climate> = world.climate(&store);
    let big = Climate {
        years: 1,
        note: "x".repeat(64 << 20),
    };
    let refused = document.create(&big).expect_err("64 MiB");
    assert!(refused.is_too_large(), "{refused}");
    says(&refused, &["67108", "33554432", "max_document_bytes"]);
    assert!(!world.file().exists());
    assert!(world.temporary_files().is_empty());

    fs::create_dir_all(world.run_folder()).expect("made");
    fs::write(world.file(), big.bytes()).expect("written");
    assert!(document.lock().expect_err("64 MiB").is_too_large());
    assert!(document.read().expect_err("64 MiB").is_too_large());
    assert_eq!(get(&mut world.redis(), &(key("climate") + ":lock")), None);

    // The limit can be raised.
    let cache = world
        .cache_builder()
        .response_timeout(Duration::from_secs(20))
        .open()
        .expect("a cache");
    let store = Store::builder(cache)
        .root(world.root.path())
        .max_document_bytes(100 << 20)
        .open()
        .expect("a store");
    let document = world.climate(&store);
    let outcome = document
        .locked_with(Save::new(), |climate| {
            climate.years = 2;
            Ok(())
        })
        .expect("saved")
        .1;
    assert!(outcome.cache.is_settled(), "{outcome:?}");
    assert_eq!(document.read().expect("read").years, 2);
}

#[test]
fn data_that_json_cannot_hold() {
    #[derive(Serialize, Deserialize)]
    struct Monthlies {
        ppts: Vec<f64>,
    }
    let world = World::start();
    let store = world.store();
    let document: Document<Monthlies> = store.document(RUN, "climate").expect("a document");
    document
        .create(&Monthlies { ppts: vec![1.0] })
        .expect("created");
    let before = fs::read(world.file()).expect("there");
    let mut held = document.lock().expect("locked");
    held.ppts.extend([2.0, f64::NAN]);
    let refused = held.dump_and_unlock().expect_err("NaN");
    says(refused.error(), &["ppts[2]", "NaN"]);
    assert_eq!(fs::read(world.file()).expect("there"), before);
    let mut held = refused.into_locked();
    held.ppts[2] = 3.0;
    held.dump_and_unlock().expect("mended and saved");

    // A map with keys that are not strings.
    let document: Document<BTreeMap<Vec<u8>, u8>> =
        store.document(RUN, "soils").expect("a document");
    let refused = document
        .create(&BTreeMap::from([(vec![1], 1)]))
        .expect_err("no JSON");
    assert!(refused.is_document(), "{refused}");
}

#[test]
fn params_and_tasks_that_do_not_fit_change_nothing() {
    let world = World::start();
    let rules = r#"{ "version": "1.0",
        "cache_keys": { "climate": "c:{run_id}:climate", "omni": "c:{run_id}:omni:{scenario}-end" },
        "rules": { "run": { "invalidates_cache": ["omni"] } } }"#;
    let cache = crate::support::cache_of(rules.parse::<Rules>().expect("rules"))
        .url(world.server.url())
        .open()
        .expect("a cache");
    let store = Store::builder(&cache)
        .root(world.root.path())
        .open()
        .expect("a store");
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let long = "s".repeat(300);
    for scenario in ["a{b", "a}b", "a-b", "nul\0", "", &long] {
        let mut held = document.lock().expect("locked");
        held.years = 2;
        let save = Save::new()
            .tasks(["run"])
            .params(Params::new().with("scenario", scenario));
        let refused = held.dump_and_unlock_with(save).expect_err(scenario);
        assert!(refused.error().is_params(), "{scenario:?}: {refused}");
        says(refused.error(), &["scenario"]);
        let params = Params::new().with("run_id", RUN).with("scenario", scenario);
        assert!(
            cache
                .invalidate(["run"], &params)
                .expect_err(scenario)
                .is_params()
        );
    }
    let missing = document
        .lock()
        .expect("locked")
        .dump_and_unlock_with_transaction(["run"]);
    says(missing.expect_err("no scenario").error(), &["scenario"]);
    let many: Vec<String> = (0..10_001).map(|n| n.to_string()).collect();
    let params = Params::new().with("run_id", RUN).with("scenario", many);
    assert!(
        cache
            .invalidate(["run"], &params)
            .expect_err("10,001 keys")
            .is_params()
    );
    assert_eq!(world.on_disk().years, 1);
}

#[test]
fn builders_refuse_what_cannot_work() {
    let world = World::start();
    let rules = crate::support::rules;
    says(
        &Cache::builder(rules()).open().expect_err("no URL"),
        &["url"],
    );
    for url in ["", "not a url", "http://127.0.0.1/"] {
        let refused = Cache::builder(rules()).url(url).open().expect_err(url);
        assert!(refused.is_config(), "{url}: {refused}");
    }
    let secret = Cache::builder(rules())
        .url("redis://:hunter2@127.0.0.1:1/")
        .open()
        .expect_err("nobody listens");
    assert!(secret.is_unavailable(), "{secret}");
    assert!(!format!("{secret} {secret:?}").contains("hunter2"));
    let in_memory = || Cache::builder(rules()).in_memory();
    for zero in [
        world
            .cache_builder()
            .response_timeout(Duration::ZERO)
            .open(),
        world.cache_builder().connect_timeout(Duration::ZERO).open(),
        world.cache_builder().pool_size(0).open(),
        in_memory().response_timeout(Duration::ZERO).open(),
    ] {
        assert!(zero.expect_err("zero").is_config());
    }
    for endless in [
        world.cache_builder().response_timeout(Duration::MAX).open(),
        world.cache_builder().connect_timeout(Duration::MAX).open(),
        world.cache_builder().circuit_breaker(Duration::MAX).open(),
        in_memory().circuit_breaker(Duration::MAX).open(),
    ] {
        assert!(endless.expect_err("endless").is_config());
    }
    let cache = world.cache();
    let builder = || Store::builder(&cache).root(world.root.path());
    says(
        &Store::builder(&cache).open().expect_err("no root"),
        &["root"],
    );
    for refused in [
        builder().lock_ttl(Duration::ZERO).open(),
        builder().lock_ttl(Duration::MAX).open(),
        builder().layout("{run_id}.nodb").open(),
        builder().layout("{run_id}/all.nodb").open(),
        builder().layout("a/{run_id}/{controller}").open(),
        builder().layout("runs/{controller}").open(),
        builder().layout("{run_id}/{controller").open(),
        builder().lock_key("one-for-all").open(),
        builder().run_param("project").open(),
    ] {
        let refused = refused.expect_err("it cannot work");
        assert!(refused.is_config(), "{refused}");
    }
    let file = world.root.path().join("file");
    fs::write(&file, "").expect("written");
    assert!(
        Store::builder(&cache)
            .root(file)
            .open()
            .expect_err("a file")
            .is_io()
    );
}

#[test]
fn names_that_stand_for_something_else() {
    let world = World::start();
    let store = |rules: &str, change: fn(cachetx::StoreBuilder) -> cachetx::StoreBuilder| {
        let rules: Rules = rules.parse().expect("rules");
        let cache = crate::support::cache_of(rules)
            .url(world.server.url())
            .open()
            .expect("a cache");
        let builder = Store::builder(cache).root(world.root.path());
        change(builder).open().expect("a store")
    };
    // A document with the name of its folder's marker.
    let marker =
        r#"{ "version": "1.0", "cache_keys": { "READONLY": "c:{run_id}:a" }, "rules": {} }"#;
    let refused = store(marker, |builder| builder.layout("{run_id}/{controller}"))
        .document::<Climate>(RUN, "READONLY")
        .expect_err("the marker");
    assert!(refused.is_invalid_name(), "{refused}");
    // Two keys that would share one file, since the layout's {controller} is not the key's.
    let named =
        r#"{ "version": "1.0", "cache_keys": { "a": "c:{run_id}:{controller}" }, "rules": {} }"#;
    let params = Params::new().with("controller", "x");
    let refused = store(named, |builder| builder)
        .document_with::<Climate>(RUN, "a", params)
        .expect_err("one file for all");
    assert!(refused.is_config(), "{refused}");
    // A lock whose release would delete the value.
    let plain = r#"{ "version": "1.0", "cache_keys": { "a": "c:{run_id}:a" }, "rules": {} }"#;
    let refused = store(plain, |builder| builder.lock_key("c:{run_id}:{controller}"))
        .document::<Climate>(RUN, "a")
        .expect_err("one key for both");
    assert!(refused.is_config(), "{refused}");
}

#[test]
fn a_damaged_sidecar_is_no_obstacle() {
    let world = World::start();
    let document = world.climate(&world.store());
    document.create(&Climate::of(1)).expect("created");
    let sidecar: PathBuf = world.run_folder().join(".climate.nodb.cachetx");
    for damage in [&b"garbage"[..], b"", &[0xff; 4096]] {
        let mut held = document.lock().expect("locked");
        held.years += 1;
        fs::write(&sidecar, damage).expect("written");
        held.dump_and_unlock().expect("saved");
        assert!(
            fs::read_to_string(&sidecar)
                .expect("mended")
                .starts_with("cachetx 2 ")
        );
    }
    let mut held = document.lock().expect("locked");
    assert_eq!(held.years, 4);
    fs::remove_file(world.file()).expect("removed");
    held.years = 5;
    let refused = held.dump_and_unlock().expect_err("the file is gone");
    assert!(refused.error().is_conflict(), "{refused}");
    assert_eq!(Locked::unlock(refused.into_locked()).years, 5);
}
