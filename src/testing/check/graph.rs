//! Dependencies and reachability.

use super::{RulesCheck, quoted};
use crate::{model::Result, rules::Rules};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

impl RulesCheck {
    /// Each controller is a document, or deleted by some task or by the save of some document.
    /// Otherwise its entries would stay until their TTL.
    ///
    /// If [`documents`](Self::documents) were not named, a controller counts as reachable if
    /// something deletes it or depends on it.
    pub fn every_controller_is_reachable(self) -> Self {
        let documents = self.documents.clone();
        self.named(|rules| {
            let deleted = deleted(rules, documents.as_deref())?;
            let mut failures = Vec::new();
            for controller in rules.controllers() {
                let is_source = match &documents {
                    Some(names) => names.iter().any(|name| name == controller),
                    None => !rules.dependents(controller)?.is_empty(),
                };
                if !is_source && !deleted.contains(controller) {
                    failures.push(unreachable_because(controller, documents.as_deref()));
                }
            }
            Ok(failures)
        })
    }

    /// No chain of `depends_on` has more than `steps` steps. Every chain ends: a file with a cycle
    /// does not compile.
    pub fn cascades_end_within(self, steps: usize) -> Self {
        self.named(|rules| {
            let longest = longest_chain(rules)?;
            let found = longest.len().saturating_sub(1);
            Ok((found > steps)
                .then(|| {
                    // The beginning that is already too long is the smallest example.
                    let shown: Vec<&str> = longest[..steps + 2].to_vec();
                    format!(
                        "a chain of dependents has more than {steps} step{}: {}",
                        if steps == 1 { "" } else { "s" },
                        arrows(&shown)
                    )
                })
                .into_iter()
                .collect())
        })
    }

    /// Each document's own key has all params that its save needs. If a dependent has a placeholder
    /// that the document's own key does not have, the caller must add that param, and the save
    /// fails without it.
    pub fn each_save_needs_only_its_own_params(self) -> Self {
        let this = self.clone();
        self.named(|rules| {
            let mut failures = Vec::new();
            for own in rules.controllers().filter(|name| this.is_document(name)) {
                let known = rules.placeholders(own)?;
                for dependent in rules.dependents(own)? {
                    let needs = rules.placeholders(dependent)?;
                    let missing: Vec<&str> = needs
                        .into_iter()
                        .filter(|name| !known.contains(name))
                        .collect();
                    if !missing.is_empty() {
                        failures.push(format!(
                            "a save of `{own}` deletes `{dependent}`, whose key needs {}, which the key of `{own}` does not have",
                            quoted(&missing)
                        ));
                    }
                }
            }
            Ok(failures)
        })
    }
}

fn unreachable_because(controller: &str, documents: Option<&[String]>) -> String {
    match documents {
        Some(_) => format!(
            "nothing deletes `{controller}`: it is no document, no task lists it, and it depends on no document"
        ),
        None => format!(
            "nothing deletes `{controller}`: no task lists it, it depends on nothing, and nothing depends on it"
        ),
    }
}

/// The controllers that some task deletes, or the save of some document.
fn deleted<'r>(rules: &'r Rules, documents: Option<&[String]>) -> Result<BTreeSet<&'r str>> {
    let mut deleted = BTreeSet::new();
    for task in rules.tasks() {
        deleted.extend(rules.invalidated_by(task)?);
    }
    for own in rules.controllers() {
        if documents.is_none_or(|names| names.iter().any(|name| name == own)) {
            deleted.extend(rules.dependents(own)?);
        }
    }
    Ok(deleted)
}

/// A longest chain of controllers, each derived from the previous one. A single controller has no
/// step.
fn longest_chain(rules: &Rules) -> Result<Vec<&str>> {
    // By the number of dependents: a controller has more than any of its own dependents, so
    // dependents come first.
    let mut by_reach: Vec<(&str, Vec<&str>)> = rules
        .controllers()
        .map(|name| Ok((name, rules.dependents(name)?)))
        .collect::<Result<_>>()?;
    by_reach.sort_by_key(|(_, dependents)| dependents.len());
    // For each controller: the length of the longest chain after it, and the next controller in it.
    let mut behind: BTreeMap<&str, (usize, Option<&str>)> = BTreeMap::new();
    for (name, dependents) in &by_reach {
        let steps = |next: &&&str| behind.get(**next).map_or(0, |(steps, _)| *steps);
        let next = dependents.iter().max_by_key(steps);
        let found = next.map_or((0, None), |next| (steps(&next) + 1, Some(*next)));
        behind.insert(name, found);
    }
    // The first of the longest chains.
    let first = rules
        .controllers()
        .min_by_key(|name| Reverse(behind.get(name).map_or(0, |(steps, _)| *steps)));
    let chain = std::iter::successors(first, |name| behind.get(name)?.1);
    Ok(chain.collect())
}

fn arrows(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(" -> ")
}
