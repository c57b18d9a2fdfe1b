//! `cachetx rules diff OLD NEW`: what the new file deletes, names or keeps otherwise than the old
//! one.

use crate::{Exit, Format, output, rules_file};
use cachetx::{DeletionChange, Rules, RulesDiff};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The rules file in use
    old: PathBuf,
    /// The rules file that is to replace it
    new: PathBuf,
    /// How to write the differences
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    let load = |file: &Path| Rules::from_path(file).map_err(|error| rules_file::fail(file, &error));
    let (old, new) = match (load(&arguments.old), load(&arguments.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (old, new) => return Ok(old.err().max(new.err()).unwrap_or(Exit::Usage)),
    };
    let diff = old.diff(&new);
    match arguments.format {
        Format::Json => output::write_serialized(&diff)?,
        Format::Text => output::write(&as_text(&diff))?,
    }
    Ok(if diff.loses_deletions() {
        Exit::Problems
    } else {
        Exit::Fine
    })
}

fn as_text(diff: &RulesDiff) -> String {
    if diff.is_empty() {
        return "no difference\n".to_owned();
    }
    let mut text = String::new();
    // What may leave stale entries comes first.
    for change in &diff.tasks {
        text += &lost(&format!("task {}", change.name), change);
    }
    for change in &diff.saves {
        text += &lost(&format!("save of {}", change.name), change);
    }
    for change in &diff.tasks {
        text += &gained(&format!("task {}", change.name), change);
    }
    for change in &diff.saves {
        text += &gained(&format!("save of {}", change.name), change);
    }
    for change in &diff.templates {
        text += &format!(
            "key of {}: {} -> {}\n",
            change.controller, change.old, change.new
        );
    }
    for change in &diff.ttls {
        let (old, new) = (change.old_seconds, change.new_seconds);
        text += &format!("ttl of {}: {old} s -> {new} s\n", change.controller);
    }
    for (what, names) in [
        ("task removed", &diff.tasks_removed),
        ("task added", &diff.tasks_added),
        ("controller removed", &diff.controllers_removed),
        ("controller added", &diff.controllers_added),
    ] {
        text.extend(names.iter().map(|name| format!("{what}: {name}\n")));
    }
    text
}

fn lost(who: &str, change: &DeletionChange) -> String {
    match change.no_longer_deleted.as_slice() {
        [] => String::new(),
        names => format!("{who} no longer deletes: {}\n", names.join(", ")),
    }
}

fn gained(who: &str, change: &DeletionChange) -> String {
    match change.newly_deleted.as_slice() {
        [] => String::new(),
        names => format!("{who} now deletes: {}\n", names.join(", ")),
    }
}
