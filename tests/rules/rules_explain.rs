//! `Rules::explain`, `explain_for`, `deleters`, `save_needs` and `graph_of`: complete, and along
//! steps that the file declares.

use crate::naive;
use cachetx::{
    DeletionReason, Explanation, KeyList, NO_TASKS, Params, Rules,
    testing::{RulesFile, RulesTask, strategies},
};
use proptest::{prelude::*, sample::subsequence};
use std::collections::BTreeSet;

/// A file, its rules, params made for them, and some of its tasks in any order.
fn case() -> impl Strategy<Value = (RulesFile, Rules, Params, Vec<String>)> {
    strategies::rules().prop_flat_map(|file| {
        let rules = file.compile().expect("it compiles");
        let params = strategies::params(&rules);
        let names: Vec<String> = file.tasks.iter().map(|task| task.name.clone()).collect();
        let count = names.len();
        let tasks = subsequence(names, 0..=count).prop_shuffle();
        (Just(file), Just(rules), params, tasks)
    })
}

fn task<'f>(file: &'f RulesFile, name: &str) -> &'f RulesTask {
    let mut tasks = file.tasks.iter();
    tasks.find(|task| task.name == name).expect("a task")
}

/// Whether each step of the reason is declared in the file, and the last one is `controller`.
fn holds(file: &RulesFile, reason: &DeletionReason, controller: &str) -> bool {
    let derives = |steps: &[String]| {
        let declared = |source: &String, derived: &String| {
            let mut lists = file.depends_on.iter();
            lists.any(|(name, from)| name == derived && from.contains(source))
        };
        steps.windows(2).all(|step| declared(&step[0], &step[1]))
            && steps.last().is_some_and(|last| last == controller)
    };
    match reason {
        DeletionReason::Task {
            includes,
            every,
            cascade,
            ..
        } => {
            let mut steps = includes.windows(2);
            let included = steps.all(|step| task(file, &step[0]).includes.contains(&step[1]));
            let last = task(file, includes.last().expect("a task"));
            let star = last.invalidates.iter().any(|name| name == "*");
            let listed = star || last.invalidates.contains(&cascade[0]);
            let follows = cascade.len() == 1 || last.cascade != Some(false);
            let kept = !last.except.iter().any(|name| name == controller);
            included && *every == star && listed && follows && kept && derives(cascade)
        }
        DeletionReason::Save { cascade, .. } => cascade.len() > 1 && derives(cascade),
        _ => false,
    }
}

/// Each key with its controller and slot.
fn expanded(keys: &KeyList) -> Vec<(String, String, u16)> {
    let entries = keys.entries();
    entries
        .map(|it| (it.controller.to_owned(), it.key.to_owned(), it.slot))
        .collect()
}

fn explained(explanation: &Explanation) -> Vec<(String, String, u16)> {
    let entries = explanation.entries.iter();
    entries
        .flat_map(|entry| {
            let keys = entry.keys.iter();
            keys.map(|it| (entry.controller.clone(), it.key.clone(), it.slot))
        })
        .collect()
}

/// The first name of a reason: the task, or the controller that is saved.
fn cause(reason: &DeletionReason) -> (&str, bool) {
    match reason {
        DeletionReason::Task { includes, .. } => (&includes[0], true),
        DeletionReason::Save { cascade, .. } => (&cascade[0], false),
        _ => ("", false),
    }
}

proptest! {
    #[test]
    fn tasks_are_explained_by_a_path_for_exactly_the_keys_of_the_expansion((file, rules, params, tasks) in case()) {
        let explanation = rules.explain(&tasks, &params)?;
        prop_assert_eq!(explained(&explanation), expanded(&rules.expand(&tasks, &params)?));
        for entry in &explanation.entries {
            let causes: Vec<_> = entry.reasons.iter().map(cause).collect();
            let expected: Vec<_> = tasks
                .iter()
                .filter(|task| naive::invalidated(&file, &[task.as_str()]).contains(&*entry.controller))
                .map(|task| (task.as_str(), true))
                .collect();
            prop_assert_eq!(causes, expected);
            for reason in &entry.reasons {
                prop_assert!(holds(&file, reason, &entry.controller), "{reason}");
            }
        }
    }

    #[test]
    fn saves_are_explained_by_a_path_for_exactly_the_keys_of_the_expansion((file, rules, params, tasks) in case()) {
        for own in rules.controllers() {
            let Ok(keys) = rules.expand_for(own, &tasks, &params) else {
                prop_assert!(rules.explain_for(own, &tasks, &params).is_err());
                continue;
            };
            let explanation = rules.explain_for(own, &tasks, &params)?;
            prop_assert_eq!(explained(&explanation), expanded(&keys));
            for entry in &explanation.entries {
                let by_save = entry.reasons.iter().filter(|reason| !cause(reason).1).count();
                prop_assert_eq!(by_save == 1, naive::depends(&file, &entry.controller, own));
                prop_assert!(!entry.reasons.is_empty());
                for reason in &entry.reasons {
                    prop_assert!(holds(&file, reason, &entry.controller), "{reason}");
                }
            }
        }
    }

    #[test]
    fn deleters_are_all_tasks_and_saves_that_delete_an_entry((file, rules, _, _) in case()) {
        for controller in rules.controllers() {
            let deleters = rules.deleters(controller)?;
            let found: Vec<_> = deleters.reasons.iter().map(cause).collect();
            let tasks = rules.tasks().filter(|task| naive::invalidated(&file, &[task]).contains(controller));
            let saves = rules.controllers().filter(|own| naive::depends(&file, controller, own));
            let expected: Vec<_> = tasks.map(|task| (task, true)).chain(saves.map(|own| (own, false))).collect();
            prop_assert_eq!(found, expected);
            for reason in &deleters.reasons {
                prop_assert!(holds(&file, reason, controller), "{reason}");
            }
        }
    }

    #[test]
    fn a_save_needs_the_params_without_which_it_is_refused_and_no_others((_, rules, params, _) in case()) {
        let one = |names: &mut dyn Iterator<Item = &String>| -> Params {
            names.map(|name| (name.clone(), params.get(name).expect("a value").values()[0].clone())).collect()
        };
        for needs in rules.save_needs() {
            let further = needs.further.iter().map(|it| &it.param);
            let names: Vec<&String> = needs.own.iter().chain(further).collect();
            let all = one(&mut names.iter().copied());
            prop_assert!(rules.expand_for(&needs.controller, NO_TASKS, &all).is_ok());
            for missing in &names {
                let fewer = one(&mut names.iter().copied().filter(|name| name != missing));
                let error = rules.expand_for(&needs.controller, NO_TASKS, &fewer);
                prop_assert!(error.is_err_and(|error| error.is_params()), "without {missing}");
            }
        }
    }

    #[test]
    fn check_warns_of_exactly_the_saves_that_need_params_beside_their_own((_, rules, _, _) in case()) {
        let expected: BTreeSet<String> = rules
            .save_needs()
            .iter()
            .flat_map(|needs| needs.further.iter().map(move |it| {
                format!("a save of `{}` needs the param `{}` beside its own, because", needs.controller, it.param)
            }))
            .collect();
        let warned = rules.warnings().iter().filter_map(|it| {
            it.message.find(", because").map(|end| it.message[..end + ", because".len()].to_owned())
        });
        prop_assert_eq!(warned.collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn the_graph_of_a_task_has_all_that_the_task_invalidates((file, rules, _, _) in case()) {
        for task in rules.tasks() {
            let graph = rules.graph_of(task)?;
            let nodes: BTreeSet<&str> = graph.controllers.iter().map(|node| &*node.name).collect();
            prop_assert!(naive::invalidated(&file, &[task]).is_subset(&nodes));
            let named = graph.controllers.iter().flat_map(|node| &node.dependents);
            prop_assert!(named.into_iter().all(|name| nodes.contains(&**name)));
        }
    }
}

#[test]
fn an_entry_whose_param_is_missing_is_explained_without_keys() {
    let rules = Rules::from_json(
        r#"{ "version": "1.1",
             "cache_keys": { "product": "{{{shop}}}:product:{sku}", "list": "{{{shop}}}:list" },
             "depends_on": { "list": ["product"] },
             "rules": { "all": { "invalidates_cache": ["*"] } } }"#,
    )
    .expect("it compiles");
    let params = Params::new().with("shop", ["a", "b"]);
    let explanation = rules.explain(["all"], &params).expect("it is explained");
    let keys: Vec<usize> = explanation
        .entries
        .iter()
        .map(|entry| entry.keys.len())
        .collect();
    assert_eq!(keys, [0, 2]);
    assert!(
        rules
            .explain(["all"], &Params::new().with("shop", "{"))
            .is_err()
    );
    assert!(
        rules.explain_for("list", ["all"], &params).is_err(),
        "two own entries"
    );
    assert!(rules.explain(["al"], &params).is_err());
    assert!(rules.deleters("prodct").is_err());
}
