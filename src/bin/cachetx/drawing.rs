//! A rules graph as nodes and edges to draw.

use cachetx::{RulesGraph, TaskNode};
use std::collections::HashMap;

/// What is drawn: tasks, then controllers, then a node for `*` where a task lists it.
pub(crate) struct Drawing {
    pub(crate) nodes: Vec<Node>,
    pub(crate) edges: Vec<Edge>,
}

pub(crate) struct Node {
    pub(crate) label: String,
    pub(crate) shape: Shape,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Task,
    Controller,
}

pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) meaning: Meaning,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// From a task to one that it includes.
    Includes,
    /// From a task to a controller that it lists.
    Invalidates,
    /// From a task to a controller that it leaves out.
    Excepts,
    /// From a controller to one that is derived from it.
    Derives,
}

impl Drawing {
    pub(crate) fn new(graph: &RulesGraph) -> Self {
        let mut nodes: Vec<Node> = graph.tasks.iter().map(task).collect();
        let mut controllers: HashMap<&str, usize> = HashMap::new();
        for controller in &graph.controllers {
            controllers.insert(&controller.name, nodes.len());
            nodes.push(Node {
                label: controller.name.clone(),
                shape: Shape::Controller,
            });
        }
        if graph.tasks.iter().any(|task| task.every) {
            nodes.push(Node {
                label: "* every controller".to_owned(),
                shape: Shape::Controller,
            });
        }
        let edges = edges(graph, &controllers, nodes.len());
        Self { nodes, edges }
    }
}

/// What a drawing in layers takes: a place for each node, and for each edge one in every layer that it crosses.
pub(crate) fn places(drawing: &Drawing) -> usize {
    let layers = layers(drawing);
    let crossed = |edge: &Edge| layers[edge.to] - layers[edge.from];
    drawing.nodes.len() + drawing.edges.iter().map(crossed).sum::<usize>()
}

/// By node: how many steps the longest path to it has. Rules have no cycles.
fn layers(drawing: &Drawing) -> Vec<usize> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); drawing.nodes.len()];
    let mut before = vec![0; drawing.nodes.len()];
    for edge in &drawing.edges {
        next[edge.from].push(edge.to);
        before[edge.to] += 1;
    }
    let mut layers = vec![0; drawing.nodes.len()];
    let mut ready: Vec<usize> = (0..before.len())
        .filter(|node| before[*node] == 0)
        .collect();
    while let Some(node) = ready.pop() {
        for further in &next[node] {
            layers[*further] = layers[*further].max(layers[node] + 1);
            before[*further] -= 1;
            if before[*further] == 0 {
                ready.push(*further);
            }
        }
    }
    layers
}

fn task(task: &TaskNode) -> Node {
    let label = if task.cascade {
        task.name.clone()
    } else {
        format!("{} (no cascade)", task.name)
    };
    Node {
        label,
        shape: Shape::Task,
    }
}

fn edges(graph: &RulesGraph, controllers: &HashMap<&str, usize>, nodes: usize) -> Vec<Edge> {
    let tasks = graph.tasks.iter().enumerate();
    let tasks: HashMap<&str, usize> = tasks.map(|(index, task)| (&*task.name, index)).collect();
    let mut edges = Vec::new();
    let mut add = |from: usize, names: &[String], to: &HashMap<&str, usize>, meaning| {
        let to = names.iter().filter_map(|name| to.get(&**name).copied());
        edges.extend(to.map(|to| Edge { from, to, meaning }));
    };
    for (from, task) in graph.tasks.iter().enumerate() {
        add(from, &task.includes, &tasks, Meaning::Includes);
        add(from, &task.invalidates, controllers, Meaning::Invalidates);
        add(from, &task.except, controllers, Meaning::Excepts);
    }
    for controller in &graph.controllers {
        let from = controllers[&*controller.name];
        add(from, &controller.dependents, controllers, Meaning::Derives);
    }
    for (from, task) in graph.tasks.iter().enumerate() {
        if task.every {
            edges.push(Edge {
                from,
                to: nodes - 1,
                meaning: Meaning::Invalidates,
            });
        }
    }
    edges
}
