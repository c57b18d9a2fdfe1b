//! `cachetx doctor` and `outbox doctor`: what they find.

use crate::rows::{AWAY, Scene, as_json, code, leave_record, text};
use cachetx::testing::{ServerBinary, ServerOptions};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

#[test]
fn a_doctor_tells_how_the_server_and_the_file_system_are() {
    let mut scene = Scene::start();
    for binary in ServerBinary::all() {
        let options = ServerOptions::new();
        scene.server = options
            .config("appendonly", "yes")
            .start(binary)
            .expect("it starts");
        let output = scene.run("doctor", "--root root --format json");
        assert_eq!(code(&output), Some(0), "{output:?}");
        let found = as_json(&output);
        assert_eq!(found["fine"], true);
        let server = &found["server"];
        assert_eq!(server["round_trips"], 20);
        assert!(
            server["median_us"].as_u64() <= server["worst_us"].as_u64(),
            "{server}"
        );
        let facts = &server["report"]["servers"][0];
        assert_eq!(
            *facts,
            json!({
                "server": scene.server.url(),
                "maxmemory_bytes": 0,
                "maxmemory_policy": "noeviction",
                "appendonly": true,
                "save": "",
                "role": "master",
                "replicas": 0,
            })
        );
        let trials = &found["file_system"]["trials"];
        for name in ["os_locks", "rename", "folder_sync"] {
            assert_eq!(
                trials[name],
                json!({ "works": true, "why": null }),
                "{name}"
            );
        }
        assert!(found["file_system"]["time_step_ns"].is_u64());
        let told = scene.run("doctor", "--root root");
        for words in [
            "role master, replicas 0",
            "maxmemory-policy noeviction",
            "appendonly yes, save never",
            "rename: works",
            "of 20 round trips",
        ] {
            assert!(text(&told).contains(words), "{words}: {told:?}");
        }
    }
    let left = fs::read_dir(scene.folder.path().join("root")).expect("it is there");
    assert_eq!(left.count(), 1, "its trials left something");
}

#[test]
fn a_doctor_finds_what_is_wrong() {
    let mut scene = Scene::start();
    let options = ServerOptions::new().config("maxmemory", "100mb");
    let options = options.config("maxmemory-policy", "allkeys-lru");
    let binary = ServerBinary::any().expect("no server found: run `make servers`");
    scene.server = options.start(binary).expect("it starts");
    let output = scene.run("doctor", "");
    assert_eq!(code(&output), Some(1), "{output:?}");
    assert!(
        text(&output).contains("warning: maxmemory-policy allkeys-lru"),
        "{output:?}"
    );

    let mut away = scene.command("doctor", "--root root --format json");
    let output = away.env("CACHETX_URL", AWAY).output().expect("it runs");
    assert_eq!(code(&output), Some(1));
    let found = as_json(&output);
    assert!(found["server"]["error"].is_string(), "{found}");
    assert_eq!(found["file_system"]["trials"]["rename"]["works"], true);
    assert_eq!(code(&scene.run("doctor", "--root none")), Some(2));
    assert!(!scene.folder.path().join("none").exists());
}

#[test]
fn a_doctor_says_what_a_user_may_not_ask() {
    let mut scene = Scene::start();
    let options = ServerOptions::new().user("bob on >pw ~* &* +@all -info -config");
    let binary = ServerBinary::any().expect("no server found: run `make servers`");
    scene.server = options.start(binary).expect("it starts");
    let mut doctor = scene.command("doctor", "");
    let url = format!("redis://127.0.0.1:{}/", scene.server.port());
    doctor.env("CACHETX_URL", url);
    let doctor = doctor
        .env("CACHETX_USER", "bob")
        .env("CACHETX_PASSWORD", "pw");
    let output = doctor.output().expect("it runs");
    assert_eq!(code(&output), Some(0), "{output:?}");
    let told = text(&output);
    for words in [
        "server: unknown unknown",
        "maxmemory-policy may not be asked",
        "save may not be asked",
        "role may not be asked",
        "of 20 round trips",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

/// A finding of the file, or of the folder where the name is empty.
fn finding<'f>(found: &'f Value, name: &str) -> &'f Value {
    let findings = found["findings"].as_array().expect("a list");
    match name {
        "" => &findings[0],
        _ => findings
            .iter()
            .find(|it| it["path"].as_str().is_some_and(|path| path.ends_with(name)))
            .unwrap_or_else(|| panic!("{name}: {found}")),
    }
}

fn examine(scene: &Scene, folder: &str) -> Value {
    let output = scene.run("outbox doctor", &format!("{folder} --format json"));
    let found = as_json(&output);
    let expected = i32::from(found["to_do"].as_u64() != Some(0));
    assert_eq!(code(&output), Some(expected), "{output:?}");
    found
}

fn rights(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is mine");
}

#[test]
fn an_outbox_s_doctor_says_what_to_do_about_each_file() {
    let scene = Scene::start();
    let folder = scene.folder.path().join("dead");
    let file = fs::read_dir(&folder)
        .expect("it is there")
        .next()
        .expect("a file");
    let file = file.expect("it is read").path();
    let name = file
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();

    let found = examine(&scene, "dead");
    let dead = finding(&found, &name);
    assert_eq!(
        (&dead["state"], &dead["records"]),
        (&json!("dead"), &json!(1))
    );
    let to_do = dead["to_do"][0].as_str().expect("text");
    assert!(
        to_do.contains("cachetx outbox replay dead --url"),
        "{to_do}"
    );

    let lines = fs::read_to_string(&file).expect("text");
    fs::write(&file, format!("1 0123456789abcdef {{}}\n{lines}1 torn")).expect("written");
    fs::write(
        folder.join("0123456789abcdef.poison"),
        "2 from a later version\n",
    )
    .expect("written");
    fs::write(folder.join("0123456789abcdef.new"), "").expect("written");
    fs::write(folder.join("notes.txt"), "").expect("written");
    let found = examine(&scene, "dead");
    let dead = finding(&found, &name);
    assert_eq!(
        (&dead["damaged"], &dead["torn_bytes"]),
        (&json!(1), &json!(6))
    );
    assert_eq!(dead["to_do"].as_array().map(Vec::len), Some(2));
    let poison = finding(&found, ".poison");
    assert_eq!(
        (&poison["state"], &poison["damaged"]),
        (&json!("set aside"), &json!(1))
    );
    assert!(
        poison["to_do"][0]
            .as_str()
            .is_some_and(|it| it.contains("cachetx invalidate"))
    );
    for fine in [".new", "notes.txt"] {
        assert_eq!(finding(&found, fine)["to_do"], json!([]), "{fine}");
    }
    let told = scene.run("outbox doctor", "dead");
    assert!(
        text(&told).contains("  to do: ") && text(&told).ends_with("3 things to do\n"),
        "{told:?}"
    );
}

#[test]
fn an_outbox_s_doctor_compares_rights() {
    let scene = Scene::start();
    let folder = scene.folder.path().join("dead");
    rights(scene.folder.path(), 0o770);
    rights(&folder, 0o750);
    let found = examine(&scene, "dead");
    let to_do = finding(&found, "")["to_do"].to_string();
    assert!(to_do.contains("folder above"), "{to_do}");

    rights(&folder, 0o770);
    let file = fs::read_dir(&folder)
        .expect("it is there")
        .next()
        .expect("a file");
    let file = file.expect("it is read").path();
    rights(&file, 0o600);
    let found = examine(&scene, "dead");
    assert_eq!(finding(&found, "")["to_do"], json!([]));
    let to_do = finding(&found, ".outbox")["to_do"].to_string();
    assert!(to_do.contains("can read it"), "{to_do}");
    rights(&file, 0o660);
    let found = examine(&scene, "dead");
    assert_eq!(
        finding(&found, ".outbox")["to_do"].as_array().map(Vec::len),
        Some(1)
    );
}

#[test]
fn a_healthy_outbox_is_empty_and_fine() {
    let scene = Scene::start();
    // A store makes its folder with the first record.
    for folder in ["empty", "root/.cachetx-outbox"] {
        let listed = scene.run("outbox list", folder);
        assert_eq!((code(&listed), text(&listed)), (Some(0), ""), "{folder}");
        assert_eq!(examine(&scene, folder)["to_do"], 0, "{folder}");
    }
    assert!(!scene.folder.path().join("root/.cachetx-outbox").exists());
    // Other files are no outbox.
    for command in ["outbox list", "outbox doctor", "outbox replay"] {
        let output = scene.run(command, ".");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), Some(2), "{command}: {said}");
        assert!(said.contains("none of an outbox's"), "{said}");
    }
    // Of a root, the folder below it is meant.
    leave_record(&scene.folder.path().join("root/.cachetx-outbox"));
    for command in ["outbox list", "outbox doctor", "outbox replay"] {
        let output = scene.run(command, "root");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(code(&output), Some(2), "{command}: {said}");
        assert!(
            said.contains("its outbox is root/.cachetx-outbox"),
            "{said}"
        );
    }
}
