//! A file is distinguished from every other file that was in its place, whatever modification times
//! other programs set, however coarse the clock, and however soon an inode is reused. A file that
//! is only touched counts as the same.
#![cfg(unix)]

use crate::{
    stamps::Mount,
    support::{Climate, RUN, World, skipped},
};
use cachetx::{Document, FileSystem, Store};
use std::{
    collections::HashSet,
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

const ROUNDS: u64 = 10;

/// Another program, which replaces the document and takes no lock.
struct Tool {
    folder: PathBuf,
    /// The modification time that all of its files get.
    time: Option<SystemTime>,
    /// The stamp's values of each file that it has left.
    stamps: HashSet<(i64, i64, u64, u64)>,
    /// How often one of these repeated.
    came_back: u64,
}

impl Tool {
    fn new(root: &Path, time: Option<SystemTime>) -> Self {
        Self {
            folder: root.join(RUN),
            time,
            stamps: HashSet::new(),
            came_back: 0,
        }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("climate.nodb")
    }

    /// Writes twice, so that the second file may get the inode of the file that was there. All have
    /// the same size.
    fn write_twice(&mut self, years: u64) {
        for years in [years + 1, years] {
            let temporary = self.folder.join("temporary");
            fs::write(&temporary, Climate::of(years).bytes()).expect("written");
            if let Some(time) = self.time {
                let file = fs::File::options().write(true).open(&temporary);
                file.and_then(|file| file.set_modified(time)).expect("set");
            }
            fs::rename(&temporary, self.file()).expect("renamed");
        }
        self.note();
    }

    fn note(&mut self) {
        let file = fs::metadata(self.file()).expect("there");
        let stamp = (file.mtime(), file.mtime_nsec(), file.size(), file.ino());
        self.came_back += u64::from(!self.stamps.insert(stamp));
    }
}

fn open(world: &World, root: &Path) -> (Store, Document<Climate>) {
    let store = Store::builder(world.cache())
        .root(root)
        .file_system(FileSystem::Local)
        .open()
        .expect("a store");
    let document = world.climate(&store);
    (store, document)
}

/// Has one digit more than the number of rounds, so that all sizes are equal.
fn years(round: u64) -> u64 {
    100 + 2 * round
}

/// Readers with and without a snapshot, and with the entry on the server in between.
fn no_reader_keeps_what_is_older(root: &Path, mut tool: Tool, wait: bool) -> u64 {
    let world = World::start();
    let (store, document) = open(&world, root);
    document.create(&Climate::of(years(0))).expect("created");
    tool.note();
    for round in 1..=ROUNDS {
        let hot = store.cache().stats().reads_from_snapshot;
        crate::support::until("it is kept", || {
            let last = document.read().expect("read").years;
            assert_eq!(last, years(round - 1), "before round {round}");
            !wait || store.cache().stats().reads_from_snapshot > hot
        });
        tool.write_twice(years(round));
        let seen = document.read().expect("read").years;
        assert_eq!(
            seen,
            years(round),
            "a snapshot of an older file was returned"
        );
        let cold = open(&world, root).1.read().expect("read").years;
        assert_eq!(cold, years(round), "a cold reader, round {round}");
    }
    tool.came_back
}

/// A holder of the lock never overwrites what it has not seen.
fn a_foreign_change_is_a_conflict(root: &Path, mut tool: Tool) -> u64 {
    let world = World::start();
    let (store, document) = open(&world, root);
    document.create(&Climate::of(years(0))).expect("created");
    tool.write_twice(years(0));
    for round in 1..=ROUNDS {
        let mut held = document.lock().expect("locked");
        tool.write_twice(years(round));
        held.years = 999;
        let saved = held.dump_and_unlock();
        let on_disk: Climate =
            serde_json::from_slice(&fs::read(tool.file()).expect("there")).expect("whole");
        assert_eq!(
            on_disk.years,
            years(round),
            "a foreign change was overwritten"
        );
        let refused = saved.expect_err("a foreign change is a conflict");
        assert!(refused.error().is_conflict(), "{refused}");
        drop(refused);
        assert_eq!(
            store.clear_locks(RUN).expect("cleared"),
            0,
            "it is let go of"
        );
    }
    tool.came_back
}

/// Long ago: no file counts as young by it.
fn fixed() -> Option<SystemTime> {
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000))
}

fn stamps_came_back(test: &str, times: u64) {
    if times == 0 {
        skipped(test, "this file system does not use an inode again at once");
    }
}

#[test]
fn a_tool_that_sets_one_fixed_time_is_seen_by_every_reader() {
    let root = tempfile::TempDir::new().expect("a folder");
    let tool = Tool::new(root.path(), fixed());
    let times = no_reader_keeps_what_is_older(root.path(), tool, true);
    stamps_came_back(
        "a_tool_that_sets_one_fixed_time_is_seen_by_every_reader",
        times,
    );
}

#[test]
fn a_tool_that_sets_one_fixed_time_is_a_conflict() {
    let root = tempfile::TempDir::new().expect("a folder");
    let tool = Tool::new(root.path(), fixed());
    let times = a_foreign_change_is_a_conflict(root.path(), tool);
    stamps_came_back("a_tool_that_sets_one_fixed_time_is_a_conflict", times);
}

#[test]
fn two_renames_within_a_second_are_seen_where_times_are_whole_seconds() {
    let Some(mount) = Mount::ext4_with_small_inodes() else {
        skipped(
            "two_renames_within_a_second_are_seen_where_times_are_whole_seconds",
            "needs root and loop devices",
        );
        return;
    };
    let tool = Tool::new(&mount.point, None);
    let times = no_reader_keeps_what_is_older(&mount.point, tool, false);
    assert!(times > 0, "stamps came back");
}

#[test]
fn two_renames_within_a_second_are_a_conflict_where_times_are_whole_seconds() {
    let Some(mount) = Mount::ext4_with_small_inodes() else {
        skipped(
            "two_renames_within_a_second_are_a_conflict_where_times_are_whole_seconds",
            "needs root and loop devices",
        );
        return;
    };
    let tool = Tool::new(&mount.point, None);
    let times = a_foreign_change_is_a_conflict(&mount.point, tool);
    assert!(times > 0, "stamps came back");
}

type Touch = (&'static str, Box<dyn Fn()>);

/// Everything that changes the change time and nothing else.
fn touches(world: &World) -> [Touch; 3] {
    let (file, aside) = (world.file(), world.run_folder().join("aside"));
    let of = move || (file.clone(), aside.clone());
    let (mode, link, there_and_back) = (of.clone(), of.clone(), of);
    [
        (
            "chmod",
            Box::new(move || {
                let mode_of = |bits| fs::Permissions::from_mode(bits);
                fs::set_permissions(mode().0, mode_of(0o640)).expect("chmod");
            }),
        ),
        (
            "link",
            Box::new(move || {
                let (file, aside) = link();
                fs::hard_link(file, &aside).expect("linked");
                fs::remove_file(aside).expect("unlinked");
            }),
        ),
        (
            "rename away and back",
            Box::new(move || {
                let (file, aside) = there_and_back();
                fs::rename(&file, &aside).expect("away");
                fs::rename(aside, file).expect("back");
            }),
        ),
    ]
}

#[test]
fn a_file_that_is_only_touched_is_saved_and_its_snapshot_stays() {
    let world = World::start();
    let (_, document) = open(&world, world.root.path());
    document.create(&Climate::of(1)).expect("created");
    for (n, (touch, act)) in (2..).zip(touches(&world)) {
        world.settle();
        let before = document.read().expect("read");
        act();
        let after = document.read().expect("read");
        assert!(Arc::ptr_eq(&before, &after), "parsed again after a {touch}");

        world.settle();
        let mut held = document.lock().expect("locked");
        act();
        held.years = n;
        if let Err(refused) = held.dump_and_unlock() {
            panic!("a holder was refused for a {touch}: {refused}");
        }
        assert_eq!(world.on_disk().years, n);
    }
}

/// The same between the checks of a save and its rename.
#[test]
fn a_file_that_is_touched_between_the_checks_and_the_rename_is_saved() {
    let world = World::start();
    for (n, (touch, act)) in (2..).zip(touches(&world)) {
        let (_, plain) = open(&world, world.root.path());
        if n == 2 {
            plain.create(&Climate::of(1)).expect("created");
        }
        world.settle();
        let (renames, file) = (std::sync::atomic::AtomicU64::new(0), world.file());
        let store = world.store_builder().trace(move |step| {
            if step == "disk.rename"
                && renames.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0
            {
                let aside = file.with_file_name("aside");
                fs::hard_link(&file, &aside).expect("linked");
                fs::remove_file(aside).expect("unlinked");
            }
        });
        let document = world.climate(&store.open().expect("a store"));
        act();
        let saved = document.locked(|climate| {
            climate.years = n;
            Ok(())
        });
        saved.unwrap_or_else(|e| panic!("refused for a {touch} and a link: {e}"));
        assert_eq!(world.on_disk().years, n);
    }
}
