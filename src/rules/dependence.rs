//! What is derived from what: the declared steps, all dependents, and the params that a save needs
//! because of them.

use super::{
    graph::{self, Edge},
    names::Names,
    parse::Draft,
    paths::Paths,
    report::Report,
    set::Set,
};
use crate::model::limits::{MAX_FURTHER_STEPS, MAX_FURTHER_WARNINGS};
use std::collections::HashMap;

/// How a save is given a param that its source's key does not have.
fn help(param: &str) -> String {
    format!(
        "give each save its values, a list where several entries are derived: \
         Save::new().params(Params::new().with(\"{param}\", [\"a\", \"b\"])); or take {{{param}}} out of \
         the dependent's key"
    )
}

/// `depends_on`, resolved.
pub(super) struct Dependence {
    /// By controller: its declared sources.
    sources: Vec<Vec<Edge>>,
    /// By controller: its declared dependents, in the order of declaration.
    pub(super) direct: Vec<Box<[usize]>>,
    /// By controller: its dependents over any number of steps, without itself.
    pub(super) dependents: Vec<Set>,
}

impl Dependence {
    /// Resolves the names of `depends_on`. Reports unknown names and cycles.
    pub(super) fn new(draft: &Draft<'_>, controllers: &Names<'_>, report: &mut Report<'_>) -> Self {
        let sources = sources(draft, controllers, report);
        let name = |index: usize| &*draft.controllers[index].name.text;
        let order = graph::order(&sources, &name, "`depends_on`", report);
        let dependents = dependents(&sources, order);
        let direct = direct(&sources);
        Self {
            sources,
            direct,
            dependents,
        }
    }

    /// Warns if a dependent's key has a placeholder that its source's own key does not have. `axes`
    /// gives the placeholders of a controller's key.
    pub(super) fn warn_of_further_params<'c>(
        &self,
        name: impl Fn(usize) -> &'c str,
        param: impl Fn(usize) -> &'c str,
        axes: impl Fn(usize) -> &'c [usize],
        report: &mut Report<'_>,
    ) {
        let (mut steps, mut warnings) = (0, 0);
        for source in 0..self.direct.len() {
            let dependents = &self.dependents[source];
            steps += dependents.iter().map(|it| axes(it).len()).sum::<usize>();
            if steps > MAX_FURTHER_STEPS || warnings > MAX_FURTHER_WARNINGS {
                return;
            }
            let further = further_params(dependents, source, &axes);
            if further.is_empty() {
                continue;
            }
            warnings += further.len();
            let paths = Paths::from([source], self.direct.len(), |node| &self.direct[node]);
            for (index, dependents) in further {
                let first = dependents[0];
                let step = paths.to(first)[1];
                let Some(edge) = self.sources[step].iter().find(|edge| edge.to == source) else {
                    continue;
                };
                let because = match dependents.len() {
                    1 => format!("`{}` depends on it", name(first)),
                    n => format!("`{}` and {} more depend on it", name(first), n - 1),
                };
                let message = format!(
                    "a save of `{}` needs the param `{}` beside its own, because {because}",
                    name(source),
                    param(index)
                );
                report.warning(edge.span.clone(), message, Some(help(param(index))));
            }
        }
    }
}

/// The params that a save of `source` needs only because of its dependents, each with the
/// dependents that need it.
pub(super) fn further_params<'c>(
    dependents: &Set,
    source: usize,
    axes: impl Fn(usize) -> &'c [usize],
) -> Vec<(usize, Vec<usize>)> {
    let own = axes(source);
    let mut further: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut places: HashMap<usize, usize> = HashMap::new();
    for dependent in dependents.iter() {
        for param in axes(dependent).iter().filter(|param| !own.contains(param)) {
            let place = *places.entry(*param).or_insert_with(|| {
                further.push((*param, Vec::new()));
                further.len() - 1
            });
            further[place].1.push(dependent);
        }
    }
    further
}

fn sources(draft: &Draft<'_>, controllers: &Names<'_>, report: &mut Report<'_>) -> Vec<Vec<Edge>> {
    let mut sources: Vec<Vec<Edge>> = vec![Vec::new(); draft.controllers.len()];
    for (derived, from) in &draft.depends_on {
        let derived = controllers.resolve(derived, "in `depends_on`", report);
        for source in from {
            let to = controllers.resolve(source, "in `depends_on`", report);
            if let (Some(derived), Some(to)) = (derived, to) {
                let span = source.span.clone();
                sources[derived].push(Edge { to, span });
            }
        }
    }
    sources
}

/// For each controller, everything derived from it. `order` has each controller after its sources.
fn dependents(sources: &[Vec<Edge>], order: Vec<usize>) -> Vec<Set> {
    let mut dependents = vec![Set::none(sources.len()); sources.len()];
    // Backwards: everything derived from a controller is complete when the controller is reached.
    for derived in order.into_iter().rev() {
        let own = dependents[derived].clone();
        for edge in &sources[derived] {
            dependents[edge.to].insert(derived);
            dependents[edge.to].add(&own);
        }
    }
    dependents
}

fn direct(sources: &[Vec<Edge>]) -> Vec<Box<[usize]>> {
    let mut direct: Vec<Vec<usize>> = vec![Vec::new(); sources.len()];
    for (derived, from) in sources.iter().enumerate() {
        for edge in from {
            direct[edge.to].push(derived);
        }
    }
    direct.into_iter().map(Into::into).collect()
}
