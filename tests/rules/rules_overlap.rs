//! Whatever templates compile together: no two of their keys are equal, and none is a key that the library keeps itself.

use cachetx::{Params, Rules};
use proptest::{prelude::*, sample::select};
use std::collections::HashMap;

/// Templates of a few parts that were chosen to be mistaken for each other.
fn template() -> impl Strategy<Value = String> {
    let parts = vec![
        "{a}", "{a}", "{b}", "{b}", ":", ":", ":", "A", "{{", "}}", "stamp", "lock", "/",
        "{{{a}}}", "cachetx", "leases",
    ];
    prop::collection::vec(select(parts), 1..=6).prop_map(|parts| parts.concat())
}

/// Values that make the same text in more than one way, and the library's own names.
const VALUES: [&str; 12] = [
    "A",
    "AA",
    "A:A",
    ":",
    "A:",
    ":A",
    "stamp",
    "A:stamp",
    "A:lock",
    "A:lock:fence",
    "cachetx",
    "leases",
];

fn rules(templates: &[String]) -> Option<Rules> {
    let keys: serde_json::Map<String, serde_json::Value> = templates
        .iter()
        .enumerate()
        .map(|(n, template)| (format!("c{n}"), template.as_str().into()))
        .collect();
    let file = serde_json::json!({ "version": "1.1", "cache_keys": keys, "rules": {} });
    Rules::from_json(&file.to_string()).ok()
}

/// All pairs of values.
fn all_params() -> impl Iterator<Item = Params> {
    let pairs = VALUES
        .iter()
        .flat_map(|a| VALUES.iter().map(move |b| (a, b)));
    pairs.map(|(a, b)| Params::new().with("a", *a).with("b", *b))
}

fn tag(key: &str) -> Option<&str> {
    let (_, rest) = key.split_once('{')?;
    rest.split_once('}')
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
}

/// What the design says lies beside a key, by name.
fn kept_beside(key: &str) -> impl Iterator<Item = String> {
    let base = match tag(key) {
        Some(_) => key.to_owned(),
        None => format!("{{{key}}}"),
    };
    ["stamp", "leases", "lock", "lock:fence"]
        .map(|name| format!("{base}:{name}"))
        .into_iter()
}

fn is_leases(key: &str) -> bool {
    key == "cachetx:leases"
        || key.starts_with("cachetx:leases:")
        || tag(key).is_some_and(|tag| key == format!("{{{tag}}}:cachetx:leases"))
}

proptest! {
    #[test]
    fn keys_of_templates_that_compile_together_differ(templates in prop::collection::vec(template(), 1..=3)) {
        let Some(rules) = rules(&templates) else {
            return Ok(());
        };
        let mut owners: HashMap<String, (&str, Vec<String>)> = HashMap::new();
        for params in all_params() {
            for controller in rules.controllers() {
                let Ok(key) = rules.key(controller, &params) else {
                    continue;
                };
                prop_assert!(!is_leases(&key), "{} of {}", key, controller);
                let used = rules.placeholders(controller)?;
                let values = used.iter().filter_map(|name| params.get(name)).flat_map(|value| value.values().to_vec());
                let owner = (controller, values.collect());
                let first = owners.entry(key).or_insert_with(|| owner.clone());
                prop_assert_eq!(&*first, &owner);
            }
        }
        for (key, owner) in &owners {
            for beside in kept_beside(key) {
                prop_assert!(!owners.contains_key(&beside), "{} lies beside {} of {:?}", beside, key, owner);
            }
        }
    }
}

/// The property above is about those that compile: enough of them have to, and enough not.
#[test]
fn some_templates_compile_together_and_some_do_not() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let pairs = prop::collection::vec(template(), 2..=3);
    let compiled = (0..400).filter(|_| {
        let templates = pairs.new_tree(&mut runner).expect("a value").current();
        rules(&templates).is_some()
    });
    let compiled = compiled.count();
    assert!((20..=380).contains(&compiled), "{compiled} of 400");
}
