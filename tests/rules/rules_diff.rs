//! `Rules::diff`: it is empty exactly where all expansions, keys and TTLs are the same.

use cachetx::{
    KeyList, NO_TASKS, Params, Rules,
    testing::{RulesController, RulesFile, RulesTask, RulesVersion, strategies},
};
use proptest::{prelude::*, sample::Index, strategy::ValueTree, test_runner::TestRunner};
use std::collections::{BTreeMap, BTreeSet};

/// Changes of a file; some of them have no effect on any key.
#[derive(Clone, Copy, Debug)]
enum Edit {
    Nothing,
    ReverseControllers,
    ReverseTasks,
    DropListed,
    DropExcept,
    DropInclude,
    SayCascade,
    FlipCascade,
    DropSource,
    SayTtl,
    DefaultTtl,
    DropTask,
    AddTask,
    DropDependsOn,
    Placeholder,
    Suffix,
    ListMore,
}

const EDITS: [Edit; 17] = [
    Edit::Nothing,
    Edit::ReverseControllers,
    Edit::ReverseTasks,
    Edit::DropListed,
    Edit::DropExcept,
    Edit::DropInclude,
    Edit::SayCascade,
    Edit::FlipCascade,
    Edit::DropSource,
    Edit::SayTtl,
    Edit::DefaultTtl,
    Edit::DropTask,
    Edit::AddTask,
    Edit::DropDependsOn,
    Edit::Placeholder,
    Edit::Suffix,
    Edit::ListMore,
];

fn pick<T>(list: &mut [T], index: Index) -> Option<&mut T> {
    let count = list.len();
    (count > 0).then(|| &mut list[index.index(count)])
}

fn drop_one<T>(list: &mut Vec<T>, index: Index) {
    if !list.is_empty() {
        list.remove(index.index(list.len()));
    }
}

fn edit(file: &mut RulesFile, edit: Edit, at: Index, within: Index) {
    file.version = RulesVersion::V1_1;
    let default_ttl = file.default_ttl_seconds.unwrap_or(72 * 3_600);
    let controllers: Vec<String> = file.controllers.iter().map(|it| it.name.clone()).collect();
    match edit {
        Edit::Nothing => {}
        Edit::ReverseControllers => file.controllers.reverse(),
        Edit::ReverseTasks => file.tasks.reverse(),
        Edit::DropTask => drop_one(&mut file.tasks, at),
        Edit::DropDependsOn => drop_one(&mut file.depends_on, at),
        Edit::DefaultTtl => file.default_ttl_seconds = Some(default_ttl - 1).filter(|ttl| *ttl > 0),
        Edit::AddTask => {
            if let Some(mut copy) = pick(&mut file.tasks, at).cloned() {
                copy.name += "+";
                file.tasks.push(copy);
            }
        }
        Edit::DropSource => {
            if let Some((_, from)) = pick(&mut file.depends_on, at) {
                drop_one(from, within);
            }
        }
        Edit::SayTtl | Edit::Placeholder | Edit::Suffix => {
            if let Some(controller) = pick(&mut file.controllers, at) {
                edit_controller(controller, edit, default_ttl);
            }
        }
        _ => {
            if let Some(task) = pick(&mut file.tasks, at) {
                edit_task(task, edit, within, controllers);
            }
        }
    }
}

fn edit_controller(controller: &mut RulesController, edit: Edit, default_ttl: u64) {
    match edit {
        Edit::SayTtl => controller.ttl_seconds = controller.ttl_seconds.or(Some(default_ttl)),
        Edit::Suffix => controller.key += "+",
        _ => controller.key = controller.key.replace("{run_id}", "{year}"),
    }
}

fn edit_task(task: &mut RulesTask, edit: Edit, within: Index, mut controllers: Vec<String>) {
    match edit {
        Edit::DropListed => drop_one(&mut task.invalidates, within),
        Edit::DropExcept => drop_one(&mut task.except, within),
        Edit::DropInclude => drop_one(&mut task.includes, within),
        Edit::SayCascade => task.cascade = task.cascade.or(Some(true)),
        Edit::FlipCascade => task.cascade = Some(task.cascade == Some(false)),
        _ => {
            controllers.retain(|name| !task.invalidates.contains(name));
            task.invalidates
                .extend(pick(&mut controllers, within).cloned());
        }
    }
}

/// Two files of which one is the other with up to three edits.
fn pair() -> impl Strategy<Value = (RulesFile, RulesFile)> {
    let edits = (
        proptest::sample::select(&EDITS[..]),
        any::<Index>(),
        any::<Index>(),
    );
    let edits = prop::collection::vec(edits, 1..=3);
    (strategies::rules(), edits).prop_map(|(old, edits)| {
        let mut new = old.clone();
        for (what, at, within) in edits {
            edit(&mut new, what, at, within);
        }
        (old, new)
    })
}

/// A value for each placeholder that no literal and no other value has in it: keys are equal only
/// where their templates are.
fn telling_params(files: [&Rules; 2]) -> Params {
    let names: BTreeSet<&str> = files
        .iter()
        .flat_map(|rules| {
            rules
                .controllers()
                .flat_map(|name| rules.placeholders(name).expect("it is declared"))
        })
        .collect();
    let values = names.into_iter().enumerate();
    values.map(|(n, name)| (name, format!("Ω{n}Ω"))).collect()
}

fn set(keys: &KeyList) -> BTreeSet<(String, String)> {
    let entries = keys.entries();
    entries
        .map(|it| (it.controller.to_owned(), it.key.to_owned()))
        .collect()
}

/// Whether all expansions, keys and TTLs are the same.
fn same(old: &Rules, new: &Rules) -> bool {
    let params = telling_params([old, new]);
    let names = |rules: &Rules| -> [BTreeSet<String>; 2] {
        [
            rules.tasks().map(str::to_owned).collect(),
            rules.controllers().map(str::to_owned).collect(),
        ]
    };
    names(old) == names(new)
        && old.tasks().all(|task| {
            let keys = |rules: &Rules| set(&rules.expand([task], &params).expect("it expands"));
            keys(old) == keys(new)
        })
        && old.controllers().all(|own| {
            let keys = |rules: &Rules| {
                set(&rules
                    .expand_for(own, NO_TASKS, &params)
                    .expect("it expands"))
            };
            let key = |rules: &Rules| rules.key(own, &params).expect("a key");
            let ttl = |rules: &Rules| rules.ttl(own).expect("it is declared");
            keys(old) == keys(new) && key(old) == key(new) && ttl(old) == ttl(new)
        })
}

proptest! {
    #[test]
    fn a_diff_is_empty_exactly_where_all_expansions_and_ttls_are_the_same((old, new) in pair()) {
        let old = old.compile().expect("it compiles");
        // A longer key may be one that another could be equal to.
        let Ok(new) = new.compile() else { return Ok(()) };
        let diff = old.diff(&new);
        prop_assert_eq!(diff.is_empty(), same(&old, &new), "{:?}", diff);
        prop_assert!(old.diff(&old).is_empty());
    }

    #[test]
    fn what_a_diff_calls_lost_is_new_the_other_way_round((old, new) in pair()) {
        let old = old.compile().expect("it compiles");
        let Ok(new) = new.compile() else { return Ok(()) };
        let (there, back) = (old.diff(&new), new.diff(&old));
        let lost = |diff: &cachetx::RulesDiff| -> BTreeSet<(String, String)> {
            let changes = diff.tasks.iter();
            changes.flat_map(|it| it.no_longer_deleted.iter().map(|name| (it.name.clone(), name.clone()))).collect()
        };
        let gained = |diff: &cachetx::RulesDiff| -> BTreeSet<(String, String)> {
            let changes = diff.tasks.iter();
            changes.flat_map(|it| it.newly_deleted.iter().map(|name| (it.name.clone(), name.clone()))).collect()
        };
        prop_assert_eq!(lost(&there), gained(&back));
        prop_assert_eq!(gained(&there), lost(&back));
        prop_assert_eq!(&there.tasks_added, &back.tasks_removed);
        prop_assert_eq!(&there.controllers_removed, &back.controllers_added);
        prop_assert_eq!(there.ttls.len(), back.ttls.len());
        prop_assert_eq!(there.templates.len(), back.templates.len());
    }
}

#[test]
fn the_edits_reach_each_part_of_a_diff_alone() {
    let mut runner = TestRunner::deterministic();
    let mut alone: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..1_000 {
        let (old_file, new_file) = pair().new_tree(&mut runner).expect("a case").current();
        let (Ok(old), Ok(new)) = (old_file.compile(), new_file.compile()) else {
            continue;
        };
        let diff = old.diff(&new);
        let parts = [
            ("tasks", !diff.tasks.is_empty()),
            ("saves", !diff.saves.is_empty()),
            ("templates", !diff.templates.is_empty()),
            ("ttls", !diff.ttls.is_empty()),
            (
                "no effect",
                diff.is_empty() && old_file.to_json() != new_file.to_json(),
            ),
        ];
        let mut reached = parts.iter().filter(|(_, reached)| *reached);
        if let (Some((part, _)), None) = (reached.next(), reached.next()) {
            *alone.entry(part).or_default() += 1;
        }
    }
    for part in ["tasks", "saves", "templates", "ttls", "no effect"] {
        assert!(
            alone.get(part).is_some_and(|count| *count >= 5),
            "{alone:?}"
        );
    }
}

/// Four controllers in a chain, and a task that lists the first.
const CHAIN: &str = r#"{
  "version": "1.1",
  "default_ttl_seconds": 60,
  "cache_keys": { "a": "{{{run}}}:a", "b": "{{{run}}}:b", "c": "{{{run}}}:c", "d": "{{{run}}}:d" },
  "depends_on": { "b": ["a"], "c": ["b"], "d": ["c"] },
  "rules": { "build": { "invalidates_cache": ["a"] }, "all": { "includes": ["build"] } }
}"#;

fn diff(old: &str, new: &str) -> cachetx::RulesDiff {
    let rules = |text| Rules::from_json(text).expect("it compiles");
    rules(old).diff(&rules(new))
}

#[test]
fn a_deletion_lost_behind_three_cascades_is_found() {
    let diff = diff(CHAIN, &CHAIN.replace(r#", "d": ["c"]"#, ""));
    assert!(diff.loses_deletions());
    let lost: Vec<_> = diff
        .tasks
        .iter()
        .chain(&diff.saves)
        .map(|it| (&*it.name, &*it.no_longer_deleted[0]))
        .collect();
    assert_eq!(
        lost,
        [
            ("build", "d"),
            ("all", "d"),
            ("a", "d"),
            ("b", "d"),
            ("c", "d")
        ]
    );
}

#[test]
fn other_keys_and_ttls_are_named() {
    let new = CHAIN.replace(
        r#""d": "{{{run}}}:d""#,
        r#""d": { "key": "{{{run}}}:e", "ttl_seconds": 30 }"#,
    );
    let diff = diff(CHAIN, &new);
    assert!(!diff.loses_deletions() && !diff.is_empty());
    assert_eq!(
        (&*diff.templates[0].old, &*diff.templates[0].new),
        ("{{{run}}}:d", "{{{run}}}:e")
    );
    assert_eq!(
        (diff.ttls[0].old_seconds, diff.ttls[0].new_seconds),
        (60, 30)
    );
}

#[test]
fn a_removed_task_deletes_nothing_any_more() {
    let diff = diff(
        CHAIN,
        &CHAIN.replace(r#", "all": { "includes": ["build"] }"#, ""),
    );
    assert_eq!(diff.tasks_removed, ["all"]);
    assert!(diff.loses_deletions());
    assert_eq!(diff.tasks[0].no_longer_deleted, ["a", "b", "c", "d"]);
}
