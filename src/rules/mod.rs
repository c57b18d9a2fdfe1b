//! The rules file, compiled: which keys a task invalidates.
//!
//! `json` gives values their places, `parse` checks their shape, `compile` resolves names (`graph`
//! orders them, `template` parses the keys, `overlap` proves that no two can be equal), `expand`
//! makes keys. `report` collects all problems of a file.
//!
//! `inspect` has the queries for tools: `explain` (why a key is deleted), `diff`, `needs` (params
//! of saves), `outline` (the graph).

mod braces;
mod compile;
mod dependence;
mod diff;
mod expand;
mod explain;
mod graph;
mod inspect;
mod json;
mod key_list;
mod live;
mod names;
mod needs;
mod others;
mod outline;
mod overlap;
mod params;
mod parse;
mod paths;
mod report;
mod set;
mod slots;
mod source;
mod suggest;
mod template;

pub use diff::{DeletionChange, RulesDiff, TemplateChange, TtlChange};
pub use explain::{Deleters, DeletionReason, ExplainedEntry, ExplainedKey, Explanation};
pub use key_list::{Iter as KeyIter, Key, KeyList};
pub(crate) use live::LiveRules;
pub use needs::{FurtherParam, SaveNeeds};
pub use outline::{ControllerNode, RulesGraph, TaskNode};
pub(crate) use overlap::common_text;
pub use params::{ParamValue, Params};
pub use slots::{SlotCheck, SlotFinding, Slots};
pub(crate) use slots::{hash_tag, slot};
pub(crate) use template::Template;

use crate::model::{Error, Problem, Result, error::Kind, limits::MAX_TASKS};
use compile::Compiled;
use expand::{Cause, Tasks};
use set::Union;
use std::{fmt, path::Path, str::FromStr, sync::Arc, time::Duration};

/// No tasks. A bare `[]` does not tell its element type.
pub const NO_TASKS: [&str; 0] = [];

/// A compiled rules file. Immutable, and cheap to clone.
///
/// # Examples
/// ```
/// use cachetx::{Params, Rules};
///
/// let rules = Rules::from_json(
///     r#"{ "version": "1.0",
///          "cache_keys": { "climate": "nodb_cache:{run_id}:climate", "wepp": "nodb_cache:{run_id}:wepp" },
///          "rules": { "build_climate": { "invalidates_cache": ["climate", "wepp"] } } }"#,
/// )?;
/// let params = Params::new().with("run_id", "copacetic-sled");
/// let keys = rules.expand(["build_climate"], &params)?;
/// assert!(keys.iter().eq(["nodb_cache:copacetic-sled:climate", "nodb_cache:copacetic-sled:wepp"]));
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone)]
pub struct Rules {
    compiled: Arc<Compiled>,
    unknown_tasks: UnknownTasks,
}

/// What an expansion does if a task has no rule.
///
/// # Examples
///
/// ```
/// use cachetx::{Params, Rules, UnknownTasks};
///
/// let text = std::fs::read_to_string("rules/minimal.json")?;
/// let rules = Rules::builder().unknown_tasks(UnknownTasks::Ignore).from_json(&text)?;
/// let run = Params::new().with("run_id", "copacetic-sled");
/// assert!(rules.expand(["paint"], &run)?.is_empty());
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnknownTasks {
    /// It is an error: a misspelt task would leave stale entries behind.
    #[default]
    Refuse,
    /// It expands to nothing.
    Ignore,
}

/// Options for loading rules.
///
/// # Examples
/// ```
/// use cachetx::{Params, Rules, UnknownTasks};
///
/// let rules = Rules::builder()
///     .unknown_tasks(UnknownTasks::Ignore)
///     .from_json(r#"{ "version": "1.0", "cache_keys": {}, "rules": {} }"#)?;
/// assert!(rules.expand(["a_task_of_tomorrow"], &Params::new())?.is_empty());
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct RulesBuilder {
    unknown_tasks: UnknownTasks,
}

impl RulesBuilder {
    /// What an expansion does if a task has no rule. By default it is an error.
    #[must_use]
    pub fn unknown_tasks(mut self, unknown_tasks: UnknownTasks) -> Self {
        self.unknown_tasks = unknown_tasks;
        self
    }

    /// Reads and compiles a file.
    ///
    /// # Errors
    /// The file cannot be read ([`Error::is_io`]), or has problems, all of which
    /// [`Error::problems`] lists.
    pub fn from_path(self, path: impl AsRef<Path>) -> Result<Rules> {
        let path = path.as_ref();
        let text = source::read(path)?;
        self.compile(&path.display().to_string(), &text)
    }

    /// Compiles a text.
    ///
    /// # Errors
    /// The text has problems, all of which [`Error::problems`] lists.
    pub fn from_json(self, text: &str) -> Result<Rules> {
        source::check_size(source::NO_FILE, text.len() as u64)?;
        self.compile(source::NO_FILE, text)
    }

    fn compile(self, file: &str, text: &str) -> Result<Rules> {
        let compiled =
            compile::compile(file, text).map_err(|problems| Error::new(Kind::Rules(problems)))?;
        Ok(Rules {
            compiled: Arc::new(compiled),
            unknown_tasks: self.unknown_tasks,
        })
    }
}

/// Loading.
impl Rules {
    /// Reads and compiles a file.
    ///
    /// # Errors
    /// The file cannot be read ([`Error::is_io`]), or has problems, all of which
    /// [`Error::problems`] lists.
    pub fn from_path(path: impl AsRef<Path>) -> Result<Self> {
        Self::builder().from_path(path)
    }

    /// Compiles a text.
    ///
    /// # Errors
    /// The text has problems, all of which [`Error::problems`] lists.
    pub fn from_json(text: &str) -> Result<Self> {
        Self::builder().from_json(text)
    }

    /// Options for loading.
    #[must_use]
    pub fn builder() -> RulesBuilder {
        RulesBuilder::default()
    }
}

impl FromStr for Rules {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::from_json(text)
    }
}

/// Expanding.
impl Rules {
    /// All keys that the tasks invalidate.
    ///
    /// # Errors
    /// A task is unknown, a param is missing or may not stand in a key, or there would be more than
    /// [`MAX_KEYS`](crate::limits::MAX_KEYS) keys ([`Error::is_params`]).
    pub fn expand(
        &self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        params: &Params,
    ) -> Result<KeyList> {
        let mut union = Union::none();
        let tasks = self.add_tasks(&mut union, tasks)?;
        let all = self.compiled.controllers.len();
        let cause = Cause::Tasks(&tasks);
        expand::keys(&self.compiled, union.iter(all), params, cause)
    }

    /// The keys that a save of the controller `own` deletes: all that the tasks invalidate and all
    /// that depends on `own`, without `own`'s entry, which the save sets.
    ///
    /// # Errors
    /// As [`expand`](Self::expand); also if `own` is unknown, or its placeholders have several
    /// values.
    ///
    /// # Examples
    /// ```
    /// use cachetx::{NO_TASKS, Params, Rules};
    ///
    /// let rules = Rules::from_json(
    ///     r#"{ "version": "1.1",
    ///          "cache_keys": { "climate": "{run}:climate", "wepp": "{run}:wepp" },
    ///          "depends_on": { "wepp": ["climate"] },
    ///          "rules": {} }"#,
    /// )?;
    /// let keys = rules.expand_for("climate", NO_TASKS, &Params::new().with("run", "r"))?;
    /// assert!(keys.iter().eq(["r:wepp"]));
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn expand_for(
        &self,
        own: &str,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        params: &Params,
    ) -> Result<KeyList> {
        let own = self.controller(own)?;
        // Also ensures that the own entry is one entry, so that leaving the controller out excludes
        // exactly it.
        expand::check_single(&self.compiled, own, params)?;
        let mut union = Union::none();
        let tasks = self.add_tasks(&mut union, tasks)?;
        union.add(&self.compiled.dependents[own]);
        union.remove(own);
        let all = self.compiled.controllers.len();
        let cause = Cause::Save { own, tasks: &tasks };
        expand::keys(&self.compiled, union.iter(all), params, cause)
    }

    /// All keys that a save with these params could have used, a list for each controller. Leaves a
    /// controller out if a placeholder has no value, or if the values may not stand in its key: no
    /// save has made such a key.
    pub(crate) fn expand_all(&self, params: &Params) -> impl Iterator<Item = KeyList> {
        let all = 0..self.compiled.controllers.len();
        all.filter_map(|index| {
            let one = std::iter::once(index);
            expand::keys(&self.compiled, one, params, Cause::Unknown).ok()
        })
    }

    /// The one key of a controller's entry.
    ///
    /// # Errors
    /// The controller is unknown, or a param is missing, has several values, or may not stand in a key.
    pub fn key(&self, controller: &str, params: &Params) -> Result<String> {
        expand::key(&self.compiled, self.controller(controller)?, params)
    }

    /// The tasks that are known.
    fn add_tasks(
        &self,
        union: &mut Union,
        tasks: impl IntoIterator<Item: AsRef<str>>,
    ) -> Result<Tasks> {
        let mut known = Tasks::new();
        self.each_task(tasks, |index| {
            union.add(&self.compiled.tasks[index].invalidates);
            known.push(index);
        })?;
        Ok(known)
    }

    /// Calls `each` with every known task, in the order given.
    fn each_task(
        &self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        mut each: impl FnMut(usize),
    ) -> Result<()> {
        for (given, task) in tasks.into_iter().enumerate() {
            if given == MAX_TASKS {
                return Err(Error::new(Kind::Params(format!(
                    "over the limit of {MAX_TASKS} tasks for one expansion"
                ))));
            }
            match (self.task(task.as_ref()), self.unknown_tasks) {
                (Ok(index), _) => each(index),
                (Err(error), UnknownTasks::Refuse) => return Err(error),
                (Err(_), UnknownTasks::Ignore) => {}
            }
        }
        Ok(())
    }
}

/// Looking up.
impl Rules {
    /// Warnings: what is doubtful in the file, but no error.
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.compiled.warnings
    }

    /// The tasks in the order of declaration.
    pub fn tasks(&self) -> impl ExactSizeIterator<Item = &str> {
        self.compiled.tasks.iter().map(|task| &*task.name)
    }

    /// The controllers in the order of declaration.
    pub fn controllers(&self) -> impl ExactSizeIterator<Item = &str> {
        self.compiled.names.iter().map(|name| &**name)
    }

    /// Whether a controller of this name is declared.
    #[must_use]
    pub fn has_controller(&self, name: &str) -> bool {
        self.compiled.controller_by_name.contains_key(name)
    }

    /// Whether a task of this name has a rule.
    #[must_use]
    pub fn has_task(&self, name: &str) -> bool {
        self.compiled.task_by_name.contains_key(name)
    }

    /// The controllers whose entries a task makes out of date, in the order of declaration.
    ///
    /// # Errors
    /// The task is unknown.
    pub fn invalidated_by(&self, task: &str) -> Result<Vec<&str>> {
        let task = &self.compiled.tasks[self.task(task)?];
        Ok(self.names(task.invalidates.iter()))
    }

    /// The controllers derived from this one over any number of steps, in the order of declaration.
    ///
    /// # Errors
    /// The controller is unknown.
    pub fn dependents(&self, controller: &str) -> Result<Vec<&str>> {
        let dependents = &self.compiled.dependents[self.controller(controller)?];
        Ok(self.names(dependents.iter()))
    }

    /// The placeholders of a controller's key, each once, in order.
    ///
    /// # Errors
    /// The controller is unknown.
    pub fn placeholders(&self, controller: &str) -> Result<Vec<&str>> {
        let controller = &self.compiled.controllers[self.controller(controller)?];
        let axes = controller.axes.iter();
        Ok(axes.map(|param| &*self.compiled.params[*param]).collect())
    }

    /// How long a controller's entries live: its own TTL, else the file's default, else 72 hours.
    ///
    /// # Errors
    /// The controller is unknown.
    pub fn ttl(&self, controller: &str) -> Result<Duration> {
        Ok(self.compiled.ttl(self.controller(controller)?))
    }

    /// 64 bits in hex. They differ if another file may delete other entries or let them live
    /// longer: they cover controllers, keys, TTLs, dependencies, and what each task invalidates.
    #[must_use]
    pub fn digest(&self) -> String {
        let compiled = &self.compiled;
        let mut sha = sha1_smol::Sha1::new();
        // Lengths come first, so that no two different listings give the same text.
        let mut add = |text: &str| sha.update(format!("{}:{text}", text.len()).as_bytes());
        let list = |controllers: &mut dyn Iterator<Item = usize>| -> String {
            controllers.map(|index| format!("{index} ")).collect()
        };
        add(&compiled.controllers.len().to_string());
        for (index, controller) in compiled.controllers.iter().enumerate() {
            add(&compiled.names[index]);
            add(&controller.template.source);
            add(&compiled.ttl(index).as_millis().to_string());
            add(&list(&mut compiled.dependents[index].iter()));
        }
        for task in &compiled.tasks {
            add(&task.name);
            add(&list(&mut task.invalidates.iter()));
        }
        sha.digest().to_string()[..16].to_owned()
    }

    /// A controller's key template, as its rules file has it.
    fn template(&self, controller: &str) -> Option<&str> {
        let index = self.controller(controller).ok()?;
        Some(&self.compiled.controllers[index].template.source)
    }

    /// Options that these rules were loaded with.
    #[cfg(feature = "watch")]
    pub(crate) fn options(&self) -> RulesBuilder {
        let unknown_tasks = self.unknown_tasks;
        RulesBuilder { unknown_tasks }
    }

    /// The key templates in the order of declaration.
    pub(crate) fn templates(&self) -> impl Iterator<Item = &Template> {
        let controllers = self.compiled.controllers.iter();
        controllers.map(|controller| &controller.template)
    }

    /// Which tasks, and which saves without tasks, are proven to stay in one Cluster hash slot.
    #[must_use]
    pub fn slot_check(&self) -> SlotCheck {
        slots::check(&self.compiled)
    }

    /// The controllers of these rules and of others that can have a key in common.
    #[cfg(feature = "testing")]
    pub(crate) fn shared_keys<'r>(&'r self, other: &'r Rules) -> Vec<Shared<'r>> {
        let mut shared = Vec::new();
        for (own, a) in self.controllers().zip(self.templates()) {
            for (other, b) in other.controllers().zip(other.templates()) {
                match overlap::common_key(a, b) {
                    Ok(None) => {}
                    Ok(key) => shared.push(Shared { own, other, key }),
                    Err(overlap::OutOfSteps) => shared.push(Shared {
                        own,
                        other,
                        key: None,
                    }),
                }
            }
        }
        shared
    }

    /// Every placeholder, with each character that ends its value in some template.
    #[cfg(feature = "testing")]
    pub(crate) fn holes(&self) -> impl Iterator<Item = (&str, Option<char>)> {
        let holes = self.compiled.holes.iter();
        holes.map(|hole| (&*self.compiled.params[hole.param], hole.until))
    }

    fn names(&self, controllers: impl Iterator<Item = usize>) -> Vec<&str> {
        controllers
            .map(|index| &*self.compiled.names[index])
            .collect()
    }

    fn controller(&self, name: &str) -> Result<usize> {
        match self.compiled.controller_by_name.get(name) {
            Some(index) => Ok(*index),
            None => Err(unknown(
                "controller",
                name,
                suggest::did_you_mean(name, self.controllers()),
            )),
        }
    }

    fn task(&self, name: &str) -> Result<usize> {
        match self.compiled.task_by_name.get(name) {
            Some(index) => Ok(*index),
            None => Err(unknown("task", name, self.instead_of_task(name))),
        }
    }
}

/// Two controllers, of two files, that can have a key in common.
#[cfg(feature = "testing")]
pub(crate) struct Shared<'r> {
    pub(crate) own: &'r str,
    pub(crate) other: &'r str,
    /// The shortest common key; `None` if the templates are too similar to decide.
    pub(crate) key: Option<String>,
}

fn unknown(what: &str, name: &str, hint: Option<String>) -> Error {
    let shown: String = name.chars().take(60).collect();
    let mut message = format!("unknown {what} `{}`", shown.escape_debug());
    if let Some(hint) = hint {
        message.push_str("; ");
        message.push_str(&hint);
    }
    Error::new(Kind::Params(message))
}

impl fmt::Debug for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rules")
            .field("controllers", &self.controllers().len())
            .field("tasks", &self.tasks().len())
            .field("unknown_tasks", &self.unknown_tasks)
            .finish()
    }
}
