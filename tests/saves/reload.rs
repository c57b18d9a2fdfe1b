//! Rules that are replaced while they are in use.

use crate::support::{self, RUN};
use cachetx::{BoxError, Cache, Document, NO_TASKS, Outcome, Params, Rules, Store};
use serde_json::{Value, json};

pub fn rules(tasks: &str) -> String {
    format!(
        r#"{{ "version": "1.1",
            "cache_keys": {{ "climate": "{{{{{{run_id}}}}}}:climate", "wepp": "{{{{{{run_id}}}}}}:wepp", "ash": "{{{{{{run_id}}}}}}:ash" }},
            "rules": {{ {tasks} }} }}"#
    )
}

pub const BUILD: &str = r#""build": { "invalidates_cache": ["wepp"] }"#;
pub const BUILD_MORE: &str = r#""build": { "invalidates_cache": ["wepp", "ash"] }"#;

pub struct Scene {
    pub cache: Cache,
    climate: Document<Value>,
    _root: tempfile::TempDir,
}

impl Scene {
    pub fn new(rules: &str) -> Result<Self, BoxError> {
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

    /// How many entries a save of the task deletes, of two that exist.
    pub fn deleted(&self) -> Result<u64, BoxError> {
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

    // A removed task is unknown, and a changed life applies to the next entry.
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

/// Rules that are replaced under load are the old or the new ones, whole.
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
