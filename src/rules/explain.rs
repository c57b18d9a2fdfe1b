//! Why an entry is deleted: the shortest path from each task, and from the save, to its controller.

use super::{
    compile::Compiled,
    expand::{self, Cause},
    params::Params,
    paths::Paths,
    set::Union,
};
use crate::model::Result;
use serde::Serialize;
use std::{collections::HashMap, fmt};

/// What tasks and a save delete, and why: what [`Rules::explain`](crate::Rules::explain) and
/// [`Rules::explain_for`](crate::Rules::explain_for) return.
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// let run = Params::new().with("run_id", "copacetic-sled");
/// let explained = rules.explain_for("climate", ["build_climate"], &run)?;
/// for entry in &explained.entries {
///     println!("{}: {}", entry.keys[0].key, entry.reasons[0]);
/// }
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The controller that is saved.
    pub own: Option<String>,
    /// The entries that are deleted, in the order in which the rules declare their controllers.
    pub entries: Vec<ExplainedEntry>,
}

/// Why one controller's entries are deleted.
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// let run = Params::new().with("run_id", "copacetic-sled");
/// let explained = rules.explain(["build_climate"], &run)?;
/// assert!(explained.entries.iter().all(|entry| !entry.reasons.is_empty()));
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplainedEntry {
    /// The controller.
    pub controller: String,
    /// The template of its key, as the rules file has it.
    pub template: String,
    /// The keys; empty if a placeholder of the template has no value.
    pub keys: Vec<ExplainedKey>,
    /// The reasons: one for each task that deletes the entries, then the save. Never empty.
    pub reasons: Vec<DeletionReason>,
}

/// One key that is deleted.
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// let run = Params::new().with("run_id", "copacetic-sled");
/// let explained = rules.explain(["build_climate"], &run)?;
/// let keys = explained.entries.iter().flat_map(|entry| &entry.keys);
/// println!("{:?}", keys.map(|key| (&key.key, key.slot)).collect::<Vec<_>>());
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExplainedKey {
    /// The key on the server.
    pub key: String,
    /// Its Cluster hash slot.
    pub slot: u16,
}

/// Everything that deletes a controller's entries: what [`Rules::deleters`](crate::Rules::deleters)
/// returns.
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// let deleters = rules.deleters("climate")?;
/// for reason in &deleters.reasons {
///     println!("{}: {reason}", deleters.template);
/// }
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Deleters {
    /// The controller.
    pub controller: String,
    /// The template of its key, as the rules file has it.
    pub template: String,
    /// Each task that deletes the entries, then each controller whose save does, in the order of
    /// declaration.
    pub reasons: Vec<DeletionReason>,
}

/// One way in which an entry is deleted, with the shortest path to it.
///
/// Displays as `task build -> run: wepp -> wepppost` or `save of rhem -> rhempost`.
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// use cachetx::DeletionReason;
///
/// let deleters = rules.deleters("wepppost")?;
/// let by_saves = deleters.reasons.iter().filter(|reason| matches!(reason, DeletionReason::Save { .. }));
/// assert_eq!(by_saves.count(), 1); // a save of wepp
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeletionReason {
    /// A task.
    Task {
        /// The task, then the tasks included on the way to the one whose rule reaches the
        /// controller.
        includes: Vec<String>,
        /// Whether the last task lists `*`.
        every: bool,
        /// The controller that the last task lists, then its dependents on the way to the deleted
        /// one.
        cascade: Vec<String>,
    },
    /// A save of another document.
    Save {
        /// The saved controller, then its dependents on the way to the deleted one.
        cascade: Vec<String>,
    },
}

impl fmt::Display for DeletionReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task {
                includes,
                every,
                cascade,
            } => {
                let listed = if *every { "* -> " } else { "" };
                let (includes, cascade) = (includes.join(" -> "), cascade.join(" -> "));
                write!(f, "task {includes}: {listed}{cascade}")
            }
            Self::Save { cascade } => write!(f, "save of {}", cascade.join(" -> ")),
        }
    }
}

/// Explains what the tasks, and a save of `own`, delete.
pub(super) fn explain(
    rules: &Compiled,
    own: Option<usize>,
    tasks: &[usize],
    params: &Params,
) -> Result<Explanation> {
    if let Some(own) = own.filter(|own| has_values(rules, *own, params)) {
        expand::check_single(rules, own, params)?;
    }
    let mut deleted = Union::none();
    for task in tasks {
        deleted.add(&rules.tasks[*task].invalidates);
    }
    if let Some(own) = own {
        deleted.add(&rules.dependents[own]);
        deleted.remove(own);
    }
    let deleted = deleted.iter(rules.controllers.len());
    let mut keys = keys(rules, deleted.clone(), params)?;
    let mut tasks: Vec<TaskPaths<'_>> = tasks
        .iter()
        .map(|task| TaskPaths::new(rules, *task))
        .collect();
    let saved = own.map(|own| cascade_paths(rules, [own]));
    let entries = deleted.map(|index| {
        let by_tasks = tasks.iter_mut().filter_map(|task| task.reason(index));
        let by_save = saved.as_ref().and_then(|paths| save(rules, paths, index));
        ExplainedEntry {
            controller: name(rules, index),
            template: template(rules, index),
            reasons: by_tasks.chain(by_save).collect(),
            keys: keys.remove(&index).unwrap_or_default(),
        }
    });
    Ok(Explanation {
        entries: entries.collect(),
        own: own.map(|own| name(rules, own)),
    })
}

/// Finds everything that deletes a controller's entries.
pub(super) fn deleters(rules: &Compiled, index: usize) -> Deleters {
    let tasks = 0..rules.tasks.len();
    let by_tasks = tasks.filter_map(|task| {
        let invalidates = &rules.tasks[task].invalidates;
        invalidates
            .contains(index)
            .then(|| TaskPaths::new(rules, task).reason(index))?
    });
    let sources = (0..rules.controllers.len()).filter(|own| rules.dependents[*own].contains(index));
    let by_saves = sources.filter_map(|own| save(rules, &cascade_paths(rules, [own]), index));
    Deleters {
        controller: name(rules, index),
        template: template(rules, index),
        reasons: by_tasks.chain(by_saves).collect(),
    }
}

/// The paths from one task: first by includes, then by cascade.
struct TaskPaths<'r> {
    rules: &'r Compiled,
    task: usize,
    includes: Paths,
    /// By included task: the paths from what it lists. Each is searched at most once.
    cascades: HashMap<usize, Paths>,
}

impl<'r> TaskPaths<'r> {
    fn new(rules: &'r Compiled, task: usize) -> Self {
        let next = |task: usize| &*rules.tasks[task].rule.includes;
        Self {
            rules,
            task,
            includes: Paths::from([task], rules.tasks.len(), next),
            cascades: HashMap::new(),
        }
    }

    fn reason(&mut self, index: usize) -> Option<DeletionReason> {
        let rules = self.rules;
        if !rules.tasks[self.task].invalidates.contains(index) {
            return None;
        }
        let mut nearest = self.includes.reached().iter().copied();
        let last = nearest.find(|task| rules.tasks[*task].rule.own.contains(index))?;
        let rule = &rules.tasks[last].rule;
        // Without cascade, all of `own` is listed, so the paths from there have one node each.
        let cascade = self.cascades.entry(last);
        let cascade = cascade.or_insert_with(|| cascade_paths(rules, rule.listed.iter()));
        Some(DeletionReason::Task {
            includes: names(&self.includes.to(last), |task| &rules.tasks[task].name),
            every: rule.every,
            cascade: names(&cascade.to(index), |index| &rules.names[index]),
        })
    }
}

fn cascade_paths(rules: &Compiled, starts: impl IntoIterator<Item = usize>) -> Paths {
    Paths::from(starts, rules.controllers.len(), |index| {
        &rules.direct[index]
    })
}

/// The path from a saved controller; `None` if it does not reach `index`.
fn save(rules: &Compiled, paths: &Paths, index: usize) -> Option<DeletionReason> {
    let path = paths.to(index);
    (!path.is_empty()).then(|| DeletionReason::Save {
        cascade: names(&path, |index| &rules.names[index]),
    })
}

/// The keys of the controllers whose placeholders all have values.
fn keys(
    rules: &Compiled,
    controllers: impl Iterator<Item = usize> + Clone,
    params: &Params,
) -> Result<HashMap<usize, Vec<ExplainedKey>>> {
    let given = |index: &usize| has_values(rules, *index, params);
    let list = expand::keys(rules, controllers.filter(given), params, Cause::Unknown)?;
    let mut keys: HashMap<usize, Vec<ExplainedKey>> = HashMap::new();
    for entry in list.entries() {
        let index = rules.controller_by_name[entry.controller];
        keys.entry(index).or_default().push(ExplainedKey {
            key: entry.key.to_owned(),
            slot: entry.slot,
        });
    }
    Ok(keys)
}

/// Whether each placeholder of a controller's key has a value. The value is not checked.
fn has_values(rules: &Compiled, index: usize, params: &Params) -> bool {
    let mut axes = rules.controllers[index].axes.iter();
    axes.all(|axis| params.get(&rules.params[*axis]).is_some())
}

fn names<'r>(path: &[usize], name: impl Fn(usize) -> &'r str) -> Vec<String> {
    path.iter().map(|index| name(*index).to_owned()).collect()
}

fn name(rules: &Compiled, index: usize) -> String {
    rules.names[index].to_string()
}

fn template(rules: &Compiled, index: usize) -> String {
    rules.controllers[index].template.source.to_string()
}
