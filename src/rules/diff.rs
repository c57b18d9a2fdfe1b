//! What differs between two rules files, as their expansions see it.

use super::compile::Compiled;
use serde::Serialize;

/// What differs between two rules files: what [`Rules::diff`](crate::Rules::diff) returns.
///
/// Only changes of an expansion, a key or a TTL count. The order of declaration, descriptions, and
/// other ways to write the same effect (an include in place of a list) make no difference.
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// let diff = rules.diff(&rules);
/// assert!(diff.is_empty() && !diff.loses_deletions());
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RulesDiff {
    /// Tasks that only the new file has.
    pub tasks_added: Vec<String>,
    /// Tasks that only the old file has.
    pub tasks_removed: Vec<String>,
    /// Controllers that only the new file has.
    pub controllers_added: Vec<String>,
    /// Controllers that only the old file has.
    pub controllers_removed: Vec<String>,
    /// The tasks that delete other entries than before. A removed task no longer deletes anything.
    pub tasks: Vec<DeletionChange>,
    /// The controllers, declared in both files, whose saves without tasks delete other entries than
    /// before.
    pub saves: Vec<DeletionChange>,
    /// The controllers whose key templates changed: entries under the old keys stay until their
    /// TTL.
    pub templates: Vec<TemplateChange>,
    /// The controllers whose entries live longer or shorter.
    pub ttls: Vec<TtlChange>,
}

/// How the deletions of one task, or of one controller's save, have changed.
///
/// # Examples
///
/// ```
/// # use cachetx::Rules;
/// let rules = |ttl: u32, key: &str, listed: &str| Rules::from_json(&format!(
///     r#"{{ "version": "1.1", "cache_keys": {{ "a": {{ "key": "{key}", "ttl_seconds": {ttl} }} }},
///           "rules": {{ "build": {{ "invalidates_cache": [{listed}] }} }} }}"#));
/// let (old, new) = (rules(9, "{run}:a", r#""a""#)?, rules(9, "{run}:a", "")?);
/// let lost = &old.diff(&new).tasks[0];
/// assert_eq!((&*lost.name, &*lost.no_longer_deleted[0]), ("build", "a"));
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeletionChange {
    /// The task, or the controller that is saved.
    pub name: String,
    /// Controllers whose entries are no longer deleted: these entries may be stale.
    pub no_longer_deleted: Vec<String>,
    /// Controllers whose entries are now deleted.
    pub newly_deleted: Vec<String>,
}

/// A controller with another template.
///
/// # Examples
///
/// ```
/// # use cachetx::Rules;
/// let rules = |ttl: u32, key: &str, listed: &str| Rules::from_json(&format!(
///     r#"{{ "version": "1.1", "cache_keys": {{ "a": {{ "key": "{key}", "ttl_seconds": {ttl} }} }},
///           "rules": {{ "build": {{ "invalidates_cache": [{listed}] }} }} }}"#));
/// let (old, new) = (rules(9, "{run}:a", "")?, rules(9, "{run}:b", "")?);
/// let renamed = &old.diff(&new).templates[0];
/// assert_eq!((&*renamed.old, &*renamed.new), ("{run}:a", "{run}:b"));
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TemplateChange {
    /// The controller.
    pub controller: String,
    /// The old file's template.
    pub old: String,
    /// The new file's template.
    pub new: String,
}

/// A controller with another TTL.
///
/// # Examples
///
/// ```
/// # use cachetx::Rules;
/// let rules = |ttl: u32, key: &str, listed: &str| Rules::from_json(&format!(
///     r#"{{ "version": "1.1", "cache_keys": {{ "a": {{ "key": "{key}", "ttl_seconds": {ttl} }} }},
///           "rules": {{ "build": {{ "invalidates_cache": [{listed}] }} }} }}"#));
/// let (old, new) = (rules(9, "{run}:a", "")?, rules(60, "{run}:a", "")?);
/// let changed = &old.diff(&new).ttls[0];
/// assert_eq!((changed.old_seconds, changed.new_seconds), (9, 60));
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TtlChange {
    /// The controller.
    pub controller: String,
    /// The old file's TTL in seconds.
    pub old_seconds: u64,
    /// The new file's TTL in seconds.
    pub new_seconds: u64,
}

impl RulesDiff {
    /// Whether every expansion, key and TTL is the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a task, or a save, no longer deletes an entry that it deleted before.
    #[must_use]
    pub fn loses_deletions(&self) -> bool {
        let mut changes = self.tasks.iter().chain(&self.saves);
        changes.any(|change| !change.no_longer_deleted.is_empty())
    }
}

pub(super) fn diff(old: &Compiled, new: &Compiled) -> RulesDiff {
    let mut diff = RulesDiff::default();
    tasks(old, new, &mut diff);
    controllers(old, new, &mut diff);
    diff
}

/// Tasks in the old file's order, then new ones.
fn tasks(old: &Compiled, new: &Compiled, diff: &mut RulesDiff) {
    for task in &old.tasks {
        let after = new.task_by_name.get(&task.name);
        if after.is_none() {
            diff.tasks_removed.push(task.name.to_string());
        }
        let before = names(old, task.invalidates.iter());
        let after = after.map_or(Vec::new(), |index| {
            names(new, new.tasks[*index].invalidates.iter())
        });
        diff.tasks.extend(change(&task.name, &before, &after));
    }
    for task in &new.tasks {
        if !old.task_by_name.contains_key(&task.name) {
            diff.tasks_added.push(task.name.to_string());
            let after = names(new, task.invalidates.iter());
            diff.tasks.extend(change(&task.name, &[], &after));
        }
    }
}

/// Controllers in the old file's order, then new ones.
fn controllers(old: &Compiled, new: &Compiled, diff: &mut RulesDiff) {
    for (before, name) in old.names.iter().enumerate() {
        match new.controller_by_name.get(name) {
            None => diff.controllers_removed.push(name.to_string()),
            Some(after) => controller(old, before, new, *after, diff),
        }
    }
    let added = new.names.iter();
    let added = added.filter(|name| !old.controller_by_name.contains_key(*name));
    diff.controllers_added
        .extend(added.map(|name| name.to_string()));
}

/// A controller that both files declare.
fn controller(old: &Compiled, before: usize, new: &Compiled, after: usize, diff: &mut RulesDiff) {
    let name = &old.names[before];
    let templates = (
        &old.controllers[before].template.source,
        &new.controllers[after].template.source,
    );
    if templates.0 != templates.1 {
        diff.templates.push(TemplateChange {
            controller: name.to_string(),
            old: templates.0.to_string(),
            new: templates.1.to_string(),
        });
    }
    let (old_ttl, new_ttl) = (old.ttl(before), new.ttl(after));
    if old_ttl != new_ttl {
        diff.ttls.push(TtlChange {
            controller: name.to_string(),
            old_seconds: old_ttl.as_secs(),
            new_seconds: new_ttl.as_secs(),
        });
    }
    let before = names(old, old.dependents[before].iter());
    let after = names(new, new.dependents[after].iter());
    diff.saves.extend(change(name, &before, &after));
}

/// `None` if nothing changed.
fn change(name: &str, before: &[&str], after: &[&str]) -> Option<DeletionChange> {
    let without = |these: &[&str], those: &[&str]| -> Vec<String> {
        let these = these.iter().filter(|name| !those.contains(name));
        these.map(|name| (*name).to_owned()).collect()
    };
    let change = DeletionChange {
        name: name.to_owned(),
        no_longer_deleted: without(before, after),
        newly_deleted: without(after, before),
    };
    let same = change.no_longer_deleted.is_empty() && change.newly_deleted.is_empty();
    (!same).then_some(change)
}

fn names(rules: &Compiled, controllers: impl Iterator<Item = usize>) -> Vec<&str> {
    controllers.map(|index| &*rules.names[index]).collect()
}
