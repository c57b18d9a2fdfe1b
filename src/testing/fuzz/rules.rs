//! Rules files and expansions.

use super::bytes::{Lines, chosen, params};
use crate::{
    model::limits,
    rules::{NO_TASKS, Params, Rules},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

/// Shapes that matter to expansions: shared and repeated placeholders, lists, tags, keys that
/// values could make into a sibling's key.
const RULES: [&str; 4] = [
    include_str!("../../../rules/nodb.json"),
    r#"{ "version": "1.1",
         "cache_keys": { "a": "{x}:{y}:a", "b": "{x}{{{y}}}{x}/b", "c": "c:{z}", "d": "{{{x}}}:d:{z}" },
         "depends_on": { "b": ["a"], "c": ["b"] },
         "rules": { "t": { "invalidates_cache": ["*"], "except": ["d"] }, "u": { "invalidates_cache": ["a"], "includes": ["t"] } } }"#,
    r#"{ "version": "1.1",
         "cache_keys": { "doc": "{run}:{doc}", "odd": "{{{run}:{other}}}:{doc}", "two": "{run}and{other}|{doc}->" },
         "depends_on": { "odd": ["doc"] },
         "rules": { "t": { "invalidates_cache": ["doc", "two"] } } }"#,
    r#"{ "version": "1.0",
         "cache_keys": { "doc": "{run}:{doc}:x", "tag": "{{{{{run}}}{run}cachetx{run}tag" },
         "rules": { "t": { "invalidates_cache": ["doc", "tag"] } } }"#,
];

static COMPILED: LazyLock<Vec<Rules>> = LazyLock::new(|| {
    RULES
        .iter()
        .filter_map(|text| Rules::from_json(text).ok())
        .collect()
});

pub(super) fn text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Rules::from_json(text) {
        Ok(rules) => compiled(text, &rules),
        Err(error) => {
            assert!(!error.problems().is_empty(), "{error}");
            for problem in error.problems() {
                assert!(problem.span.start <= problem.span.end, "{problem:?}");
                assert!(text.get(problem.span.clone()).is_some(), "{problem:?}");
                let lines = text.bytes().filter(|byte| *byte == b'\n').count() + 1;
                assert!(
                    (1..=lines).contains(&(problem.line as usize)),
                    "{problem:?}"
                );
            }
        }
    }
}

fn compiled(text: &str, rules: &Rules) {
    let again = Rules::from_json(text).expect("it compiled before");
    assert_eq!(rules.digest(), again.digest());
    assert_eq!(rules.slot_check(), again.slot_check());
    let params: Params = rules
        .holes()
        .map(|(name, _)| (name, "Ä"))
        .collect::<BTreeMap<_, _>>()
        .into_iter()
        .collect();
    for task in rules.tasks() {
        expanded(rules, None, &[task], &params);
    }
    for own in rules.controllers() {
        let dependents = rules.dependents(own).expect("it is declared");
        assert!(!dependents.contains(&own), "`{own}` depends on itself");
        expanded(rules, Some(own), &[], &params);
    }
}

pub(super) fn expansion(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (which, rest) = text.split_once('\n').unwrap_or((&text, ""));
    if let Some(rules) = chosen(&COMPILED, which) {
        expansions_of(rules, rest.as_bytes());
    }
}

/// The first line chooses a task, the second a controller. The others are params; those after an
/// empty line are other params.
pub(super) fn expansions_of(rules: &Rules, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = Lines::of(&text);
    let tasks: Vec<&str> = rules.tasks().collect();
    let controllers: Vec<&str> = rules.controllers().collect();
    let task = chosen(&tasks, lines.next());
    let own = chosen(&controllers, lines.next());
    let lines: Vec<&str> = lines.rest().collect();
    let mut sets = lines
        .split(|line| line.is_empty())
        .map(|lines| params(lines.iter().copied()));
    let (one, other) = (
        sets.next().unwrap_or_default(),
        sets.next().unwrap_or_default(),
    );
    for params in [&one, &other] {
        let task = task.map(std::slice::from_ref).unwrap_or_default();
        expanded(rules, None, task, params);
        expanded(rules, own.copied(), task, params);
    }
    differ(rules, &one, &other);
}

/// Checks what must hold for every expansion.
fn expanded(rules: &Rules, own: Option<&str>, tasks: &[&str], params: &Params) {
    let keys = match own {
        None => rules.expand(tasks, params),
        Some(own) => rules.expand_for(own, tasks, params),
    };
    let keys = match keys {
        Ok(keys) => keys,
        Err(error) => {
            assert!(error.is_params(), "{error}");
            return;
        }
    };
    assert!(keys.len() <= limits::MAX_KEYS);
    let each: BTreeSet<&str> = keys.iter().collect();
    assert_eq!(each.len(), keys.len(), "a key comes twice");
    // If nothing depends on it, an own key that cannot be made is not checked by the expansion.
    if let Some(Ok(own)) = own.map(|own| rules.key(own, params)) {
        assert!(
            !each.contains(&*own),
            "a save deletes its own entry `{own}`"
        );
    }
    for entry in keys.entries() {
        assert!(entry.slot < limits::SLOTS);
        assert!(!entry.key.chars().any(char::is_control), "{entry:?}");
        for sibling in ["stamp", "lock", "lock:fence", "leases"] {
            let name = crate::op::keys::sibling(entry.key, sibling);
            assert!(!each.contains(&*name), "`{name}` is kept beside an entry");
        }
    }
}

/// Checks that two keys are equal only if they are one controller's, with the same values.
fn differ(rules: &Rules, one: &Params, other: &Params) {
    let mut seen: BTreeMap<String, (&str, Vec<&str>)> = BTreeMap::new();
    for params in [one, other] {
        for controller in rules.controllers() {
            let Ok(key) = rules.key(controller, params) else {
                continue;
            };
            let names = rules.placeholders(controller).expect("it is declared");
            let first = |name: &str| Some(&*params.get(name)?.values()[0]);
            let values: Vec<&str> = names.into_iter().filter_map(first).collect();
            let made_of = (controller, values);
            let before = seen.entry(key).or_insert_with(|| made_of.clone());
            assert_eq!(*before, made_of, "two entries share a key");
        }
    }
    assert!(
        rules
            .expand(NO_TASKS, one)
            .is_ok_and(|keys| keys.is_empty())
    );
}
