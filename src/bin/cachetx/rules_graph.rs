//! `cachetx rules graph FILE`: tasks, the controllers they invalidate, and what depends on those,
//! as a drawing.

use crate::{
    Exit,
    drawing::{Drawing, places},
    drawing_svg, drawing_text, output, rules_file,
};
use cachetx::{Error, Rules, RulesGraph};
use std::path::PathBuf;

/// The biggest SVG. A layout of this size takes some seconds, and the time grows faster than the
/// size; rules/nodb.json has 151.
const MAX_PLACES: usize = 3_000;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The rules file
    file: PathBuf,
    /// Only what this task reaches
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// How to write the graph
    #[arg(long, value_enum, default_value_t)]
    format: GraphFormat,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum GraphFormat {
    /// For Graphviz
    #[default]
    Dot,
    /// For Mermaid, which Markdown pages of GitHub and GitLab draw
    Mermaid,
    /// A drawing for browsers
    Svg,
    /// For programs
    Json,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    let graph = match graph(arguments) {
        Ok(graph) => graph,
        Err(error) => return Ok(rules_file::fail(&arguments.file, &error)),
    };
    let drawing = Drawing::new(&graph);
    if matches!(arguments.format, GraphFormat::Svg) && places(&drawing) > MAX_PLACES {
        output::complain(
            "the graph is too big for one SVG; draw one task's part with --task, or use --format dot",
        );
        return Ok(Exit::Usage);
    }
    match arguments.format {
        GraphFormat::Dot => output::write(&drawing_text::dot(&drawing))?,
        GraphFormat::Mermaid => output::write(&drawing_text::mermaid(&drawing))?,
        GraphFormat::Svg => output::write(&drawing_svg::svg(&drawing))?,
        GraphFormat::Json => output::write_serialized(&graph)?,
    }
    Ok(Exit::Fine)
}

fn graph(arguments: &Arguments) -> Result<RulesGraph, Error> {
    let rules = Rules::from_path(&arguments.file)?;
    match &arguments.task {
        Some(task) => rules.graph_of(task),
        None => Ok(rules.graph()),
    }
}
