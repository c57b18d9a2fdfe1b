//! The rules as a graph: tasks, the controllers they list, and what is derived from those.

use super::{
    compile::{Compiled, Task},
    paths::Paths,
    set::Set,
};
use serde::Serialize;

/// The steps that the rules declare: what [`Rules::graph`](crate::Rules::graph) and
/// [`Rules::graph_of`](crate::Rules::graph_of) return.
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// let graph = rules.graph_of("build_climate")?;
/// assert_eq!(graph.tasks[0].name, "build_climate");
/// assert!(graph.controllers.iter().any(|controller| controller.name == "climate"));
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RulesGraph {
    /// The tasks, in the order of declaration.
    pub tasks: Vec<TaskNode>,
    /// The controllers, in the order of declaration.
    pub controllers: Vec<ControllerNode>,
}

/// A task and what its rule says.
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// let graph = rules.graph();
/// let everything = graph.tasks.iter().filter(|task| task.every);
/// assert_eq!(everything.map(|task| &task.name).collect::<Vec<_>>(), ["project_init"]);
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TaskNode {
    /// The task.
    pub name: String,
    /// The tasks it includes.
    pub includes: Vec<String>,
    /// Whether it lists `*`; `invalidates` is empty then.
    pub every: bool,
    /// The controllers it lists.
    pub invalidates: Vec<String>,
    /// The controllers it excepts.
    pub except: Vec<String>,
    /// Whether the dependents of what it lists are invalidated too.
    pub cascade: bool,
}

/// A controller and what is derived from it.
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// for controller in rules.graph().controllers {
///     println!("{} lives {} s", controller.template, controller.ttl_seconds);
/// }
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ControllerNode {
    /// The controller.
    pub name: String,
    /// The template of its key, as the rules file has it.
    pub template: String,
    /// How long its entries live, in seconds.
    pub ttl_seconds: u64,
    /// The controllers declared to be derived from it, without further steps.
    pub dependents: Vec<String>,
}

/// All tasks and controllers.
pub(super) fn whole(rules: &Compiled) -> RulesGraph {
    let controllers = 0..rules.controllers.len();
    RulesGraph {
        tasks: rules.tasks.iter().map(|it| task(rules, it)).collect(),
        controllers: controllers
            .map(|index| controller(rules, index, |_| true))
            .collect(),
    }
}

/// One task, the tasks it includes, and the controllers they list, with all dependents of these;
/// also the excepted controllers.
pub(super) fn of_task(rules: &Compiled, index: usize) -> RulesGraph {
    let next = |task: usize| &*rules.tasks[task].rule.includes;
    let included = Paths::from([index], rules.tasks.len(), next);
    let mut shown = Set::none(rules.controllers.len());
    for task in included.reached() {
        let rule = &rules.tasks[*task].rule;
        shown.add(&rule.listed);
        if rule.cascade {
            let listed = rule.listed.iter();
            listed.for_each(|index| shown.add(&rules.dependents[index]));
        }
    }
    let mut tasks = included.reached().to_vec();
    tasks.sort_unstable();
    RulesGraph {
        tasks: tasks
            .into_iter()
            .map(|index| task(rules, &rules.tasks[index]))
            .collect(),
        controllers: shown
            .iter()
            .map(|index| controller(rules, index, |other| shown.contains(other)))
            .collect(),
    }
}

fn task(rules: &Compiled, task: &Task) -> TaskNode {
    let rule = &task.rule;
    let includes = rule.includes.iter();
    let listed = rule.listed.iter().filter(|_| !rule.every);
    TaskNode {
        name: task.name.to_string(),
        includes: includes
            .map(|index| rules.tasks[*index].name.to_string())
            .collect(),
        every: rule.every,
        invalidates: names(rules, listed),
        except: names(rules, rule.except.iter()),
        cascade: rule.cascade,
    }
}

fn controller(rules: &Compiled, index: usize, shown: impl Fn(usize) -> bool) -> ControllerNode {
    let dependents = rules.direct[index].iter().copied();
    ControllerNode {
        name: rules.names[index].to_string(),
        template: rules.controllers[index].template.source.to_string(),
        ttl_seconds: rules.ttl(index).as_secs(),
        dependents: names(rules, dependents.filter(|other| shown(*other))),
    }
}

fn names(rules: &Compiled, controllers: impl Iterator<Item = usize>) -> Vec<String> {
    controllers
        .map(|index| rules.names[index].to_string())
        .collect()
}
