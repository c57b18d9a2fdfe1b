//! Checks for a user's own rules, a line each.
//!
//! ```text
//! mod      RulesCheck: construction, settings, results
//! graph    every controller is reachable, chains of dependents are short, saves need their own params only
//! deletes  what a named task, a pair of tasks or a save deletes
//! keys     how many keys, in how many hash slots, and whether another file has one of them
//! generated properties over generated params (feature `strategies`)
//! sample   the smallest params that show a failure
//! ```

mod deletes;
#[cfg(feature = "strategies")]
mod generated;
mod graph;
mod keys;
mod sample;

#[cfg(feature = "strategies")]
pub(super) use sample::{letters, shown};

use crate::{
    model::{Error, Result},
    rules::Rules,
};
use std::{collections::BTreeMap, path::Path};

/// Checks rules. Reports each property that does not hold, with the smallest params that show it.
///
/// Each check runs when it is called and adds to the failures; [`assert`](Self::assert) panics with
/// all of them. Settings ([`documents`](Self::documents), [`list_len`](Self::list_len)) apply to
/// the checks after them.
///
/// Two properties need no check, since a file that violates them does not compile: no two keys of
/// one file are equal, whatever the params, and cascades end. [`from_path`](Self::from_path) and
/// [`from_json`](Self::from_json) report such a file as failures, with the key that both templates
/// can give, or the cycle.
///
/// The checks prove their properties for all params and need no generated ones. For properties of
/// your own over generated params use `RulesCheck::for_all_params` (feature `strategies`).
///
/// # Examples
///
/// ```
/// use cachetx::testing::RulesCheck;
///
/// RulesCheck::from_path("rules/nodb.json")
///     .every_controller_is_reachable()
///     .each_save_is_in_one_slot()
///     .each_save_needs_only_its_own_params()
///     .cascades_end_within(1)
///     .no_task_deletes_more_than(24)
///     .task_deletes("build_climate", ["climate", "wepp", "wepppost"])
///     .task_keeps("build_climate", ["topaz", "watershed"])
///     .both_delete("build_soils", "build_landuse", ["soils", "wepp"])
///     .save_deletes("wepp", ["wepppost"])
///     .assert();
/// ```
#[derive(Clone, Debug)]
#[must_use = "call `assert`, or look at `failures`"]
pub struct RulesCheck {
    /// `None` if the file does not compile.
    rules: Option<Rules>,
    /// `None` if any controller may be a document.
    documents: Option<Vec<String>>,
    /// The params with more than one value.
    list_lens: BTreeMap<String, usize>,
    failures: Vec<String>,
}

impl RulesCheck {
    /// Checks compiled rules.
    pub fn of(rules: &Rules) -> Self {
        Self::new(Ok(rules.clone()))
    }

    /// Reads and compiles a file. An unreadable file, and each problem in a file, is a failure.
    pub fn from_path(path: impl AsRef<Path>) -> Self {
        Self::new(Rules::from_path(path))
    }

    /// Compiles a text. Each problem in it is a failure.
    pub fn from_json(text: &str) -> Self {
        Self::new(Rules::from_json(text))
    }

    fn new(rules: Result<Rules>) -> Self {
        let (rules, failures) = match rules {
            Ok(rules) => (Some(rules), Vec::new()),
            Err(error) => (None, problems(&error)),
        };
        Self {
            rules,
            documents: None,
            list_lens: BTreeMap::new(),
            failures,
        }
    }

    /// Names the controllers that are saved as documents. By default each controller may be one.
    pub fn documents(self, controllers: impl IntoIterator<Item: Into<String>>) -> Self {
        let documents: Vec<String> = controllers.into_iter().map(Into::into).collect();
        let mut this = self.each(|rules| {
            let unknown = documents.iter().filter(|name| !rules.has_controller(name));
            unknown
                .map(|name| format!("unknown controller `{name}`, named as a document"))
                .collect()
        });
        this.documents = Some(documents);
        this
    }

    /// Sets the number of values, in a list, that the program gives for this param at most. By
    /// default each param has one value.
    pub fn list_len(mut self, param: impl Into<String>, len: usize) -> Self {
        self.list_lens.insert(param.into(), len.max(1));
        self
    }

    /// The failures, in the order of the checks; empty if everything holds.
    #[must_use]
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Ends the checks.
    ///
    /// # Panics
    ///
    /// There are failures. The message lists all of them.
    #[track_caller]
    pub fn assert(self) {
        let failures = &self.failures;
        assert!(
            failures.is_empty(),
            "the rules fail {} check{}:\n- {}",
            failures.len(),
            if failures.len() == 1 { "" } else { "s" },
            failures.join("\n- ")
        );
    }

    /// Runs one check, which returns a text for each failure. Skipped if the file does not compile:
    /// its failures are there already.
    fn each(mut self, check: impl FnOnce(&Rules) -> Vec<String>) -> Self {
        if let Some(rules) = &self.rules {
            for failure in check(rules) {
                // Two checks may find the same failure.
                if !self.failures.contains(&failure) {
                    self.failures.push(failure);
                }
            }
        }
        self
    }

    /// The same for a check of names, any of which may be unknown.
    fn named(self, check: impl FnOnce(&Rules) -> Result<Vec<String>>) -> Self {
        self.each(|rules| check(rules).unwrap_or_else(|error| vec![error.to_string()]))
    }

    fn is_document(&self, controller: &str) -> bool {
        let documents = self.documents.as_ref();
        documents.is_none_or(|names| names.iter().any(|name| name == controller))
    }
}

/// A text for each problem of a file, or a single one for a file that cannot be read.
fn problems(error: &Error) -> Vec<String> {
    if error.problems().is_empty() {
        return vec![error.to_string()];
    }
    error.problems().iter().map(ToString::to_string).collect()
}

/// Names as a message quotes them.
fn quoted(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
