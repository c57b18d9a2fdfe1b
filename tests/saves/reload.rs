//! Rules that are replaced while they are in use.

use crate::support::{self, RUN, until};
use cachetx::{BoxError, Cache, Document, NO_TASKS, Outcome, Params, Rules, Store};
use serde_json::{Value, json};
use std::{fs, path::Path};

fn rules(tasks: &str) -> String {
    format!(
        r#"{{ "version": "1.1",
            "cache_keys": {{ "climate": "{{{{{{run_id}}}}}}:climate", "wepp": "{{{{{{run_id}}}}}}:wepp", "ash": "{{{{{{run_id}}}}}}:ash" }},
            "rules": {{ {tasks} }} }}"#
    )
}

const BUILD: &str = r#""build": { "invalidates_cache": ["wepp"] }"#;
const BUILD_MORE: &str = r#""build": { "invalidates_cache": ["wepp", "ash"] }"#;

struct Scene {
    cache: Cache,
    climate: Document<Value>,
    _root: tempfile::TempDir,
}

impl Scene {
    fn new(rules: &str) -> Result<Self, BoxError> {
        support::warnings::listen();
        let root = tempfile::tempdir()?;
        let cache = Cache::builder(rules.parse()?).in_memory().open()?;
        let store = Store::builder(&cache).root(root.path()).open()?;
        let climate: Document<Value> = store.document(RUN, "climate")?;
        climate.create(&json!({}))?;
        Ok(Self {
            cache,
            climate,
            _root: root,
        })
    }

    /// How many entries a save of the task deletes, of two that are there.
    fn deleted(&self) -> Result<u64, BoxError> {
        let run = Params::new().with("run_id", RUN);
        for controller in ["wepp", "ash"] {
            self.cache.get_or_load_json(controller, &run, || Ok(1))?;
        }
        let (.., outcome): ((), Outcome) = self.climate.update(["build"], |_| Ok(()))?;
        Ok(support::committed(&outcome))
    }
}

#[test]
fn other_tasks_are_in_force_for_documents_in_use() -> Result<(), BoxError> {
    let scene = Scene::new(&rules(BUILD))?;
    assert_eq!(scene.deleted()?, 1);
    let held = scene.climate.lock()?;
    assert!(scene.cache.replace_rules(rules(BUILD_MORE).parse()?)?);
    held.dump_and_unlock()?;
    assert_eq!(scene.deleted()?, 2);
    assert!(
        !scene.cache.replace_rules(rules(BUILD_MORE).parse()?)?,
        "the same"
    );
    assert_eq!(scene.cache.stats().rules_replaced, 1);

    // A task that is gone is unknown, and a life that is another one holds for the next entry.
    assert!(scene.cache.replace_rules(rules("").parse()?)?);
    let refused = scene
        .climate
        .update(["build"], |_| Ok(()))
        .expect_err("gone");
    assert!(refused.to_string().contains("`build`"), "{refused}");
    scene.climate.update(NO_TASKS, |_| Ok(()))?;
    Ok(())
}

#[test]
fn keys_of_documents_in_use_stay() -> Result<(), BoxError> {
    let scene = Scene::new(&rules(BUILD))?;
    for (other, why) in [
        (rules(BUILD).replace(":ash", ":ash:2"), "the key of `ash`"),
        (
            rules(BUILD).replace("\"ash\"", "\"ashes\""),
            "`ash` is gone",
        ),
        (
            rules(BUILD).replace("\"ash\":", "\"soils\": \"{{{run_id}}}:soils\", \"ash\":"),
            "`soils` is new",
        ),
    ] {
        let error = scene.cache.replace_rules(other.parse()?).expect_err(why);
        assert!(
            error.is_config() && error.to_string().contains(why),
            "{error}"
        );
    }
    assert_eq!(scene.deleted()?, 1);
    let stats = scene.cache.stats();
    assert_eq!((stats.rules_replaced, stats.rules_refused), (0, 3));
    Ok(())
}

#[cfg(feature = "watch")]
/// As an editor does: another file, renamed.
fn save(path: &Path, text: &str) {
    let other = path.with_extension("tmp");
    fs::write(&other, text).expect("written");
    fs::rename(other, path).expect("renamed");
}

#[cfg(feature = "watch")]
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
    // In place, and what is broken in the middle.
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

/// What is replaced under load is one or the other, whole.
#[test]
fn saves_go_on_while_rules_change() -> Result<(), BoxError> {
    let scene = Scene::new(&rules(BUILD))?;
    let both: [Rules; 2] = [rules(BUILD).parse()?, rules(BUILD_MORE).parse()?];
    std::thread::scope(|scope| {
        let saves = scope.spawn(|| {
            for _ in 0..200 {
                let deleted = scene.deleted().expect("saved");
                assert!((1..=2).contains(&deleted), "{deleted}");
            }
        });
        while !saves.is_finished() {
            for rules in &both {
                scene.cache.replace_rules(rules.clone()).expect("replaced");
            }
        }
    });
    Ok(())
}
