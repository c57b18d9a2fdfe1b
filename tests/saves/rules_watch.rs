//! A rules file that is watched.

use crate::{
    reload::{BUILD, BUILD_MORE, Scene, rules},
    support::until,
};
use cachetx::BoxError;
use std::{fs, path::Path};

/// As an editor does: writes another file and renames it.
fn save(path: &Path, text: &str) {
    let other = path.with_extension("tmp");
    fs::write(&other, text).expect("written");
    fs::rename(other, path).expect("renamed");
}

#[test]
fn a_file_that_changes_is_followed_and_a_broken_one_is_not() -> Result<(), BoxError> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("rules.json");
    fs::write(&path, rules(BUILD))?;
    let scene = Scene::new(&rules(""))?;
    let has = |task: &str| scene.cache.rules().has_task(task);
    let watch = scene.cache.watch_rules(&path)?;
    assert!(has("build"), "what it says already");

    save(&path, &rules(BUILD_MORE));
    until("the new rules are in force", || {
        scene.deleted().is_ok_and(|deleted| deleted == 2)
    });
    // Written in place, and broken in the middle.
    let broken = &rules(BUILD)[..40];
    fs::write(&path, broken)?;
    until("the broken file is counted", || {
        scene.cache.stats().rules_refused == 1
    });
    assert!(has("build"));
    fs::remove_file(&path)?;
    fs::write(&path, rules(r#""other": { "invalidates_cache": ["ash"] }"#))?;
    until("the mended file is in force", || has("other"));
    assert_eq!(scene.cache.stats().rules_refused, 1);

    drop(watch);
    save(&path, &rules(BUILD));
    assert!(
        scene
            .cache
            .watch_rules(folder.path().join("none.json"))
            .is_err()
    );
    assert!(!has("build"), "nobody follows it");
    let _again = scene.cache.watch_rules(&path)?;
    assert!(has("build"));
    Ok(())
}
