//! Resolves the names of a draft and computes, once, what every task invalidates.

use super::{
    braces,
    dependence::Dependence,
    graph::{self, OwnRule},
    names::Names,
    overlap,
    parse::{self, Draft},
    report::Report,
    set::Set,
    template::Template,
};
use crate::model::{
    Problem,
    limits::{DEFAULT_ENTRY_TTL, MAX_CONTROLLERS, MAX_TASKS},
};
use std::{collections::HashMap, sync::Arc, time::Duration};

/// Compiled rules: names are replaced by indices, in the order of declaration.
pub(super) struct Compiled {
    /// The controllers' names, shared with the key lists made from these rules.
    pub(super) names: Arc<[Box<str>]>,
    pub(super) controllers: Vec<Controller>,
    pub(super) controller_by_name: HashMap<Box<str>, usize>,
    /// Every placeholder's name, without duplicates.
    pub(super) params: Vec<Box<str>>,
    /// Every pair of a placeholder and the character after it, without duplicates: values are
    /// checked for each pair.
    pub(super) holes: Vec<Hole>,
    pub(super) tasks: Vec<Task>,
    pub(super) task_by_name: HashMap<Box<str>, usize>,
    /// For each controller, everything derived from it over any number of steps, without itself.
    pub(super) dependents: Vec<Set>,
    /// For each controller, those declared to be derived from it, in the order of declaration.
    pub(super) direct: Vec<Box<[usize]>>,
    pub(super) default_ttl: Option<Duration>,
    pub(super) warnings: Vec<Problem>,
}

pub(super) struct Controller {
    pub(super) template: Template,
    /// The hole of each piece of the template.
    pub(super) holes: Box<[usize]>,
    /// The distinct placeholders in order: the axes of the product if params are lists.
    pub(super) axes: Box<[usize]>,
    /// How many pieces use each axis's value.
    pub(super) uses: Box<[usize]>,
    pub(super) literal_bytes: usize,
    pub(super) ttl: Option<Duration>,
    /// Compares each key with other keys that a value could imitate. `None` for nearly all
    /// templates.
    pub(super) guard: Option<Box<overlap::Guard>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Hole {
    pub(super) param: usize,
    pub(super) until: Option<char>,
}

pub(super) struct Task {
    pub(super) name: Box<str>,
    /// What the rule itself lists, and by which steps.
    pub(super) rule: OwnRule,
    /// All it invalidates, with cascade, except and includes applied.
    pub(super) invalidates: Set,
}

impl Compiled {
    /// How long a controller's entries live: its own TTL, else the file's default, else 72 hours.
    pub(super) fn ttl(&self, controller: usize) -> Duration {
        let ttl = self.controllers[controller].ttl.or(self.default_ttl);
        ttl.unwrap_or(DEFAULT_ENTRY_TTL)
    }
}

/// Compiles a text. On failure, returns everything that is wrong with it.
pub(super) fn compile(file: &str, source: &str) -> Result<Compiled, Vec<Problem>> {
    let mut report = Report::new(file, source);
    let compiled = parse::draft(source, &mut report).and_then(|draft| link(&draft, &mut report));
    let failed = report.has_problems();
    let (problems, warnings) = report.finish();
    match compiled {
        Some(compiled) if !failed => Ok(Compiled {
            warnings,
            ..compiled
        }),
        _ => Err(problems),
    }
}

fn link(draft: &Draft<'_>, report: &mut Report<'_>) -> Option<Compiled> {
    for (count, limit, what, span) in [
        (
            draft.controllers.len(),
            MAX_CONTROLLERS,
            "controllers",
            draft.controllers.get(MAX_CONTROLLERS).map(|c| &c.name.span),
        ),
        (
            draft.tasks.len(),
            MAX_TASKS,
            "tasks",
            draft.tasks.get(MAX_TASKS).map(|t| &t.name.span),
        ),
    ] {
        if let Some(span) = span {
            report.problem(
                span.clone(),
                format!("{count} {what} are over the limit of {limit}"),
                Some("split the file by what is invalidated together".to_owned()),
            );
            // Past a limit nothing is computed: the limit keeps this work bounded.
            return None;
        }
    }
    let templates = templates(draft, report);
    let guards = overlap::check(draft, &templates, report);
    let controllers = Names::new(draft.controllers.iter().map(|c| &c.name), "controller");
    let tasks = Names::new(draft.tasks.iter().map(|t| &t.name), "task").beside(
        &controllers,
        "that is a controller: name it in `invalidates_cache`",
    );
    let controllers = controllers.beside(
        &tasks,
        "that is a task: name it in `includes`, or declare the controller under `cache_keys`",
    );
    let dependence = Dependence::new(draft, &controllers, report);
    let rules = graph::tasks(draft, &controllers, &tasks, &dependence.dependents, report)?;
    if report.has_problems() {
        return None;
    }

    let mut params = Interned::default();
    let mut holes = Interned::default();
    let compiled: Vec<Controller> = templates
        .into_iter()
        .flatten()
        .zip(&draft.controllers)
        .zip(guards)
        .map(|((template, declared), guard)| {
            let of_template: Vec<Hole> = template
                .pieces
                .iter()
                .map(|piece| Hole {
                    param: params.index(piece.name.clone()),
                    until: piece.until,
                })
                .collect();
            let (axes, uses) = axes(&of_template);
            Controller {
                holes: of_template
                    .into_iter()
                    .map(|hole| holes.index(hole))
                    .collect(),
                axes,
                uses,
                literal_bytes: template.literal_bytes(),
                template,
                ttl: declared.ttl,
                guard,
            }
        })
        .collect();
    dependence.warn_of_further_params(
        |index| &draft.controllers[index].name.text,
        |index| &params.items[index],
        |index| &compiled[index].axes,
        report,
    );
    let all = compiled.iter().map(|controller| &controller.template);
    braces::warn(draft, all, &params.items, report);
    Some(Compiled {
        names: draft
            .controllers
            .iter()
            .map(|c| Box::from(&*c.name.text))
            .collect(),
        controllers: compiled,
        controller_by_name: controllers.by_name(),
        params: params.items,
        holes: holes.items,
        tasks: draft
            .tasks
            .iter()
            .zip(rules)
            .map(|(task, (rule, invalidates))| Task {
                name: Box::from(&*task.name.text),
                rule,
                invalidates,
            })
            .collect(),
        task_by_name: tasks.by_name(),
        dependents: dependence.dependents,
        direct: dependence.direct,
        default_ttl: draft.default_ttl,
        warnings: Vec::new(),
    })
}

/// The distinct params of a template in order, and how often each one is used.
fn axes(holes: &[Hole]) -> (Box<[usize]>, Box<[usize]>) {
    let (mut axes, mut uses): (Vec<usize>, Vec<usize>) = Default::default();
    for hole in holes {
        match axes.iter().position(|axis| *axis == hole.param) {
            Some(axis) => uses[axis] += 1,
            None => {
                axes.push(hole.param);
                uses.push(1);
            }
        }
    }
    (axes.into(), uses.into())
}

/// Gives equal things the same index.
struct Interned<T> {
    items: Vec<T>,
    index: HashMap<T, usize>,
}

impl<T> Default for Interned<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            index: HashMap::new(),
        }
    }
}

impl<T: Clone + Eq + std::hash::Hash> Interned<T> {
    fn index(&mut self, item: T) -> usize {
        match self.index.get(&item) {
            Some(index) => *index,
            None => {
                let index = self.items.len();
                self.items.push(item.clone());
                self.index.insert(item, index);
                index
            }
        }
    }
}

/// Each controller's template; `None` if it is broken, which is already reported.
fn templates(draft: &Draft<'_>, report: &mut Report<'_>) -> Vec<Option<Template>> {
    draft
        .controllers
        .iter()
        .map(|controller| {
            let text = controller.template.as_ref()?;
            match Template::parse_all(&text.text) {
                Ok(template) => Some(template),
                Err(faults) => {
                    for fault in faults {
                        let message = format!(
                            "{}, in the key of `{}`",
                            fault.message, controller.name.text
                        );
                        report.problem(text.part(fault.at), message, fault.help);
                    }
                    None
                }
            }
        })
        .collect()
}
