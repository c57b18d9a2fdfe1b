//! The check.

use super::{
    history::{self, History, Step},
    plan::{Change, Plan},
    truth::{Truth, Wanted},
};
use crate::{
    model::{Error, Result, error::Kind},
    rules::Rules,
    testing::runner::runner,
};
use proptest::test_runner::{TestCaseError, TestError};

/// Plays random histories of saves, invalidations and loads on the in-memory server. After each
/// step it compares every cached value with what its loader returns now. It finds a rule that
/// misses a dependent, and reports it with the shortest history that shows it.
///
/// The truth is a version for each document and each other source: the number of its changes. A
/// loader tells which versions a value is made of.
///
/// # Examples
///
/// ```
/// use cachetx::{NO_TASKS, Rules, testing::ModelCheck};
///
/// let rules = Rules::from_json(
///     r#"{ "version": "1.1",
///          "cache_keys": { "product": "{{{shop}}}:product:{sku}", "search": "{{{shop}}}:search" },
///          "depends_on": { "search": ["product"] },
///          "rules": { "restock": { "invalidates_cache": ["search"] } } }"#,
/// )?;
/// ModelCheck::of(&rules)
///     .document("product", NO_TASKS)
///     .source("stock", ["shop"], ["restock"])
///     .assert(|wanted, truth| match wanted.controller {
///         // A page of all products of the shop, and of what is in stock.
///         "search" => {
///             let shop = [("shop", wanted.param("shop"))];
///             Some(format!("{:?} {:?}", truth.all("product", shop), truth.all("stock", shop)))
///         }
///         _ => None,
///     });
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `assert`"]
pub struct ModelCheck {
    plan: Plan,
    /// Mistakes in the check itself.
    unknown: Vec<String>,
}

impl ModelCheck {
    /// The maximum number of steps of a history, unless [`steps`](Self::steps) sets another one.
    const STEPS: usize = 12;

    /// A check of these rules, without any changes yet.
    pub fn of(rules: &Rules) -> Self {
        Self {
            plan: Plan {
                rules: rules.clone(),
                changes: Vec::new(),
                steps: Self::STEPS,
            },
            unknown: Vec::new(),
        }
    }

    /// Adds a document that is saved with these tasks. If a document is saved with different tasks
    /// at different times, add it once for each.
    pub fn document(
        mut self,
        controller: &str,
        tasks: impl IntoIterator<Item: AsRef<str>>,
    ) -> Self {
        match self.plan.rules.placeholders(controller) {
            Ok(params) => {
                let params = params.into_iter().map(str::to_owned).collect();
                self.change(controller, params, tasks, true);
            }
            Err(error) => self.unknown.push(error.to_string()),
        }
        self
    }

    /// Adds another source of truth, such as a database's table: one for each combination of these
    /// params. When it changes, the program invalidates these tasks.
    pub fn source<'n>(
        mut self,
        name: &str,
        params: impl IntoIterator<Item = &'n str>,
        tasks: impl IntoIterator<Item: AsRef<str>>,
    ) -> Self {
        let params = params.into_iter().map(str::to_owned).collect();
        self.change(name, params, tasks, false);
        self
    }

    /// Sets the maximum number of steps of a history; 12 by default, at least 1.
    pub fn steps(mut self, steps: usize) -> Self {
        self.plan.steps = steps.max(1);
        self
    }

    fn change(
        &mut self,
        name: &str,
        params: Vec<String>,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        is_document: bool,
    ) {
        let tasks = tasks.into_iter().map(|task| task.as_ref().to_owned());
        let tasks: Vec<String> = tasks.collect();
        let unknown = tasks.iter().filter(|task| !self.plan.rules.has_task(task));
        let unknown = unknown.map(|task| format!("unknown task `{task}`, of changes of `{name}`"));
        self.unknown.extend(unknown.collect::<Vec<_>>());
        self.plan.changes.push(Change {
            name: name.to_owned(),
            params,
            tasks,
            is_document,
        });
    }

    /// Plays the histories. Returns `None` if no cached value was ever out of date, else the
    /// shortest history found, in words.
    ///
    /// `load` returns the value of a controller's entry as it would be loaded now, and `None` for a
    /// controller that the program does not load. It is called for every controller that is not a
    /// document. `PROPTEST_CASES` sets the number of histories, 256 by default.
    ///
    /// # Errors
    ///
    /// A controller or a task is unknown, or a key cannot be made: the check itself is wrong.
    pub fn counterexample(
        &self,
        load: impl Fn(&Wanted<'_>, &Truth) -> Option<String>,
    ) -> Result<Option<String>> {
        if let Some(unknown) = self.unknown.first() {
            return Err(Error::new(Kind::Params(unknown.clone())));
        }
        let play = |steps: &[Step]| History::new(&self.plan, &load)?.play(steps);
        let strategy = history::steps(&self.plan);
        let run = runner().run(&strategy, |steps| match play(&steps) {
            Ok(None) => Ok(()),
            Ok(Some(stale)) => Err(TestCaseError::fail(stale)),
            Err(error) => Err(TestCaseError::fail(error.to_string())),
        });
        match run {
            Ok(()) => Ok(None),
            Err(TestError::Fail(_, steps)) => {
                // The same history with `a` as each param's first value, if it fails in the same
                // way.
                let renamed = history::renamed(&self.plan, &steps);
                Ok(play(&renamed)?.or(play(&steps)?))
            }
            Err(TestError::Abort(why)) => Ok(Some(why.to_string())),
        }
    }

    /// The same, for tests.
    ///
    /// # Panics
    ///
    /// A cached value was out of date, or the check itself is wrong.
    #[track_caller]
    pub fn assert(self, load: impl Fn(&Wanted<'_>, &Truth) -> Option<String>) {
        match self.counterexample(load) {
            Ok(None) => {}
            Ok(Some(stale)) => panic!("{stale}"),
            Err(error) => panic!("the model check is wrong: {error}"),
        }
    }
}
