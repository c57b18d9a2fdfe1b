//! Generated task lists and histories: what they are said to be, and that a cache does with a history what a set of keys does.

use cachetx::{
    Cache, Rules,
    testing::strategies::{self, HistoryStep},
};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn nodb() -> Rules {
    Rules::from_path("rules/nodb.json").expect("it compiles")
}

/// Rules and a history for them.
fn case() -> impl Strategy<Value = (Rules, Vec<HistoryStep>)> {
    strategies::rules().prop_flat_map(|file| {
        let rules = file.compile().expect("it compiles");
        let steps = strategies::histories(&rules, 16);
        (Just(rules), steps)
    })
}

/// The keys that are cached after a history: a load adds one, a save and an invalidation take some away.
fn play(rules: &Rules, steps: &[HistoryStep]) -> cachetx::Result<BTreeSet<String>> {
    let cache = Cache::builder(rules.clone()).in_memory().open()?;
    let mut cached = BTreeSet::new();
    for step in steps {
        match step {
            HistoryStep::Load { controller, params } => {
                let Ok(key) = rules.key(controller, params) else {
                    continue; // several values
                };
                let loaded = cache.get_or_load(controller, params, || Ok(&b"x"[..]))?;
                assert_eq!(*loaded, b"x"[..]);
                cached.insert(key);
            }
            HistoryStep::Save { tasks, params, .. } | HistoryStep::Invalidate { tasks, params } => {
                cache.invalidate(tasks, params)?;
                for key in rules.expand(tasks, params)?.iter() {
                    cached.remove(key);
                }
            }
            _ => unreachable!("a step of another kind"),
        }
        if let HistoryStep::Load { controller, params } = step {
            assert!(cache.get(controller, params)?.is_some());
        }
    }
    for step in steps {
        if let HistoryStep::Load { controller, params } = step
            && let Ok(key) = rules.key(controller, params)
        {
            assert_eq!(
                cache.get(controller, params)?.is_some(),
                cached.contains(&key),
                "{key}"
            );
        }
    }
    Ok(cached)
}

proptest! {
    #[test]
    fn a_cache_holds_what_was_loaded_and_not_deleted((rules, steps) in case()) {
        play(&rules, &steps)?;
    }

    #[test]
    fn task_lists_are_taken_and_hostile_ones_are_not(
        tasks in strategies::tasks(&nodb()),
        hostile in strategies::hostile_tasks(&nodb()),
        params in strategies::params(&nodb()),
    ) {
        let rules = nodb();
        prop_assert!(rules.expand(tasks, &params).is_ok());
        let error = rules.expand(hostile, &params).expect_err("hostile");
        prop_assert!(error.is_params(), "{}", error);
    }
}
