//! `cachetx rules graph FILE`: tasks, the controllers they invalidate, and what depends on those, as a drawing.

use crate::{Exit, drawing::Drawing, drawing_svg, drawing_text, output, rules_file};
use cachetx::{Error, Rules, RulesGraph};
use std::path::PathBuf;

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
