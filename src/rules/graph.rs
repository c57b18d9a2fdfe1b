//! Orders nodes by their edges, finds cycles, and completes the tasks' sets over includes and
//! dependents.

use super::{
    json::Text,
    names::Names,
    parse::{Draft, Task},
    report::Report,
    set::Set,
};
use std::ops::Range;

/// An edge: this node needs `to`. Has the place in the file.
#[derive(Clone)]
pub(super) struct Edge {
    pub(super) to: usize,
    pub(super) span: Range<usize>,
}

/// The nodes, each after all its edges' targets. A cycle is reported with its path, at the edge
/// that closes it.
pub(super) fn order<'n>(
    edges: &[Vec<Edge>],
    name: &dyn Fn(usize) -> &'n str,
    what: &str,
    report: &mut Report<'_>,
) -> Vec<usize> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut state = vec![State::New; edges.len()];
    let mut order = Vec::with_capacity(edges.len());
    // The path from the start to here, each node with its next edge. No recursion, so a long chain
    // uses no stack.
    let mut path: Vec<(usize, usize)> = Vec::new();
    for start in 0..edges.len() {
        if state[start] != State::New {
            continue;
        }
        state[start] = State::Open;
        path.push((start, 0));
        while let Some((node, next)) = path.last_mut() {
            let Some(edge) = edges[*node].get(*next) else {
                state[*node] = State::Done;
                order.push(*node);
                path.pop();
                continue;
            };
            *next += 1;
            match state[edge.to] {
                State::New => {
                    state[edge.to] = State::Open;
                    path.push((edge.to, 0));
                }
                State::Open => {
                    let cycle = path
                        .iter()
                        .map(|(node, _)| *node)
                        .skip_while(|node| *node != edge.to)
                        .chain([edge.to]);
                    let message = format!("a cycle in {what}: {}", arrows(cycle, name));
                    report.problem(
                        edge.span.clone(),
                        message,
                        Some("take one of these steps away".to_owned()),
                    );
                }
                State::Done => {}
            }
        }
    }
    order
}

/// `a -> b -> a`, shortened in the middle if it is long.
fn arrows<'n>(nodes: impl Iterator<Item = usize>, name: &dyn Fn(usize) -> &'n str) -> String {
    const SHOWN: usize = 16;
    let names: Vec<String> = nodes.map(|node| format!("`{}`", name(node))).collect();
    if names.len() <= SHOWN {
        return names.join(" -> ");
    }
    let (head, tail) = (&names[..SHOWN / 2], &names[names.len() - SHOWN / 2..]);
    format!(
        "{} -> … {} more … -> {}",
        head.join(" -> "),
        names.len() - SHOWN,
        tail.join(" -> ")
    )
}

/// What one task's rule lists by itself, without its includes.
pub(super) struct OwnRule {
    /// Whether it lists `*`.
    pub(super) every: bool,
    /// The controllers it lists.
    pub(super) listed: Set,
    /// Whether it also invalidates their dependents.
    pub(super) cascade: bool,
    /// The controllers it excepts.
    pub(super) except: Set,
    /// Listed controllers and, by cascade, their dependents, without the excepted ones.
    pub(super) own: Set,
    /// The tasks it includes, as the file lists them.
    pub(super) includes: Box<[usize]>,
}

/// Each task's rule, and all that the task invalidates; `None` if anything is wrong.
pub(super) fn tasks(
    draft: &Draft<'_>,
    controllers: &Names<'_>,
    names: &Names<'_>,
    dependents: &[Set],
    report: &mut Report<'_>,
) -> Option<Vec<(OwnRule, Set)>> {
    let mut rules: Vec<(OwnRule, Set)> = Vec::with_capacity(draft.tasks.len());
    let mut edges: Vec<Vec<Edge>> = Vec::with_capacity(draft.tasks.len());
    for task in &draft.tasks {
        let place = format!("in the rule of `{}`", task.name.text);
        let mut rule = own_rule(task, controllers, dependents, &place, report);
        let included = task.includes.iter().filter_map(|name| {
            let to = names.resolve(name, &place, report)?;
            let span = name.span.clone();
            Some(Edge { to, span })
        });
        let included: Vec<Edge> = included.collect();
        rule.includes = included.iter().map(|edge| edge.to).collect();
        let own = rule.own.clone();
        rules.push((rule, own));
        edges.push(included);
    }
    let name = |index: usize| &*draft.tasks[index].name.text;
    for task in order(&edges, &name, "`includes`", report) {
        for edge in &edges[task] {
            // `order` has included tasks first, so their sets are complete. In a cycle they are
            // not, but a cycle is refused.
            let included = rules[edge.to].1.clone();
            rules[task].1.add(&included);
        }
    }
    (!report.has_problems()).then_some(rules)
}

/// A rule without its includes.
fn own_rule(
    task: &Task<'_>,
    controllers: &Names<'_>,
    dependents: &[Set],
    place: &str,
    report: &mut Report<'_>,
) -> OwnRule {
    let listed = named(&task.invalidates, controllers, place, report);
    let mut own = listed.clone();
    if task.cascade {
        for index in listed.iter() {
            own.add(&dependents[index]);
        }
    }
    let mut except = Set::none(controllers.len());
    for name in &task.except {
        let Some(index) = controllers.resolve(name, place, report) else {
            continue;
        };
        if !own.contains(index) {
            report.warning(
                name.span.clone(),
                format!(
                    "`{}` is excepted, but the rule does not invalidate it",
                    name.text
                ),
                None,
            );
        }
        own.remove(index);
        except.insert(index);
    }
    OwnRule {
        every: task.invalidates.iter().any(|name| name.text == "*"),
        listed,
        cascade: task.cascade,
        except,
        own,
        includes: Box::default(),
    }
}

/// The controllers that a rule lists.
fn named(list: &[Text<'_>], controllers: &Names<'_>, place: &str, report: &mut Report<'_>) -> Set {
    if list.iter().any(|name| name.text == "*") {
        for other in list.iter().filter(|name| name.text != "*") {
            if controllers.resolve(other, place, report).is_some() {
                report.warning(
                    other.span.clone(),
                    format!("`{}` is part of `*` already", other.text),
                    None,
                );
            }
        }
        return Set::all(controllers.len());
    }
    let mut set = Set::none(controllers.len());
    for name in list {
        if let Some(index) = controllers.resolve(name, place, report) {
            set.insert(index);
        }
    }
    set
}
