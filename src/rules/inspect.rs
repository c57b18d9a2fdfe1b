//! Queries for tools: why a key is deleted, what differs, what saves need, the graph, the file's
//! schema.

use super::{
    Rules,
    diff::{self, RulesDiff},
    explain::{self, Deleters, Explanation},
    needs::{self, SaveNeeds},
    outline::{self, RulesGraph},
    params::Params,
    suggest,
};
use crate::model::Result;

/// Explaining and comparing.
impl Rules {
    /// Why the tasks delete each entry: the shortest path from each task, by its includes, the
    /// controllers it lists, and `depends_on`.
    ///
    /// Params may be left out: if a param for an entry's key is missing, the entry is explained
    /// without its keys.
    ///
    /// # Errors
    /// A task is unknown, or a param may not stand in a key
    /// ([`Error::is_params`](crate::Error::is_params)).
    ///
    /// # Examples
    /// ```
    /// use cachetx::{Params, Rules};
    ///
    /// let rules = Rules::from_path("rules/nodb.json")?;
    /// let run = Params::new().with("run_id", "copacetic-sled");
    /// let explanation = rules.explain(["build_rangeland_cover"], &run)?;
    /// let mut entries = explanation.entries.iter();
    /// let entry = entries.find(|it| it.controller == "rhempost").expect("it is deleted");
    /// assert_eq!(entry.keys[0].key, "nodb_cache:{copacetic-sled}:rhempost");
    /// assert_eq!(entry.reasons[0].to_string(), "task build_rangeland_cover: rhem -> rhempost");
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn explain(
        &self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        params: &Params,
    ) -> Result<Explanation> {
        explain::explain(&self.compiled, None, &self.indices(tasks)?, params)
    }

    /// Why a save of the controller `own` with these tasks deletes each entry: the same entries as
    /// [`expand_for`](Self::expand_for).
    ///
    /// # Errors
    /// As [`explain`](Self::explain); also if `own` is unknown, or its placeholders have several
    /// values.
    ///
    /// # Examples
    /// ```
    /// use cachetx::{NO_TASKS, Params, Rules};
    ///
    /// let rules = Rules::from_path("rules/nodb.json")?;
    /// let explanation = rules.explain_for("wepp", NO_TASKS, &Params::new())?;
    /// assert_eq!(explanation.entries[0].reasons[0].to_string(), "save of wepp -> wepppost");
    /// assert!(explanation.entries[0].keys.is_empty()); // no `run_id` was given
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn explain_for(
        &self,
        own: &str,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        params: &Params,
    ) -> Result<Explanation> {
        let own = self.controller(own)?;
        explain::explain(&self.compiled, Some(own), &self.indices(tasks)?, params)
    }

    /// Everything that deletes a controller's entries: all tasks, and all saves of other documents.
    ///
    /// # Errors
    /// The controller is unknown.
    ///
    /// # Examples
    /// ```
    /// let rules = cachetx::Rules::from_path("rules/nodb.json")?;
    /// let deleters = rules.deleters("rhempost")?;
    /// let reasons: Vec<String> = deleters.reasons.iter().map(ToString::to_string).collect();
    /// assert_eq!(
    ///     reasons,
    ///     [
    ///         "task project_init: * -> rhempost",
    ///         "task build_rangeland_cover: rhem -> rhempost",
    ///         "task run_rhem: rhempost",
    ///         "save of rhem -> rhempost",
    ///     ]
    /// );
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn deleters(&self, controller: &str) -> Result<Deleters> {
        let index = self.controller(controller)?;
        Ok(explain::deleters(&self.compiled, index))
    }

    /// What changes from these rules to `new` ones: entries that are no longer or newly deleted,
    /// changed keys, changed TTLs.
    ///
    /// The difference is empty exactly if every expansion, key and TTL is the same.
    ///
    /// # Examples
    /// ```
    /// use cachetx::Rules;
    ///
    /// let old = std::fs::read_to_string("rules/nodb.json").expect("the file");
    /// let new = old.replace(r#""rhempost": ["rhem"]"#, r#""rhempost": []"#);
    /// let diff = Rules::from_json(&old)?.diff(&Rules::from_json(&new)?);
    /// assert!(diff.loses_deletions());
    /// assert_eq!(diff.tasks[0].name, "build_rangeland_cover");
    /// assert_eq!(diff.tasks[0].no_longer_deleted, ["rhempost"]);
    /// assert_eq!(diff.saves[0].name, "rhem");
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    #[must_use]
    pub fn diff(&self, new: &Self) -> RulesDiff {
        diff::diff(&self.compiled, &new.compiled)
    }

    /// The params that a save of each controller needs, without tasks, in the order of declaration.
    ///
    /// # Examples
    /// ```
    /// let rules = cachetx::Rules::from_json(
    ///     r#"{ "version": "1.1",
    ///          "cache_keys": { "product": "{{{shop_id}}}:product:{sku}",
    ///                          "home_page": "{{{shop_id}}}:home:{fragment}" },
    ///          "depends_on": { "home_page": ["product"] },
    ///          "rules": {} }"#,
    /// )?;
    /// assert_eq!(
    ///     rules.save_needs()[0].to_string(),
    ///     "a save of `product` needs the params shop_id, sku, fragment: `home_page` has {fragment}"
    /// );
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    #[must_use]
    pub fn save_needs(&self) -> Vec<SaveNeeds> {
        needs::of_saves(&self.compiled)
    }

    /// All tasks and controllers, and the steps between them.
    ///
    /// # Examples
    /// ```
    /// let graph = cachetx::Rules::from_path("rules/nodb.json")?.graph();
    /// let wepp = graph.controllers.iter().find(|node| node.name == "wepp").expect("it is declared");
    /// assert_eq!(wepp.dependents, ["wepppost"]);
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    #[must_use]
    pub fn graph(&self) -> RulesGraph {
        outline::whole(&self.compiled)
    }

    /// The part of the graph that a task reaches: the tasks it includes, what they list or except,
    /// and all dependents.
    ///
    /// # Errors
    /// The task is unknown.
    ///
    /// # Examples
    /// ```
    /// let graph = cachetx::Rules::from_path("rules/nodb.json")?.graph_of("run_rhem")?;
    /// assert_eq!(graph.tasks.len(), 1);
    /// assert_eq!(graph.controllers.len(), 2); // rhem and rhempost
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn graph_of(&self, task: &str) -> Result<RulesGraph> {
        Ok(outline::of_task(&self.compiled, self.task(task)?))
    }

    /// The JSON Schema (draft 2020-12) of rules files, for editors and other validators.
    ///
    /// It describes the file's shape: fields, kinds of values, versions, bounds. Compiling also
    /// checks what a schema cannot express: unknown names, cycles, duplicate names, templates, keys
    /// that could be equal.
    ///
    /// # Examples
    /// ```
    /// let schema: serde_json::Value = serde_json::from_str(cachetx::Rules::json_schema())?;
    /// assert_eq!(schema["title"], "cachetx rules file");
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    #[must_use]
    pub fn json_schema() -> &'static str {
        include_str!("schema.json")
    }

    /// What an error adds about an unknown task's name.
    pub(super) fn instead_of_task(&self, name: &str) -> Option<String> {
        let Some(controller) = self.compiled.controller_by_name.get(name) else {
            return suggest::did_you_mean(name, self.tasks());
        };
        let mut tasks = self.compiled.tasks.iter();
        let task = tasks.find(|task| task.invalidates.contains(*controller));
        Some(match task {
            Some(task) => format!(
                "that is a controller; the task `{}` invalidates it",
                task.name
            ),
            None => "that is a controller, and no task invalidates it".to_owned(),
        })
    }

    /// The known tasks, each once, in the order given.
    fn indices(&self, tasks: impl IntoIterator<Item: AsRef<str>>) -> Result<Vec<usize>> {
        let mut indices = Vec::new();
        let mut seen = vec![false; self.compiled.tasks.len()];
        self.each_task(tasks, |index| {
            if !std::mem::replace(&mut seen[index], true) {
                indices.push(index);
            }
        })?;
        Ok(indices)
    }
}
