//! A rules graph as tiles and arrows to draw.

use cachetx::{RulesGraph, TaskNode};
use std::collections::{HashMap, HashSet};

/// What is drawn: tasks, then controllers, then a tile for `*` if a task lists it.
pub(crate) struct Drawing {
    pub(crate) tiles: Vec<Tile>,
    pub(crate) arrows: Vec<Arrow>,
}

pub(crate) struct Tile {
    pub(crate) label: String,
    pub(crate) shape: TileShape,
    /// Whether it is highlighted; the others stay in the background.
    pub(crate) stands_out: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum TileShape {
    Task,
    Controller,
}

pub(crate) struct Arrow {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) relation: Relation,
    pub(crate) stands_out: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relation {
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
    /// The whole graph, with a part of it highlighted.
    pub(crate) fn of_part(graph: &RulesGraph, part: &RulesGraph) -> Self {
        let mut drawing = Self::new(graph);
        let tasks: HashSet<&str> = part.tasks.iter().map(|task| &*task.name).collect();
        let controllers = part.controllers.iter().map(|it| &*it.name);
        let controllers: HashSet<&str> = controllers.collect();
        let every = part.tasks.iter().any(|task| task.every);
        let tasks = graph.tasks.iter().map(|it| tasks.contains(&*it.name));
        let all = graph.controllers.iter();
        let controllers = all.map(|it| controllers.contains(&*it.name));
        // The tiles' order, with that for `*` last.
        let stand_out = tasks.chain(controllers).chain([every]);
        for (tile, stands_out) in drawing.tiles.iter_mut().zip(stand_out) {
            tile.stands_out = stands_out;
        }
        for arrow in &mut drawing.arrows {
            let ends = [arrow.from, arrow.to];
            arrow.stands_out = ends.iter().all(|end| drawing.tiles[*end].stands_out);
        }
        drawing
    }

    pub(crate) fn new(graph: &RulesGraph) -> Self {
        let mut tiles: Vec<Tile> = graph.tasks.iter().map(task).collect();
        let mut controllers: HashMap<&str, usize> = HashMap::new();
        for controller in &graph.controllers {
            controllers.insert(&controller.name, tiles.len());
            tiles.push(Tile {
                label: controller.name.clone(),
                shape: TileShape::Controller,
                stands_out: true,
            });
        }
        if graph.tasks.iter().any(|task| task.every) {
            tiles.push(Tile {
                label: "* every controller".to_owned(),
                shape: TileShape::Controller,
                stands_out: true,
            });
        }
        let arrows = arrows(graph, &controllers, tiles.len());
        Self { tiles, arrows }
    }
}

/// The size of a layered drawing: one place for each tile, and for each arrow one in every layer
/// that it crosses.
pub(crate) fn places(drawing: &Drawing) -> usize {
    let layers = layers(drawing);
    let crossed = |arrow: &Arrow| layers[arrow.to] - layers[arrow.from];
    drawing.tiles.len() + drawing.arrows.iter().map(crossed).sum::<usize>()
}

/// By tile: the number of steps on the longest path to it. Rules have no cycles.
fn layers(drawing: &Drawing) -> Vec<usize> {
    let mut next: Vec<Vec<usize>> = vec![Vec::new(); drawing.tiles.len()];
    let mut before = vec![0; drawing.tiles.len()];
    for arrow in &drawing.arrows {
        next[arrow.from].push(arrow.to);
        before[arrow.to] += 1;
    }
    let mut layers = vec![0; drawing.tiles.len()];
    let mut ready: Vec<usize> = (0..before.len())
        .filter(|tile| before[*tile] == 0)
        .collect();
    while let Some(tile) = ready.pop() {
        for further in &next[tile] {
            layers[*further] = layers[*further].max(layers[tile] + 1);
            before[*further] -= 1;
            if before[*further] == 0 {
                ready.push(*further);
            }
        }
    }
    layers
}

fn task(task: &TaskNode) -> Tile {
    let label = if task.cascade {
        task.name.clone()
    } else {
        format!("{} (no cascade)", task.name)
    };
    Tile {
        label,
        shape: TileShape::Task,
        stands_out: true,
    }
}

fn arrows(graph: &RulesGraph, controllers: &HashMap<&str, usize>, tiles: usize) -> Vec<Arrow> {
    let tasks = graph.tasks.iter().enumerate();
    let tasks: HashMap<&str, usize> = tasks.map(|(index, task)| (&*task.name, index)).collect();
    let mut arrows = Vec::new();
    let mut add = |from: usize, names: &[String], to: &HashMap<&str, usize>, relation| {
        let to = names.iter().filter_map(|name| to.get(&**name).copied());
        arrows.extend(to.map(|to| Arrow {
            from,
            to,
            relation,
            stands_out: true,
        }));
    };
    for (from, task) in graph.tasks.iter().enumerate() {
        add(from, &task.includes, &tasks, Relation::Includes);
        add(from, &task.invalidates, controllers, Relation::Invalidates);
        add(from, &task.except, controllers, Relation::Excepts);
    }
    for controller in &graph.controllers {
        let from = controllers[&*controller.name];
        add(from, &controller.dependents, controllers, Relation::Derives);
    }
    for (from, task) in graph.tasks.iter().enumerate() {
        if task.every {
            arrows.push(Arrow {
                from,
                to: tiles - 1,
                relation: Relation::Invalidates,
                stands_out: true,
            });
        }
    }
    arrows
}
