//! Task lists, and histories of saves, invalidations and loads.

use super::params;
use crate::{
    model::limits,
    rules::{Params, Rules},
};
use proptest::{
    prelude::*,
    sample::{select, subsequence},
};

/// One step of a program that uses a cache.
///
/// # Examples
///
/// ```
/// use cachetx::{Rules, testing::strategies::{self, HistoryStep}};
/// use proptest::{strategy::{Strategy, ValueTree}, test_runner::TestRunner};
///
/// let rules = Rules::from_path("rules/shop.json")?;
/// let mut runner = TestRunner::deterministic();
/// let steps = strategies::histories(&rules, 20).new_tree(&mut runner).expect("a value").current();
/// let saves = steps.iter().filter(|step| matches!(step, HistoryStep::Save { .. })).count();
/// println!("{saves} of {} steps are saves", steps.len());
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HistoryStep {
    /// A document is saved, with tasks.
    Save {
        /// The document's controller.
        controller: String,
        /// The tasks of the save.
        tasks: Vec<String>,
        /// The save's params.
        params: Params,
    },
    /// Tasks are invalidated without a save.
    Invalidate {
        /// The tasks.
        tasks: Vec<String>,
        /// Their params.
        params: Params,
    },
    /// A value is read, and loaded if it is not cached.
    Load {
        /// The value's controller.
        controller: String,
        /// Its params.
        params: Params,
    },
}

/// Some of the tasks, without duplicates, in any order.
pub fn tasks(rules: &Rules) -> impl Strategy<Value = Vec<String>> + use<> {
    let tasks: Vec<String> = rules.tasks().map(str::to_owned).collect();
    let count = tasks.len();
    subsequence(tasks, 0..=count).prop_shuffle()
}

/// Task lists that an expansion refuses: with an unknown task, or with too many tasks.
pub fn hostile_tasks(rules: &Rules) -> impl Strategy<Value = Vec<String>> + use<> {
    let known: Vec<String> = rules.tasks().map(str::to_owned).collect();
    let is_known = {
        let known = known.clone();
        move |name: &String| known.contains(name)
    };
    let unknown = prop_oneof![
        select(vec!["", "*", "\u{1b}[2J", "no such task"]).prop_map(str::to_owned),
        "[a-z_]{1,8}",
    ]
    .prop_filter("a task of the rules", move |name| !is_known(name));
    let with_unknown = (tasks(rules), unknown.clone(), any::<prop::sample::Index>()).prop_map(
        |(mut tasks, unknown, at)| {
            tasks.insert(at.index(tasks.len() + 1), unknown);
            tasks
        },
    );
    let first = known.into_iter().next().unwrap_or_default();
    let too_many = Just(vec![first; limits::MAX_TASKS + 1]);
    prop_oneof![9 => with_unknown, 1 => too_many]
}

/// Histories of up to `most` steps over all controllers and tasks. Each history draws from a few
/// sets of params, so that its steps hit each other's entries. A param may be a list: a save or a
/// load of such a key is refused, but an invalidation is not.
pub fn histories(rules: &Rules, most: usize) -> impl Strategy<Value = Vec<HistoryStep>> + use<> {
    let controllers: Vec<String> = rules.controllers().map(str::to_owned).collect();
    let tasks = tasks(rules).boxed();
    prop::collection::vec(params(rules), 1..=3).prop_flat_map(move |sets| {
        let params = select(sets).boxed();
        let invalidate = (tasks.clone(), params.clone())
            .prop_map(|(tasks, params)| HistoryStep::Invalidate { tasks, params })
            .boxed();
        let step = match controllers.is_empty() {
            true => invalidate,
            false => {
                let load = (select(controllers.clone()), params.clone());
                let load =
                    load.prop_map(|(controller, params)| HistoryStep::Load { controller, params });
                let save = (select(controllers.clone()), tasks.clone(), params);
                let save = save.prop_map(|(controller, tasks, params)| HistoryStep::Save {
                    controller,
                    tasks,
                    params,
                });
                prop_oneof![2 => load, 2 => save, 1 => invalidate].boxed()
            }
        };
        prop::collection::vec(step, 0..=most)
    })
}
