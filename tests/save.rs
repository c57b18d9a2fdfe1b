//! A document from its making to its end, on every server.
#![cfg(feature = "testing")]

mod support;

use cachetx::{
    CacheOutcome, Document, Durability, JsonStyle, Locked, NO_TASKS, Params, RawObject, Save,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    time::Duration,
};
use support::{Climate, RUN, World, get, key, on_every_server, pttl};

fn committed(outcome: &cachetx::Outcome) -> u64 {
    assert_eq!(outcome.durability, Durability::Synced);
    match outcome.cache {
        CacheOutcome::Committed { removed } => removed,
        ref other => panic!("not committed: {other:?}"),
    }
}

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
        assert_eq!(store.documents(RUN).expect("listed"), ["climate"]);
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
        // Without: what depends on the document itself.
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
        let before = store.cache().stats().reads_from_server;
        assert_eq!(document.read().expect("read").years, 30);
        assert_eq!(store.cache().stats().reads_from_server, before + 1);

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
fn a_held_lock_names_its_holder_and_the_time_left() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let mut held = document.lock().expect("locked");
    assert!(Locked::remaining(&held) > Duration::from_secs(50));
    let refused = document.try_lock().expect_err("held");
    let holder = refused.lock_holder().expect("named");
    assert!(
        holder.owner.ends_with(&format!(":{}", std::process::id())),
        "{holder}"
    );
    assert!((50..=60).contains(&holder.remaining.as_secs()), "{holder}");
    assert!(refused.to_string().contains(&holder.owner), "{refused}");

    let waited = document
        .lock_timeout(Duration::from_millis(30))
        .expect_err("still held");
    assert!(waited.is_lock_held());
    let mut redis = world.redis();
    redis::cmd("PEXPIRE")
        .arg(key("climate") + ":lock")
        .arg(5_000)
        .exec(&mut redis)
        .expect("PEXPIRE");
    Locked::renew(&mut held).expect("renewed");
    assert!(pttl(&mut redis, &(key("climate") + ":lock")) > 50_000);

    store.clear_locks(RUN).expect("cleared");
    let lost = Locked::renew(&mut held).expect_err("cleared");
    assert!(lost.is_lock_lost(), "{lost}");
    assert!(Locked::is_lost(&held));
    let refused = held.dump_and_unlock().expect_err("known to be lost");
    assert!(refused.error().is_lock_lost(), "{refused}");
    drop(refused);
    drop(document.try_lock().expect("free for others"));
}

#[test]
fn a_foreign_lock_without_a_life_is_said_to_have_none() {
    let world = World::start();
    let document = world.climate(&world.store());
    document.create(&Climate::of(1)).expect("created");
    support::set(&mut world.redis(), &(key("climate") + ":lock"), b"somebody");
    let refused = document.try_lock().expect_err("held");
    let holder = refused.lock_holder().expect("named");
    assert_eq!(holder.remaining, Duration::MAX);
    assert!(
        refused
            .to_string()
            .ends_with("held by somebody, and does not run out by itself"),
        "{refused}"
    );
}

#[test]
fn a_waiter_gets_the_lock_when_it_is_let_go_of() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let mut held = document.lock().expect("locked");
    held.years = 2;
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| document.lock().expect("in the end").years);
        support::until("the waiter has asked", || {
            store.cache().stats().round_trips > 12
        });
        held.dump_and_unlock().expect("saved");
        assert_eq!(waiter.join().expect("it ends"), 2, "it read what was saved");
    });
}

#[test]
fn a_server_that_forgets_its_fences_while_somebody_waits_fences_nobody_out() {
    let world = World::start();
    let other = world.store();
    let document = world.climate(&other);
    document.create(&Climate::of(1)).expect("created");
    let (lock, fence) = (key("climate") + ":lock", key("climate") + ":lock:fence");
    support::set(&mut world.redis(), &lock, b"somebody");
    // While the waiter sleeps, somebody lets the lock go, another holder saves with a high fence, and both are forgotten.
    let meanwhile = std::sync::Once::new();
    let url = world.server.url();
    let waiting = world
        .store_builder()
        .trace(move |step| {
            if step == "sleep" {
                meanwhile.call_once(|| {
                    let client = redis::Client::open(url.as_str()).expect("a client");
                    let mut redis = client.get_connection().expect("a connection");
                    let run = |command: &str, redis: &mut redis::Connection| {
                        let mut words = command.split(' ');
                        let mut asked = redis::cmd(words.next().expect("a command"));
                        words.for_each(|word| {
                            asked.arg(word);
                        });
                        asked.exec(redis).expect(command);
                    };
                    run(&format!("DEL {lock}"), &mut redis);
                    run(&format!("SET {fence} 100"), &mut redis);
                    let saved = document.locked(|climate| {
                        climate.years += 1;
                        Ok(())
                    });
                    saved.expect("the other holder");
                    run(&format!("DEL {fence}"), &mut redis);
                });
            }
        })
        .open()
        .expect("a store");
    let mut held = world.climate(&waiting).lock().expect("in the end");
    assert_eq!(held.years, 2, "it has seen the other's save");
    held.years = 3;
    committed(&held.dump_and_unlock().expect("so it may save"));
}

#[test]
fn a_wait_without_end_is_taken() {
    let world = World::start();
    let store = world
        .store_builder()
        .lock_wait(Duration::MAX)
        .open()
        .expect("a store");
    let document = world.climate(&store);
    committed(&document.create(&Climate::of(1)).expect("created"));
    let held = document.lock_timeout(Duration::MAX).expect("locked");
    committed(&held.dump_and_unlock().expect("saved"));
}

#[test]
fn dump_keeps_the_lock() {
    let world = World::start();
    let store = world.store();
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let mut held = document.lock().expect("locked");
    for years in 2..5 {
        held.years = years;
        committed(&Locked::dump(&mut held, Save::new()).expect("saved"));
        assert!(document.try_lock().expect_err("still held").is_lock_held());
        assert_eq!(world.on_disk().years, years);
    }
    drop(held);
    assert_eq!(document.lock().expect("free").years, 4);
}

#[test]
fn a_lock_lost_after_the_checks_deletes_instead_of_setting() {
    let world = World::start();
    let url = world.server.url();
    let store = world
        .store_builder()
        .trace(move |step| {
            if step == "server.Commit" {
                let client = redis::Client::open(url.as_str()).expect("a client");
                let mut redis = client.get_connection().expect("a connection");
                redis::cmd("DEL")
                    .arg(key("climate") + ":lock")
                    .exec(&mut redis)
                    .expect("DEL");
            }
        })
        .open()
        .expect("a store");
    let document = world.climate(&world.store());
    document.create(&Climate::of(1)).expect("created");
    world.warm();
    let mut held = world.climate(&store).lock().expect("locked");
    held.years = 2;
    let outcome =
        Locked::dump(&mut held, Save::new().tasks(["build_climate"])).expect("the file is there");
    assert!(
        matches!(outcome.cache, CacheOutcome::Invalidated { removed: 3 }),
        "{outcome:?}"
    );
    assert_eq!((world.on_disk().years, world.dependents()), (2, 0));
    assert_eq!(get(&mut world.redis(), &key("climate")), None);
    assert!(Locked::is_lost(&held));
    assert_eq!(store.cache().stats().locks_lost, 1);
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
fn the_mode_and_the_white_space_around_the_json_are_kept() {
    let world = World::start();
    let document = world.climate(&world.store());
    fs::create_dir(world.run_folder()).expect("made");
    fs::write(world.file(), "\n{\"years\": 1}\n\n").expect("written");
    fs::set_permissions(world.file(), fs::Permissions::from_mode(0o640)).expect("set");
    document
        .locked(|climate| {
            climate.years = 2;
            Ok(())
        })
        .expect("saved");
    assert_eq!(
        fs::read(world.file()).expect("there"),
        b"\n{\"years\":2}\n\n"
    );
    let mode = fs::metadata(world.file())
        .expect("there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o640);

    let pretty = world
        .store_builder()
        .style(JsonStyle::Pretty)
        .open()
        .expect("a store");
    world
        .climate(&pretty)
        .locked(|climate| {
            climate.years = 3;
            Ok(())
        })
        .expect("saved");
    assert_eq!(
        fs::read(world.file()).expect("there"),
        b"\n{\n  \"years\": 3\n}\n\n"
    );
}

#[test]
fn the_owner_the_group_and_who_may_write_are_kept() {
    if !rustix::process::geteuid().is_root() {
        support::skipped(
            "the_owner_the_group_and_who_may_write_are_kept",
            "needs root",
        );
        return;
    }
    let (owner, group) = (12_345, 12_346);
    let world = World::start();
    let document = world.climate(&world.store());
    let whose = |name: &str| {
        let file = fs::metadata(world.run_folder().join(name)).expect("there");
        (file.uid(), file.gid(), file.mode() & 0o7777)
    };
    fs::create_dir(world.run_folder()).expect("made");
    fs::write(world.file(), r#"{"years": 1}"#).expect("written");
    chown(world.file(), Some(owner), Some(group)).expect("given away");
    fs::set_permissions(world.file(), fs::Permissions::from_mode(0o660)).expect("set");

    let save = || document.lock().expect("locked").dump_and_unlock();
    committed(&save().expect("saved by root"));
    assert_eq!(whose("climate.nodb"), (owner, group, 0o660));
    // The owner and the group can go on writing.
    assert_eq!(whose(".climate.nodb.cachetx"), (owner, group, 0o660));
}

#[test]
fn a_member_of_the_document_s_group_keeps_the_group() {
    let name = "a_member_of_the_document_s_group_keeps_the_group";
    if !rustix::process::geteuid().is_root() {
        support::skipped(name, "needs root");
        return;
    }
    let (owner, group, member) = (12_345, 12_346, 12_347);
    let world = World::start();
    fs::create_dir(world.run_folder()).expect("made");
    fs::write(world.file(), r#"{"years": 1}"#).expect("written");
    let (everybody, team) = (0o755, 0o770);
    for (path, mode) in [
        (world.root.path(), everybody),
        (&world.run_folder(), team),
        (&world.file(), 0o660),
    ] {
        chown(path, Some(owner), Some(group)).expect("given away");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    }
    // The child runs as a user whose second group is the document's.
    let writer = support::child(
        "group_member",
        &[
            ("CACHETX_TEST_URL", world.server.url()),
            ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
        ],
    );
    let ran = std::process::Command::new("setpriv")
        .arg(format!("--reuid={member}"))
        .arg(format!("--regid={member}"))
        .arg(format!("--groups={group}"))
        .arg(writer.get_program())
        .args(writer.get_args())
        .envs(writer.get_envs().filter_map(|(n, v)| Some((n, v?))))
        .output();
    let said = match ran {
        Ok(ran) => String::from_utf8_lossy(&ran.stdout).into_owned(),
        Err(e) => e.to_string(),
    };
    if !said.contains("GROUP MEMBER") {
        support::skipped(
            name,
            &format!("it cannot be run as another user here: {said}"),
        );
        return;
    }
    assert_eq!(world.on_disk().years, 2, "{said}");
    let file = fs::metadata(world.file()).expect("there");
    assert_eq!(
        (file.uid(), file.gid(), file.mode() & 0o7777),
        (member, group, 0o660)
    );
}

#[test]
#[ignore = "a child process of another test"]
fn group_member() {
    let (Some(url), Some(root)) = (
        support::given("CACHETX_TEST_URL"),
        support::given("CACHETX_TEST_ROOT"),
    ) else {
        return;
    };
    println!("GROUP MEMBER");
    let cache = cachetx::Cache::builder(support::rules())
        .url(url)
        .open()
        .expect("a cache");
    let store = cachetx::Store::builder(cache)
        .root(root)
        .open()
        .expect("a store");
    let document: Document<Climate> = store.document(RUN, "climate").expect("a document");
    let mut held = document.lock().expect("locked");
    held.years = 2;
    held.dump_and_unlock().expect("saved");
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
    let cache = cachetx::Cache::builder(rules.parse().expect("rules"))
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

    // A controller with more placeholders: refused where documents would share a file, else a file each.
    let scenario = || Params::new().with("scenario", "burned");
    let shared = store
        .document_with::<Climate>(run, "omni", scenario())
        .expect_err("one file for all");
    assert!(shared.is_config(), "{shared}");
    // A layout is one for all documents, so the others then need the placeholder too.
    let store = builder()
        .layout("{project}/{controller}-{scenario}.json")
        .open()
        .expect("a store");
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

    // Params of a save widen what its tasks delete.
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
