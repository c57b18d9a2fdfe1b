//! What a save keeps of a file besides its content: mode, owner, group, the white space around its
//! JSON.

use crate::support::{self, Climate, RUN, World, account::run_as, committed};
use cachetx::{Document, JsonStyle};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
};

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
    // The owner and the group can still write it.
    assert_eq!(whose(".climate.nodb.cachetx"), (owner, group, 0o660));
}

#[test]
fn what_root_s_transaction_leaves_may_be_used_by_the_root_folder_s_owner() {
    if !rustix::process::geteuid().is_root() {
        support::skipped(
            "what_root_s_transaction_leaves_may_be_used_by_the_root_folder_s_owner",
            "needs root",
        );
        return;
    }
    let world = World::start();
    let (owner, group) = (12_345, 12_346);
    chown(world.root.path(), Some(owner), Some(group)).expect("given away");
    let shared = fs::Permissions::from_mode(0o770);
    fs::set_permissions(world.root.path(), shared).expect("set");
    let folder = world.root.path().join(".cachetx-journal");
    let whose = |path: &std::path::Path| {
        let of = fs::metadata(path).expect("there");
        (of.uid(), of.gid(), of.mode() & 0o7777)
    };
    let seen = folder.clone();
    let store = world.store_builder().trace(move |step| {
        if step == "disk.write-journal" {
            let mut files = fs::read_dir(&seen).expect("the folder");
            let journal = files.next().expect("a journal").expect("an entry");
            assert_eq!(whose(&journal.path()), (owner, group, 0o660));
        }
    });
    let store = store.open().expect("a store");
    let document = world.climate(&store);
    document.create(&Climate::of(1)).expect("created");
    let transaction = store.transaction((&document,)).expect("locked");
    committed(&transaction.commit(cachetx::NO_TASKS).expect("committed"));
    assert_eq!(whose(&folder), (owner, group, 0o770));
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
        "file_attributes::group_member",
        &[
            ("CACHETX_TEST_URL", world.server.url()),
            ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
        ],
    );
    let Some(said) = run_as(name, member, &group.to_string(), "022", &writer) else {
        return;
    };
    let said = said.unwrap_or_else(|said| panic!("{said}"));
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
    let cache = support::cache_builder().url(url).open().expect("a cache");
    let store = cachetx::Store::builder(cache)
        .root(root)
        .open()
        .expect("a store");
    let document: Document<Climate> = store.document(RUN, "climate").expect("a document");
    let mut held = document.lock().expect("locked");
    held.years = 2;
    held.dump_and_unlock().expect("saved");
}
