//! What permanently keeps a file from being replaced: checked before the commit point, and named in
//! the error if it appears after that.

use crate::{
    bed::{idle_store, traced},
    support::{
        self, RUN, World,
        account::{ALICE, BOB, TEAM, give, is_root, run_as},
        trio::{self, create, document, left_over, on_disk, set_all},
    },
};
use cachetx::{Durability, Effect, NO_TASKS, Save};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::Ordering::SeqCst,
};

/// Something in a file's way, until dropped.
struct Obstacle {
    /// The command that removes it.
    undo: Vec<String>,
}

impl Obstacle {
    /// `None`, with the test reported as skipped, if it cannot be made here.
    fn put(test: &str, make: &[&str], undo: &[&str], path: &Path) -> Option<Self> {
        let path = path.display().to_string();
        let with_path = |words: &[&str]| -> Vec<String> {
            words.iter().map(|word| word.replace("{}", &path)).collect()
        };
        let made = with_path(make);
        let ran = Command::new(&made[0]).args(&made[1..]).output();
        if !ran.is_ok_and(|ran| ran.status.success()) {
            support::skipped(test, &format!("`{}` does not work here", made.join(" ")));
            return None;
        }
        Some(Self {
            undo: with_path(undo),
        })
    }

    fn immutable(test: &str, path: &Path) -> Option<Self> {
        Self::put(test, &["chattr", "+i", "{}"], &["chattr", "-i", "{}"], path)
    }
}

impl Drop for Obstacle {
    fn drop(&mut self) {
        let undone = Command::new(&self.undo[0]).args(&self.undo[1..]).status();
        assert!(undone.is_ok_and(|it| it.success()), "{:?}", self.undo);
    }
}

fn file(world: &World, controller: &str) -> PathBuf {
    world.run_folder().join(format!("{controller}.nodb"))
}

#[test]
fn a_transaction_is_refused_where_a_file_cannot_be_replaced() {
    let test = "a_transaction_is_refused_where_a_file_cannot_be_replaced";
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let (soils, folder) = (file(&world, "soils"), world.run_folder());
    let cases: [(&[&str], &[&str], &Path, &str); 5] = [
        (
            &["chattr", "+i", "{}"],
            &["chattr", "-i", "{}"],
            &soils,
            "it is immutable",
        ),
        (
            &["chattr", "+a", "{}"],
            &["chattr", "-a", "{}"],
            &soils,
            "it is append-only",
        ),
        (
            &["mount", "--bind", "{}", "{}"],
            &["umount", "{}"],
            &soils,
            "it is a mount point",
        ),
        (
            &["chattr", "+i", "{}"],
            &["chattr", "-i", "{}"],
            &folder,
            "its folder is immutable",
        ),
        (
            &["chattr", "+a", "{}"],
            &["chattr", "-a", "{}"],
            &folder,
            "its folder is append-only",
        ),
    ];
    let mut last = 1;
    for (make, undo, path, why) in cases {
        let Some(obstacle) = Obstacle::put(test, make, undo, path) else {
            continue;
        };
        let refused = set_all(&store, RUN, last + 1, Save::new()).expect_err(why);
        assert!(refused.to_string().contains(why), "{refused}");
        assert!(refused.is_io() && refused.effect() == Effect::None);
        assert_eq!(on_disk(world.root.path(), RUN), [last; 3]);
        drop(obstacle);
        // An ordinary file is no obstacle.
        last += 1;
        let done = set_all(&store, RUN, last, Save::new()).expect(why);
        assert_eq!(done.durability, Durability::Synced);
        assert_eq!(on_disk(world.root.path(), RUN), [last; 3]);
        assert_eq!(left_over(world.root.path(), RUN), Vec::<String>::new());
    }
}

#[test]
fn what_is_in_the_way_is_named_by_a_save_and_a_deletion() {
    let test = "what_is_in_the_way_is_named_by_a_save_and_a_deletion";
    let world = World::start();
    let store = idle_store(&world);
    create(&store, RUN, 1);
    let soils = document(&store, RUN, "soils");
    let Some(obstacle) = Obstacle::immutable(test, &file(&world, "soils")) else {
        return;
    };
    let save = || soils.lock().expect("locked").dump_and_unlock();
    let refused = save().expect_err("it cannot be replaced").to_string();
    assert!(refused.contains("it is immutable"), "{refused}");
    store.clear_locks(RUN).expect("cleared");
    let refused = soils.delete(NO_TASKS).expect_err("nor deleted").to_string();
    assert!(refused.contains("it is immutable"), "{refused}");
    store.clear_locks(RUN).expect("cleared");
    drop(obstacle);
    save().expect("saved");
}

#[test]
fn an_obstacle_after_the_commit_point_is_named_with_the_journal() {
    let test = "an_obstacle_after_the_commit_point_is_named_with_the_journal";
    let world = World::start();
    create(&idle_store(&world), RUN, 1);
    let soils = file(&world, "soils");
    let Some(probe) = Obstacle::immutable(test, &soils) else {
        return;
    };
    drop(probe);
    let path = soils.clone();
    let (store, armed) = traced(&world, move |_, step| {
        if step == "disk.sync-journal" {
            let made = Command::new("chattr").arg("+i").arg(&path).status();
            assert!(made.is_ok_and(|it| it.success()));
        }
    });
    armed.store(true, SeqCst);
    let obstacle = Obstacle {
        undo: vec!["chattr".into(), "-i".into(), soils.display().to_string()],
    };
    let done = set_all(&store, RUN, 2, Save::new()).expect("committed");
    armed.store(false, SeqCst);
    assert_eq!(done.durability, Durability::Journalled);
    let journals = fs::read_dir(world.root.path().join(".cachetx-journal")).expect("there");
    let journal = journals.map(|it| it.expect("an entry").file_name());
    let journal = journal.last().expect("one is left");
    let refused = document(&store, RUN, "climate").lock().map(drop);
    let refused = refused.expect_err("it waits for the transaction");
    for part in [&*journal.to_string_lossy(), "soils.nodb", "it is immutable"] {
        assert!(refused.to_string().contains(part), "{part}: {refused}");
    }
    drop(obstacle);
    drop(document(&store, RUN, "climate").lock().expect("locked"));
    assert_eq!(on_disk(world.root.path(), RUN), [2; 3]);
}

#[test]
fn a_transaction_is_refused_in_a_sticky_folder_with_another_s_file() {
    let test = "a_transaction_is_refused_in_a_sticky_folder_with_another_s_file";
    if !is_root(test) {
        return;
    }
    let world = World::start();
    create(&idle_store(&world), RUN, 1);
    give(world.root.path(), ALICE, TEAM, 0o777);
    give(&world.run_folder(), ALICE, TEAM, 0o1777);
    for controller in trio::MEMBERS {
        // All but one are Bob's own.
        let owner = if controller == "soils" { ALICE } else { BOB };
        give(&file(&world, controller), owner, TEAM, 0o666);
        let sidecar = format!(".{controller}.nodb.cachetx");
        give(&world.run_folder().join(sidecar), BOB, TEAM, 0o666);
    }
    let child = support::child(
        "obstacles::bob",
        &[
            ("CACHETX_TEST_URL", world.server.url()),
            ("CACHETX_TEST_ROOT", world.root.path().display().to_string()),
        ],
    );
    let Some(said) = run_as(test, BOB, &BOB.to_string(), "022", &child) else {
        return;
    };
    said.unwrap_or_else(|said| panic!("{said}"));
    assert_eq!(on_disk(world.root.path(), RUN), [1; 3]);
}

#[test]
#[ignore = "a child process of another test"]
fn bob() {
    let (Some(url), Some(root)) = (
        support::given("CACHETX_TEST_URL"),
        support::given("CACHETX_TEST_ROOT"),
    ) else {
        return;
    };
    let cache = crate::support::cache_of(trio::rules()).url(url);
    let store = cachetx::Store::builder(cache.open().expect("a cache")).root(root);
    let store = store.open().expect("a store");
    let refused = set_all(&store, RUN, 2, Save::new()).expect_err("Alice's");
    assert!(refused.to_string().contains("sticky"), "{refused}");
    assert_eq!(refused.effect(), Effect::None);
}
