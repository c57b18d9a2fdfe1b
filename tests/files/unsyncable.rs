//! A file system that cannot sync folders: every save succeeds, and reports that it may not survive
//! a power loss. A library that is loaded before the C library answers the system call.

use crate::support::{self, Climate, RUN, World};
use cachetx::{CacheOutcome, Document, Durability, Guarantee, NO_TASKS, Outcome};
use std::process::{Command, Stdio};

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
int fsync(int fd) {
    struct stat found;
    if (fstat(fd, &found) == 0 && S_ISDIR(found.st_mode)) {
        errno = atoi(getenv("CACHETX_TEST_ERRNO"));
        return -1;
    }
    return ((int (*)(int)) dlsym(RTLD_NEXT, "fsync"))(fd);
}
"#;

/// Runs a child test in which the sync of a folder fails with `errno`; the test is reported as
/// skipped if there is no compiler.
fn run(test: &str, world: &World, child: &str, errno: i32) {
    let (source, shim) = (
        world.root.path().join("shim.c"),
        world.root.path().join("shim.so"),
    );
    std::fs::write(&source, SHIM).expect("written");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&shim, &source])
        .status();
    if !built.is_ok_and(|built| built.success()) {
        support::skipped(test, "needs a C compiler");
        return;
    }
    let ran = support::child(
        child,
        &[
            ("CACHETX_TEST_URL", world.server.url()),
            ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
            ("CACHETX_TEST_ERRNO", errno.to_string()),
            ("LD_PRELOAD", shim.display().to_string()),
        ],
    )
    .stderr(Stdio::piped())
    .output()
    .expect("it runs");
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(
        ran.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&ran.stderr)
    );
}

fn store(guarantee: Guarantee) -> Option<cachetx::Store> {
    let url = support::given("CACHETX_TEST_URL")?;
    let root = support::given("CACHETX_TEST_ROOT")?;
    let cache = support::cache_builder().url(url);
    let store = cachetx::Store::builder(cache.open().expect("a cache"))
        .root(root + "/store")
        .guarantee(guarantee)
        .open();
    Some(store.expect("it opens"))
}

fn committed(outcome: &Outcome, durability: Durability) {
    assert_eq!(outcome.durability, durability);
    let settled = matches!(
        outcome.cache,
        CacheOutcome::Committed { .. } | CacheOutcome::Invalidated { .. }
    );
    assert!(settled, "{outcome:?}");
}

#[test]
fn where_folders_cannot_be_synced_everything_goes_through_and_says_so() {
    let test = "where_folders_cannot_be_synced_everything_goes_through_and_says_so";
    for errno in [22, 95] {
        run(test, &World::start(), "unsyncable::all_goes_through", errno);
    }
}

#[test]
#[ignore = "a child process of another test"]
fn all_goes_through() {
    for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
        let Some(store) = store(guarantee) else {
            return;
        };
        let unknown = |outcome: Outcome| committed(&outcome, Durability::Unknown);
        let document: Document<Climate> = store.document(RUN, "climate").expect("a document");
        unknown(document.create(&Climate::of(1)).expect("created"));
        let locked = document.lock().expect("locked");
        unknown(locked.dump_and_unlock().expect("saved"));
        let transaction = store.transaction((&document,)).expect("begun");
        unknown(transaction.commit(NO_TASKS).expect("committed"));
        // The transaction leaves nothing that would be in the way.
        unknown(document.delete(NO_TASKS).expect("deleted"));
    }
}

#[test]
fn a_failed_sync_of_a_folder_is_not_taken_for_that() {
    let world = World::start();
    std::fs::create_dir(world.root.path().join("store")).expect("made");
    let test = "a_failed_sync_of_a_folder_is_not_taken_for_that";
    // EIO, ENOSPC, EROFS
    for errno in [5, 28, 30] {
        run(test, &world, "unsyncable::fails", errno);
    }
}

#[test]
#[ignore = "a child process of another test"]
fn fails() {
    let Some(store) = store(Guarantee::BestEffort) else {
        return;
    };
    let document: Document<Climate> = store.document(RUN, "climate").expect("a document");
    let refused = document.create(&Climate::of(1)).expect_err("the root");
    assert!(refused.is_io(), "{refused}");
    let root = support::given("CACHETX_TEST_ROOT").expect("given");
    let file = std::path::Path::new(&root).join("store").join(RUN);
    std::fs::create_dir_all(&file).expect("made");
    std::fs::write(file.join("climate.nodb"), r#"{"years": 1}"#).expect("written");
    let locked = document.lock().expect("locked");
    let saved = locked.dump_and_unlock().expect("saved");
    committed(&saved, Durability::Unknown);
    let transaction = store.transaction((&document,)).expect("begun");
    let refused = transaction.commit(NO_TASKS).map(drop);
    assert!(refused.is_err());
    std::fs::remove_dir_all(&file).expect("removed");
}
