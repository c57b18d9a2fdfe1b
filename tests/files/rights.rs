//! Who may use what a save leaves: ACLs, extended attributes, and the files next to a document.

use crate::support::{
    self, Climate, RUN, World,
    account::{ALICE, BOB, TEAM, acl, give, is_root, run_as},
    committed,
};
use cachetx::{Document, Guarantee, NO_TASKS};
use rustix::{
    fs::{XattrFlags, getxattr, removexattr, setxattr},
    io::Errno,
};
use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

const ACL: &str = "system.posix_acl_access";
const DEFAULT_ACL: &str = "system.posix_acl_default";

fn attribute(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = [0; 1024];
    match getxattr(path, name, &mut value) {
        Ok(len) => Some(value[..len].to_vec()),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => None,
        Err(e) => panic!("{name}: {e}"),
    }
}

/// Whether the file system accepts it; else the test is reported as skipped.
fn set(test: &str, path: &Path, name: &str, value: &[u8]) -> bool {
    let set = setxattr(path, name, value, XattrFlags::empty());
    if let Err(e) = &set {
        support::skipped(test, &format!("{name} cannot be set here: {e}"));
    }
    set.is_ok()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").mode() & 0o7777
}

fn whose(path: &Path) -> (u32, u32, u32) {
    let of = fs::metadata(path).expect("there");
    (of.uid(), of.gid(), of.mode() & 0o7777)
}

fn with_document(mode: u32) -> World {
    let world = World::start();
    fs::create_dir(world.run_folder()).expect("made");
    fs::write(world.file(), r#"{"years": 1}"#).expect("written");
    fs::set_permissions(world.file(), fs::Permissions::from_mode(mode)).expect("set");
    world
}

fn save(world: &World) {
    let document = world.climate(&world.store());
    let locked = document.lock().expect("locked");
    committed(&locked.dump_and_unlock().expect("saved"));
}

#[test]
fn an_acl_and_extended_attributes_are_kept() {
    let test = "an_acl_and_extended_attributes_are_kept";
    let world = with_document(0o600);
    let file = world.file();
    // A named user may write and the group may not: the mode's group bits are the mask.
    let list = acl(BOB, 6, 0, 6, 0);
    let long = vec![7; 1_000];
    if !set(test, &file, ACL, &list) || !set(test, &file, "user.origin", &long) {
        return;
    }
    let root = rustix::process::geteuid().is_root();
    let trusted = root && set(test, &file, "trusted.cachetx", b"t");
    let security = root && set(test, &file, "security.cachetx", b"s");
    assert_eq!(mode(&file), 0o660, "the mask");

    save(&world);
    assert_eq!(attribute(&file, ACL), Some(list));
    assert_eq!(mode(&file), 0o660);
    assert_eq!(attribute(&file, "user.origin"), Some(long));
    for (name, was_set, value) in [
        ("trusted.cachetx", trusted, b"t"),
        ("security.cachetx", security, b"s"),
    ] {
        let expected = was_set.then(|| value.to_vec());
        assert_eq!(attribute(&file, name), expected, "{name}");
    }
    // The user that it names can save as well: the sidecar has the ACL too.
    let sidecar = world.run_folder().join(".climate.nodb.cachetx");
    assert_eq!(attribute(&sidecar, ACL), Some(acl(BOB, 6, 0, 6, 0)));

    removexattr(&file, ACL).expect("taken away");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("set");
    save(&world);
    for path in [&file, &sidecar] {
        assert_eq!((attribute(path, ACL), mode(path)), (None, 0o640));
    }
}

#[test]
fn a_folder_s_default_acl_gives_no_rights_that_the_document_does_not_give() {
    let test = "a_folder_s_default_acl_gives_no_rights_that_the_document_does_not_give";
    let world = with_document(0o660);
    let default = acl(BOB, 7, 7, 7, 0);
    if !set(test, &world.run_folder(), DEFAULT_ACL, &default) {
        return;
    }
    save(&world);
    let sidecar = world.run_folder().join(".climate.nodb.cachetx");
    for path in [&world.file(), &sidecar] {
        assert_eq!((attribute(path, ACL), mode(path)), (None, 0o660));
    }
}

/// Alice's root folder, shared with her team.
fn shared_root(world: &World) {
    give(world.root.path(), ALICE, TEAM, 0o2775);
}

/// Runs the child test `saver` as that account.
fn save_as(test: &str, world: &World, user: u32, groups: &str, umask: &str) -> Option<String> {
    let child = support::child(
        "rights::saver",
        &[
            ("CACHETX_TEST_URL", world.server.url()),
            ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
        ],
    );
    let said = run_as(test, user, groups, umask, &child)?;
    Some(said.unwrap_or_else(|said| panic!("{user} with umask {umask}: {said}")))
}

/// Creates or changes the document, with a record in the outbox, and changes it again in a
/// transaction.
#[test]
#[ignore = "a child process of other tests"]
fn saver() {
    let (Some(url), Some(root)) = (
        support::given("CACHETX_TEST_URL"),
        support::given("CACHETX_TEST_ROOT"),
    ) else {
        return;
    };
    let cache = support::cache_builder().url(url);
    let store = cachetx::Store::builder(cache.open().expect("a cache"))
        .root(root)
        .guarantee(Guarantee::CrashSafe)
        .open()
        .expect("a store");
    let document: Document<Climate> = store.document(RUN, "climate").expect("a document");
    if document.exists().expect("seen") {
        let mut locked = document.lock().expect("locked");
        locked.years += 1;
        committed(&locked.dump_and_unlock().expect("saved"));
    } else {
        committed(&document.create(&Climate::of(1)).expect("created"));
    }
    let mut transaction = store.transaction((&document,)).expect("begun");
    transaction.0.years += 1;
    committed(&transaction.commit(NO_TASKS).expect("committed"));
}

#[test]
fn whoever_of_the_group_may_write_saves_after_one_with_a_narrow_umask() {
    let test = "whoever_of_the_group_may_write_saves_after_one_with_a_narrow_umask";
    if !is_root(test) {
        return;
    }
    let team = TEAM.to_string();
    for umask in ["022", "077"] {
        let world = World::start();
        shared_root(&world);
        if save_as(test, &world, ALICE, &team, umask).is_none() {
            return;
        }
        give(&world.file(), ALICE, TEAM, 0o664);
        save_as(test, &world, BOB, &team, umask);
        assert_eq!(world.on_disk().years, 4);
        assert_eq!(whose(&world.file()), (BOB, TEAM, 0o664));
        save_as(test, &world, ALICE, &team, umask);
        assert_eq!(world.on_disk().years, 6);
    }
}

/// Whether its writer is dead only its account can tell.
#[test]
fn a_temporary_file_of_another_account_is_told_of_and_left_to_it() {
    let test = "a_temporary_file_of_another_account_is_told_of_and_left_to_it";
    if !is_root(test) {
        return;
    }
    let team = TEAM.to_string();
    let world = World::start();
    shared_root(&world);
    if save_as(test, &world, ALICE, &team, "002").is_none() {
        return;
    }
    give(&world.file(), ALICE, TEAM, 0o664);
    let left = world
        .run_folder()
        .join(".climate.nodb.0000000000000000.tmp");
    fs::write(&left, "{").expect("written");
    give(&left, ALICE, ALICE, 0o600);
    let said = save_as(test, &world, BOB, &team, "002").expect("as before");
    let told = said.matches("another account's temporary file").count();
    assert_eq!((told, left.exists()), (1, true), "{said}");
    save_as(test, &world, ALICE, &team, "002");
    assert!(!left.exists());
    assert_eq!(world.on_disk().years, 6);
}

#[test]
fn the_owner_s_next_save_mends_what_is_narrower_than_the_document() {
    let test = "the_owner_s_next_save_mends_what_is_narrower_than_the_document";
    if !is_root(test) {
        return;
    }
    let team = TEAM.to_string();
    let world = World::start();
    shared_root(&world);
    if save_as(test, &world, ALICE, &team, "022").is_none() {
        return;
    }
    give(&world.file(), ALICE, TEAM, 0o664);
    let sidecar = world.run_folder().join(".climate.nodb.cachetx");
    give(&sidecar, ALICE, ALICE, 0o600);
    for folder in [".cachetx-journal", ".cachetx-outbox"] {
        give(&world.root.path().join(folder), ALICE, ALICE, 0o700);
    }
    save_as(test, &world, ALICE, &team, "022");
    assert_eq!(whose(&sidecar), (ALICE, TEAM, 0o664));
    save_as(test, &world, BOB, &team, "022");
    assert_eq!(world.on_disk().years, 6);
}

/// A user who may write in the folder could have linked any of the saver's files there.
#[test]
fn a_sidecar_with_a_second_name_keeps_its_rights() {
    let world = with_document(0o666);
    save(&world);
    let sidecar = world.run_folder().join(".climate.nodb.cachetx");
    fs::set_permissions(&sidecar, fs::Permissions::from_mode(0o600)).expect("set");
    let second = world.root.path().join("second");
    fs::hard_link(&sidecar, &second).expect("linked");
    save(&world);
    assert_eq!(mode(&sidecar), 0o600);
    fs::remove_file(&second).expect("removed");
    save(&world);
    assert_eq!(mode(&sidecar), 0o666);
}

#[test]
fn whom_a_folder_s_acl_lets_write_saves() {
    let test = "whom_a_folder_s_acl_lets_write_saves";
    if !is_root(test) {
        return;
    }
    let world = World::start();
    give(world.root.path(), ALICE, TEAM, 0o755);
    let list = acl(BOB, 7, 5, 7, 5);
    if !set(test, world.root.path(), ACL, &list) {
        return;
    }
    if save_as(test, &world, ALICE, &TEAM.to_string(), "022").is_none() {
        return;
    }
    save_as(test, &world, BOB, &BOB.to_string(), "022");
    assert_eq!(world.on_disk().years, 4);
}

#[test]
fn who_is_not_in_the_document_s_group_gives_its_own_nothing_more() {
    let test = "who_is_not_in_the_document_s_group_gives_its_own_nothing_more";
    if !is_root(test) {
        return;
    }
    let world = with_document(0o664);
    give(world.root.path(), ALICE, TEAM, 0o777);
    give(&world.run_folder(), ALICE, TEAM, 0o777);
    give(&world.file(), ALICE, TEAM, 0o664);
    if save_as(test, &world, BOB, &BOB.to_string(), "022").is_some() {
        assert_eq!(whose(&world.file()), (BOB, BOB, 0o644));
    }
}
