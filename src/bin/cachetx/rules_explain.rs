//! `cachetx rules explain FILE`: why each key is deleted, or everything that deletes a controller's
//! entry.

use crate::{
    Exit, Format, output,
    rules_file::{self, GivenParams},
};
use cachetx::{Deleters, DeletionReason, Error, Explanation, Rules};
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("subject").required(true).multiple(true))]
pub(crate) struct Arguments {
    /// The rules file
    file: PathBuf,
    /// A task that is done; may be repeated
    #[arg(long = "task", value_name = "TASK", group = "subject")]
    tasks: Vec<String>,
    /// The controller that is saved: what depends on it is explained too
    #[arg(long, value_name = "CONTROLLER", group = "subject")]
    own: Option<String>,
    /// The other way round: every task and every save that deletes this controller's entry
    #[arg(long, value_name = "CONTROLLER", group = "subject")]
    #[arg(conflicts_with_all = ["tasks", "own", "params"])]
    entry: Option<String>,
    #[command(flatten)]
    params: GivenParams,
    /// How to write the reasons
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    let explained = match &arguments.entry {
        Some(controller) => deleters(arguments, controller).map(Explained::Entry),
        None => explain(arguments).map(Explained::Keys),
    };
    match explained {
        Ok(explained) => {
            match (arguments.format, &explained) {
                (Format::Json, Explained::Keys(explanation)) => {
                    output::write_serialized(explanation)?
                }
                (Format::Json, Explained::Entry(deleters)) => output::write_serialized(deleters)?,
                (Format::Text, Explained::Keys(explanation)) => {
                    output::write(&keys_as_text(explanation))?
                }
                (Format::Text, Explained::Entry(deleters)) => {
                    output::write(&entry_as_text(deleters))?
                }
            }
            Ok(Exit::Fine)
        }
        Err(error) => Ok(rules_file::fail(&arguments.file, &error)),
    }
}

enum Explained {
    Keys(Explanation),
    Entry(Deleters),
}

fn deleters(arguments: &Arguments, controller: &str) -> Result<Deleters, Error> {
    Rules::from_path(&arguments.file)?.deleters(controller)
}

fn explain(arguments: &Arguments) -> Result<Explanation, Error> {
    let rules = Rules::from_path(&arguments.file)?;
    let params = arguments.params.params();
    match &arguments.own {
        None => rules.explain(&arguments.tasks, &params),
        Some(own) => rules.explain_for(own, &arguments.tasks, &params),
    }
}

fn keys_as_text(explanation: &Explanation) -> String {
    let mut text = String::new();
    for entry in &explanation.entries {
        text += &format!("{}  {}\n", entry.controller, entry.template);
        for key in &entry.keys {
            text += &format!("  del {} (slot {})\n", key.key, key.slot);
        }
        text += &reasons_as_text(&entry.reasons);
    }
    text
}

fn entry_as_text(deleters: &Deleters) -> String {
    let heading = format!("{}  {}\n", deleters.controller, deleters.template);
    if deleters.reasons.is_empty() {
        return heading + "  nothing deletes it\n";
    }
    heading + &reasons_as_text(&deleters.reasons)
}

fn reasons_as_text(reasons: &[DeletionReason]) -> String {
    let lines: Vec<String> = reasons.iter().map(reason_as_text).collect();
    output::bounded(&lines, output::MAX_LINES)
}

/// As it displays, except that paths with too many steps for a line are shortened.
fn reason_as_text(reason: &DeletionReason) -> String {
    let path = |steps: &[String]| output::bounded_names(steps, " -> ", output::MAX_NAMES);
    match reason {
        DeletionReason::Task {
            includes,
            every,
            cascade,
        } => {
            let listed = if *every { "* -> " } else { "" };
            format!("  task {}: {listed}{}", path(includes), path(cascade))
        }
        DeletionReason::Save { cascade } => format!("  save of {}", path(cascade)),
        other => format!("  {other}"),
    }
}
