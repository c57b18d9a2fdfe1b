//! Rules files that compile.

use super::template::{Style, template};
use crate::testing::{RulesController, RulesFile, RulesTask, RulesVersion};
use proptest::{
    option,
    prelude::*,
    sample::{select, subsequence},
};
use std::ops::RangeInclusive;

/// The names of siblings on the server: a key may not end in one of them.
const RESERVED: [&str; 4] = ["stamp", "leases", "lock", "fence"];

/// Rules files that compile, of both versions, with everything that each version has: rules with
/// and without cascades, `*`, `except`, includes over several steps, keys with TTLs, shared and
/// repeated placeholders, hash tags, braces, names that JSON escapes.
///
/// There are up to 12 controllers and 8 tasks. Dependencies and includes have no cycles.
pub fn rules() -> impl Strategy<Value = RulesFile> {
    let version = prop_oneof![1 => Just(RulesVersion::V1_0), 4 => Just(RulesVersion::V1_1)];
    let style = select(vec![Style::Begins, Style::Ends]);
    (version, style, names(0..=12), names(0..=8)).prop_flat_map(
        |(version, style, controllers, tasks)| {
            let keys = in_order(controllers.clone(), move |_, name| {
                controller(version, style, name)
            });
            let depends_on = match version {
                RulesVersion::V1_0 => Just(Vec::new()).boxed(),
                RulesVersion::V1_1 => depends_on(controllers.clone()).boxed(),
            };
            let rules = in_order(tasks.clone(), move |before, name| {
                task(version, controllers.clone(), tasks[..before].to_vec(), name)
            });
            // Shuffled: the order of declaration is the keys' order and need not be the order of
            // dependence.
            (
                optional_ttl(version),
                keys.prop_shuffle(),
                depends_on.prop_shuffle(),
                rules.prop_shuffle(),
            )
                .prop_map(
                    move |(default_ttl_seconds, controllers, depends_on, tasks)| RulesFile {
                        version,
                        default_ttl_seconds,
                        controllers,
                        depends_on,
                        tasks,
                    },
                )
        },
    )
}

/// One value for each name, made from the number of names before it.
fn in_order<S: Strategy>(names: Vec<String>, each: impl Fn(usize, String) -> S) -> Vec<S> {
    let numbered = names.into_iter().enumerate();
    numbered.map(|(before, name)| each(before, name)).collect()
}

fn names(count: RangeInclusive<usize>) -> impl Strategy<Value = Vec<String>> {
    let name = r#"[a-z][a-z0-9_.é"\\ -]{0,7}"#
        .prop_filter("a sibling's name", |name| !RESERVED.contains(&&**name));
    prop::collection::btree_set(name, count)
        .prop_map(|names| names.into_iter().collect::<Vec<_>>())
        .prop_shuffle()
}

fn optional_ttl(version: RulesVersion) -> BoxedStrategy<Option<u64>> {
    match version {
        RulesVersion::V1_0 => Just(None).boxed(),
        RulesVersion::V1_1 => option::weighted(0.3, 1..=315_360_000_u64).boxed(),
    }
}

fn controller(
    version: RulesVersion,
    style: Style,
    name: String,
) -> impl Strategy<Value = RulesController> {
    (template(style, name.clone()), optional_ttl(version)).prop_map(move |(key, ttl_seconds)| {
        RulesController {
            name: name.clone(),
            key,
            ttl_seconds,
        }
    })
}

/// Each controller may be derived from some of those before it.
fn depends_on(controllers: Vec<String>) -> impl Strategy<Value = Vec<(String, Vec<String>)>> {
    let all = controllers.clone();
    in_order(controllers, move |before, name| {
        some(&all[..before], 2).prop_map(move |from| (name.clone(), from))
    })
    .prop_map(|mut edges| {
        // Some controllers without sources have a member too: an empty list is allowed.
        let mut kept = 0;
        edges.retain(|(_, from)| {
            kept += 1;
            !from.is_empty() || kept % 4 == 0
        });
        edges
    })
}

/// Up to `most` of the names, in any order.
fn some(names: &[String], most: usize) -> impl Strategy<Value = Vec<String>> + use<> {
    subsequence(names.to_vec(), 0..=most.min(names.len())).prop_shuffle()
}

fn task(
    version: RulesVersion,
    controllers: Vec<String>,
    earlier: Vec<String>,
    name: String,
) -> BoxedStrategy<RulesTask> {
    let listed = some(&controllers, 4);
    if version == RulesVersion::V1_0 {
        return listed
            .prop_map(move |invalidates| RulesTask {
                name: name.clone(),
                invalidates,
                ..RulesTask::default()
            })
            .boxed();
    }
    let all = some(&controllers, 1).prop_map(|mut with| {
        with.push("*".to_owned());
        with
    });
    let invalidates = prop_oneof![6 => listed, 1 => all];
    let description = option::weighted(0.2, r#"[a-zA-Zé"\\/\n ]{0,12}"#);
    let cascade = option::weighted(0.4, any::<bool>());
    (
        description,
        invalidates,
        some(&controllers, 2),
        some(&earlier, 2),
        cascade,
    )
        .prop_map(
            move |(description, invalidates, except, includes, cascade)| RulesTask {
                name: name.clone(),
                description,
                invalidates,
                except,
                includes,
                cascade,
            },
        )
        .boxed()
}
