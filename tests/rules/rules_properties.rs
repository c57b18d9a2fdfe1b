//! What holds for every rules file and all params, against an independent way to work the keys out.

use crate::naive;
use cachetx::{
    KeyList, NO_TASKS, ParamValue, Params, Rules, Slots,
    testing::{RulesController, RulesFile, RulesTask, RulesVersion, strategies},
};
use proptest::{
    prelude::*,
    sample::{Index, subsequence},
    strategy::ValueTree,
    test_runner::TestRunner,
};
use std::collections::{BTreeMap, BTreeSet};

/// A file, its rules and params made for them.
fn case<S: Strategy<Value = Params>>(
    params: impl Fn(&Rules) -> S,
) -> impl Strategy<Value = (RulesFile, Rules, Params)> {
    strategies::rules().prop_flat_map(move |file| {
        let rules = compiled(&file);
        let params = params(&rules);
        (Just(file), Just(rules), params)
    })
}

/// The same with some of its tasks, in any order.
fn case_with_tasks() -> impl Strategy<Value = (RulesFile, Rules, Params, Vec<String>)> {
    case(strategies::params).prop_flat_map(|(file, rules, params)| {
        let tasks = some_tasks(&file);
        (Just(file), Just(rules), Just(params), tasks)
    })
}

fn some_tasks(file: &RulesFile) -> impl Strategy<Value = Vec<String>> + use<> {
    let tasks: Vec<String> = file.tasks.iter().map(|task| task.name.clone()).collect();
    let count = tasks.len();
    subsequence(tasks, 0..=count).prop_shuffle()
}

fn compiled(file: &RulesFile) -> Rules {
    file.compile()
        .unwrap_or_else(|error| panic!("{error}\n{file:?}"))
}

fn list(keys: &KeyList) -> Vec<String> {
    keys.iter().map(str::to_owned).collect()
}

fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

/// The domain's own file, read as data by serde_json alone.
fn domain() -> RulesFile {
    let text = std::fs::read_to_string("rules/nodb.json").expect("it is there");
    let json: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let members = |value: &serde_json::Value| -> Vec<(String, serde_json::Value)> {
        let members = value.as_object().into_iter().flatten();
        members
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    let names = |value: &serde_json::Value| -> Vec<String> {
        let names = value.as_array().into_iter().flatten();
        names
            .filter_map(|name| name.as_str().map(str::to_owned))
            .collect()
    };
    // serde_json sorts an object's members; the file's order of controllers is that of the keys.
    let mut controllers = members(&json["cache_keys"]);
    controllers.sort_by_key(|(name, _)| text.find(&format!("\n    \"{name}\": ")));
    let mut file = RulesFile::default();
    for (name, value) in controllers {
        let mut controller = RulesController::default();
        controller.name = name;
        controller.key = value
            .as_str()
            .or(value["key"].as_str())
            .expect("a key")
            .to_owned();
        file.controllers.push(controller);
    }
    for (name, from) in members(&json["depends_on"]) {
        file.depends_on.push((name, names(&from)));
    }
    for (name, rule) in members(&json["rules"]) {
        let mut task = RulesTask::default();
        task.name = name;
        task.invalidates = names(&rule["invalidates_cache"]);
        task.except = names(&rule["except"]);
        task.includes = names(&rule["includes"]);
        task.cascade = rule["cascade"].as_bool();
        file.tasks.push(task);
    }
    assert!(
        file.controllers.len() > 20 && file.tasks.len() > 20,
        "{file:?}"
    );
    file
}

/// The same keys under one task that has them all, so that its expansion fills every template.
fn everything(mut file: RulesFile) -> Rules {
    let mut all = RulesTask::default();
    all.name = "all".to_owned();
    all.invalidates = file.controllers.iter().map(|it| it.name.clone()).collect();
    file.tasks = vec![all];
    compiled(&file)
}

proptest! {
    #[test]
    fn the_printed_text_compiles_to_what_it_says(file in strategies::rules()) {
        let rules = compiled(&file);
        prop_assert!(rules.controllers().eq(file.controllers.iter().map(|it| &*it.name)));
        prop_assert!(rules.tasks().eq(file.tasks.iter().map(|it| &*it.name)));
        for controller in &file.controllers {
            let ttl = controller.ttl_seconds.or(file.default_ttl_seconds).unwrap_or(72 * 3_600);
            prop_assert_eq!(rules.ttl(&controller.name)?.as_secs(), ttl);
        }
    }

    #[test]
    fn tasks_give_the_independent_keys((file, rules, params, tasks) in case_with_tasks()) {
        for task in rules.tasks() {
            let keys = rules.expand([task], &params)?;
            prop_assert_eq!(Some(list(&keys)), naive::expand(&file, &[task], &params), "task {}", task);
        }
        let keys = rules.expand(&tasks, &params)?;
        prop_assert_eq!(Some(list(&keys)), naive::expand(&file, &strs(&tasks), &params));
    }

    #[test]
    fn the_domain_s_tasks_and_saves_give_the_independent_keys(
        params in strategies::params(&Rules::from_path("rules/nodb.json").expect("it compiles")),
        own in any::<Index>(),
    ) {
        let (file, rules) = (domain(), Rules::from_path("rules/nodb.json")?);
        let own = &file.controllers[own.index(file.controllers.len())].name;
        for task in rules.tasks() {
            let keys = rules.expand([task], &params)?;
            prop_assert_eq!(Some(list(&keys)), naive::expand(&file, &[task], &params), "task {}", task);
            let keys = rules.expand_for(own, [task], &params).ok();
            let expected = naive::expand_for(&file, own, &[task], &params);
            prop_assert_eq!(keys.as_ref().map(list), expected, "task {}, own {}", task, own);
        }
    }

    #[test]
    fn saves_give_the_independent_keys((file, rules, params, tasks) in case_with_tasks()) {
        for own in rules.controllers() {
            let keys = rules.expand_for(own, &tasks, &params).ok();
            let expected = naive::expand_for(&file, own, &strs(&tasks), &params);
            prop_assert_eq!(keys.as_ref().map(list), expected, "own {}", own);
        }
    }

    #[test]
    fn params_are_refused_as_by_the_independent_way(
        (file, rules, params) in case(|rules| prop_oneof![
            strategies::near_params(rules).prop_map(|many| many[0].clone()).boxed(),
            strategies::hostile_params(rules).boxed(),
        ]),
    ) {
        for task in rules.tasks() {
            let keys = rules.expand([task], &params);
            if let Err(error) = &keys {
                prop_assert!(error.is_params(), "{}", error);
            }
            prop_assert_eq!(keys.ok().as_ref().map(list), naive::expand(&file, &[task], &params), "task {}", task);
        }
    }

    #[test]
    fn hostile_params_never_fit(
        (file, _, params) in case(strategies::hostile_params),
    ) {
        let rules = everything(file);
        let takes_params = |name| rules.placeholders(name).is_ok_and(|names| !names.is_empty());
        let hostile = rules.controllers().any(takes_params);
        prop_assert_eq!(rules.expand(["all"], &params).is_err(), hostile);
    }

    #[test]
    fn an_expansion_is_the_same_each_time((file, rules, params, tasks) in case_with_tasks()) {
        let keys = rules.expand(&tasks, &params)?;
        prop_assert_eq!(&keys, &compiled(&file).expand(&tasks, &params)?);
        let mut backwards = tasks.clone();
        backwards.reverse();
        backwards.extend(tasks);
        prop_assert_eq!(&keys, &rules.expand(&backwards, &params)?);
        let params: Params = params.iter().collect::<Vec<_>>().into_iter().rev().map(|(k, v)| (k, v.clone())).collect();
        prop_assert_eq!(&keys, &rules.expand(&backwards, &params)?);
    }

    #[test]
    fn no_key_comes_twice((_, rules, params, tasks) in case_with_tasks()) {
        let keys = rules.expand(&tasks, &params)?;
        prop_assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
    }

    #[test]
    fn keys_come_in_the_order_of_declaration((_, rules, params, tasks) in case_with_tasks()) {
        let keys = rules.expand(&tasks, &params)?;
        let place = |name: &str| rules.controllers().position(|it| it == name);
        prop_assert!(keys.entries().map(|entry| place(entry.controller)).is_sorted());
    }

    #[test]
    fn a_save_never_deletes_its_own_key((_, rules, params, tasks) in case_with_tasks()) {
        for own in rules.controllers() {
            let (Ok(key), Ok(keys)) = (rules.key(own, &params), rules.expand_for(own, &tasks, &params)) else {
                continue; // several values of its placeholders: no single own key
            };
            prop_assert!(keys.iter().all(|other| other != key));
            // And nothing but the own key is missing.
            let mut with_own: BTreeSet<&str> = keys.iter().collect();
            with_own.insert(&key);
            let all = rules.expand(&tasks, &params)?;
            prop_assert!(all.iter().all(|key| with_own.contains(key)));
        }
    }

    #[test]
    fn more_tasks_never_delete_less((_, rules, params, tasks) in case_with_tasks(), drop in any::<Index>()) {
        let fewer: Vec<&String> = match tasks.len() {
            0 => Vec::new(),
            count => tasks.iter().enumerate().filter(|(n, _)| *n != drop.index(count)).map(|it| it.1).collect(),
        };
        let all = rules.expand(&tasks, &params)?;
        let all: BTreeSet<&str> = all.iter().collect();
        prop_assert!(rules.expand(fewer, &params)?.iter().all(|key| all.contains(key)));
    }

    #[test]
    fn a_cascade_is_reachability((file, rules, _) in case(strategies::params)) {
        for source in rules.controllers() {
            let reached: Vec<&str> = rules.controllers().filter(|it| naive::depends(&file, it, source)).collect();
            prop_assert_eq!(rules.dependents(source)?, reached);
        }
        for task in rules.tasks() {
            let set = naive::invalidated(&file, &[task]);
            let found: BTreeSet<&str> = rules.invalidated_by(task)?.into_iter().collect();
            prop_assert_eq!(found, set);
        }
    }

    /// Whatever two sets of params are: a key that both give is of the same controller, with the same values.
    #[test]
    fn different_params_or_controllers_never_give_one_key(
        (rules, many) in strategies::rules().prop_flat_map(|file| {
            let rules = compiled(&file);
            let many = strategies::near_params(&rules);
            (Just(rules), many)
        }),
    ) {
        let mut owners: BTreeMap<String, (&str, Vec<&ParamValue>)> = BTreeMap::new();
        for params in &many {
            for controller in rules.controllers() {
                let Ok(key) = rules.key(controller, params) else {
                    continue;
                };
                let names = rules.placeholders(controller)?;
                let owner = (controller, names.iter().filter_map(|name| params.get(name)).collect());
                let first = owners.entry(key.clone()).or_insert_with(|| owner.clone());
                prop_assert_eq!(first, &owner, "{}", key);
            }
        }
    }

    #[test]
    fn encoding_is_undone_by_decoding(raw in any::<String>()) {
        let encoded = ParamValue::encoded(&raw);
        prop_assert_eq!(decode(&encoded.values()[0]), raw.as_bytes());
    }

    #[test]
    fn encoded_params_fit_whatever_they_hold(raw in "\\PC{1,20}|[{}:\\x00-\\x1f]{1,80}") {
        let rules = Rules::from_json(
            r#"{ "version": "1.1", "cache_keys": { "a": "{{{p}}}:{p}:a" }, "rules": {} }"#,
        )?;
        let key = rules.key("a", &Params::new().with("p", ParamValue::encoded(&raw)))?;
        let (tag, _) = key[1..].split_once('}').expect("a tag");
        prop_assert_eq!(decode(tag), raw.as_bytes());
    }
}

fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        match character {
            '%' => {
                bytes.push(u8::from_str_radix(&rest[1..3], 16).expect("two hex digits"));
                rest = &rest[3..];
            }
            plain => {
                assert!(plain.is_ascii(), "{plain} is not encoded");
                bytes.push(plain as u8);
                rest = &rest[1..];
            }
        }
    }
    bytes
}

/// Properties say nothing about what their strategies never make.
#[test]
fn the_strategies_reach_what_the_properties_are_about() {
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..300 {
        let mut sample = |what, found: bool| *seen.entry(what).or_default() += usize::from(found);
        let (file, rules, params) = draw(&mut runner, &case(strategies::params));
        let any_task = |has: &dyn Fn(&RulesTask) -> bool| file.tasks.iter().any(has);
        sample("version 1.0", file.version == RulesVersion::V1_0);
        sample("version 1.1", file.version == RulesVersion::V1_1);
        sample(
            "all",
            any_task(&|task| task.invalidates.contains(&"*".to_owned())),
        );
        sample("except", any_task(&|task| !task.except.is_empty()));
        sample("no cascade", any_task(&|task| task.cascade == Some(false)));
        sample(
            "included twice removed",
            any_task(&|task| {
                let included = |it: &&RulesTask| task.includes.contains(&it.name);
                file.tasks
                    .iter()
                    .filter(included)
                    .any(|it| !it.includes.is_empty())
            }),
        );
        let chain = |name| rules.dependents(name).is_ok_and(|found| found.len() > 2);
        sample("a chain", rules.controllers().any(chain));
        sample(
            "TTL",
            file.controllers.iter().any(|it| it.ttl_seconds.is_some()),
        );
        sample(
            "hash tag",
            rules
                .slot_check()
                .controllers
                .iter()
                .any(|it| matches!(&it.slots, Slots::One { tag: Some(tag) } if tag.contains('{'))),
        );
        sample(
            "list",
            params.iter().any(|(_, value)| value.values().len() > 1),
        );
        let near = &draw(&mut runner, &strategies::near_params(&rules))[0];
        let takes_params =
            |name: &&str| rules.placeholders(name).is_ok_and(|names| names.len() > 1);
        for name in rules.controllers().filter(takes_params) {
            sample("near params taken", rules.key(name, near).is_ok());
            sample("near params refused", rules.key(name, near).is_err());
        }
        let hostile = draw(&mut runner, &strategies::hostile_rules());
        sample("hostile rules that are no JSON", !is_json(&hostile));
        sample(
            "hostile rules refused, though JSON",
            is_json(&hostile) && Rules::from_json(&hostile).is_err(),
        );
        sample("hostile rules taken", Rules::from_json(&hostile).is_ok());
    }
    for (what, count) in seen {
        assert!(count >= 10, "{what}: {count} of 300");
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

fn draw<S: Strategy>(runner: &mut TestRunner, strategy: &S) -> S::Value {
    strategy.new_tree(runner).expect("a value").current()
}

#[test]
fn without_tasks_a_1_0_file_deletes_nothing() {
    let rules = Rules::from_path("rules/minimal.json").expect("it compiles");
    let params = Params::new().with("run_id", "copacetic-sled");
    for own in rules.controllers() {
        assert!(
            rules
                .expand_for(own, NO_TASKS, &params)
                .expect("it expands")
                .is_empty()
        );
    }
}
