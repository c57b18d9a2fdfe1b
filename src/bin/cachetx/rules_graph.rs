//! `cachetx rules graph FILE`: tasks, the controllers they invalidate, and what depends on those,
//! as a drawing.

use crate::{
    Exit,
    drawing::{Drawing, places},
    drawing_svg, drawing_text, output, rules_file,
};
use cachetx::{Error, Rules, RulesGraph};
use serde_json::{Value, json};
use std::path::PathBuf;

/// The biggest SVG. A layout of this size takes some seconds, and the time grows faster than the
/// size; rules/nodb.json has 151.
const MAX_PLACES: usize = 3_000;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The rules file
    file: PathBuf,
    /// The task whose reach stands out: what it includes, what they list or except, and all dependents
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Nothing but that reach
    #[arg(long, requires = "task")]
    only_reach: bool,
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

/// What is drawn.
struct Subject {
    graph: RulesGraph,
    /// The highlighted part; `None` if all is highlighted.
    reach: Option<RulesGraph>,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    let subject = match subject(arguments) {
        Ok(subject) => subject,
        Err(error) => return Ok(rules_file::fail(&arguments.file, &error)),
    };
    let drawing = match &subject.reach {
        Some(reach) => Drawing::of_part(&subject.graph, reach),
        None => Drawing::new(&subject.graph),
    };
    if matches!(arguments.format, GraphFormat::Svg) && places(&drawing) > MAX_PLACES {
        output::complain(
            "the graph is too big for one SVG; draw one task's part with --task TASK --only-reach, or use --format dot",
        );
        return Ok(Exit::Usage);
    }
    match arguments.format {
        GraphFormat::Dot => output::write(&drawing_text::dot(&drawing))?,
        GraphFormat::Mermaid => output::write(&drawing_text::mermaid(&drawing))?,
        GraphFormat::Svg => output::write(&drawing_svg::svg(&drawing))?,
        GraphFormat::Json => output::write_json(&as_json(&subject)?)?,
    }
    Ok(Exit::Fine)
}

fn subject(arguments: &Arguments) -> Result<Subject, Error> {
    let rules = Rules::from_path(&arguments.file)?;
    let whole = |reach| Subject {
        graph: rules.graph(),
        reach,
    };
    Ok(match &arguments.task {
        None => whole(None),
        Some(task) => {
            let reach = rules.graph_of(task)?;
            match arguments.only_reach {
                true => Subject {
                    graph: reach,
                    reach: None,
                },
                false => whole(Some(reach)),
            }
        }
    })
}

/// The graph, and the names of the highlighted part.
fn as_json(subject: &Subject) -> serde_json::Result<Value> {
    let mut graph = serde_json::to_value(&subject.graph)?;
    if let Some(reach) = &subject.reach {
        let tasks: Vec<&String> = reach.tasks.iter().map(|task| &task.name).collect();
        let controllers = reach.controllers.iter();
        let controllers: Vec<&String> = controllers.map(|it| &it.name).collect();
        graph["reach"] = json!({ "tasks": tasks, "controllers": controllers });
    }
    Ok(graph)
}
