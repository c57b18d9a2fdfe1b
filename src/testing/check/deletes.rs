//! What given tasks and saves delete.

use super::{RulesCheck, quoted, sample};
use crate::{
    model::Result,
    rules::{NO_TASKS, Rules},
};

impl RulesCheck {
    /// The task deletes the entries of all these controllers.
    pub fn task_deletes<'n>(
        self,
        task: &str,
        controllers: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        self.named(|rules| {
            let deleted = rules.invalidated_by(task)?;
            missing(rules, &format!("task `{task}`"), &deleted, controllers)
        })
    }

    /// The task deletes the entry of none of these controllers.
    pub fn task_keeps<'n>(
        self,
        task: &str,
        controllers: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        self.named(|rules| {
            let deleted = rules.invalidated_by(task)?;
            present(rules, &format!("task `{task}`"), &deleted, controllers)
        })
    }

    /// Each of the two tasks deletes the entries of all these controllers.
    pub fn both_delete<'n>(
        self,
        one: &str,
        other: &str,
        controllers: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        let controllers: Vec<&str> = controllers.into_iter().collect();
        self.task_deletes(one, controllers.iter().copied())
            .task_deletes(other, controllers.iter().copied())
    }

    /// A save of the document without tasks deletes the entries of all these controllers.
    pub fn save_deletes<'n>(
        self,
        document: &str,
        controllers: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        self.save_with_tasks_deletes(document, NO_TASKS, controllers)
    }

    /// A save of the document with these tasks deletes the entries of all these controllers.
    pub fn save_with_tasks_deletes<'n>(
        self,
        document: &str,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        controllers: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        self.named(|rules| {
            let deleted = saved(rules, document, tasks)?;
            missing(
                rules,
                &format!("a save of `{document}`"),
                &deleted,
                controllers,
            )
        })
    }

    /// A save of the document without tasks deletes the entry of none of these controllers.
    pub fn save_keeps<'n>(
        self,
        document: &str,
        controllers: impl IntoIterator<Item = &'n str>,
    ) -> Self {
        self.named(|rules| {
            let deleted = saved(rules, document, NO_TASKS)?;
            present(
                rules,
                &format!("a save of `{document}`"),
                &deleted,
                controllers,
            )
        })
    }
}

/// The controllers that a save deletes, in the order of declaration.
fn saved<'r>(
    rules: &'r Rules,
    document: &str,
    tasks: impl IntoIterator<Item: AsRef<str>>,
) -> Result<Vec<&'r str>> {
    let keys = rules.expand_for(document, tasks, &sample::smallest(rules))?;
    let deleted: Vec<String> = keys
        .entries()
        .map(|key| key.controller.to_owned())
        .collect();
    let is_deleted = |name: &&str| deleted.iter().any(|deleted| deleted == name);
    Ok(rules.controllers().filter(is_deleted).collect())
}

fn missing<'n>(
    rules: &Rules,
    who: &str,
    deleted: &[&str],
    controllers: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<String>> {
    let kept = controllers
        .into_iter()
        .filter(|name| !deleted.contains(name));
    kept.map(|name| {
        let key = shown(rules, name)?;
        let instead = match deleted {
            [] => "it deletes nothing".to_owned(),
            _ => format!("it deletes {}", quoted(deleted)),
        };
        Ok(format!("{who} does not delete `{name}` ({key}); {instead}"))
    })
    .collect()
}

fn present<'n>(
    rules: &Rules,
    who: &str,
    deleted: &[&str],
    controllers: impl IntoIterator<Item = &'n str>,
) -> Result<Vec<String>> {
    let mut failures = Vec::new();
    for name in controllers {
        let key = shown(rules, name)?;
        if deleted.contains(&name) {
            failures.push(format!(
                "{who} deletes `{name}` ({key}), which it must keep"
            ));
        }
    }
    Ok(failures)
}

/// A key of the controller, such as `shop:a:page`.
fn shown(rules: &Rules, controller: &str) -> Result<String> {
    let key = rules.key(controller, &sample::smallest(rules))?;
    Ok(format!("such as `{key}`"))
}
