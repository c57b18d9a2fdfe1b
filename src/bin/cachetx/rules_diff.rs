//! `cachetx rules diff OLD NEW`: what the new file deletes, names or keeps differently.

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
    // What may leave stale entries comes first.
    let mut lines = Vec::new();
    for change in &diff.tasks {
        lines.extend(lost("task", change));
    }
    for change in &diff.saves {
        lines.extend(lost("save of", change));
    }
    for change in &diff.tasks {
        lines.extend(gained("task", change));
    }
    for change in &diff.saves {
        lines.extend(gained("save of", change));
    }
    for change in &diff.templates {
        let (controller, old, new) = (&change.controller, &change.old, &change.new);
        lines.push(format!("key of {controller}: {old} -> {new}"));
    }
    for change in &diff.ttls {
        let (old, new) = (change.old_seconds, change.new_seconds);
        lines.push(format!("ttl of {}: {old} s -> {new} s", change.controller));
    }
    for (what, names) in [
        ("task removed", &diff.tasks_removed),
        ("task added", &diff.tasks_added),
        ("controller removed", &diff.controllers_removed),
        ("controller added", &diff.controllers_added),
    ] {
        lines.extend(names.iter().map(|name| format!("{what}: {name}")));
    }
    output::bounded(&lines, output::MAX_LINES)
}

fn lost(what: &str, change: &DeletionChange) -> Option<String> {
    let names = listed(&change.no_longer_deleted)?;
    Some(format!("{what} {} no longer deletes: {names}", change.name))
}

fn gained(what: &str, change: &DeletionChange) -> Option<String> {
    let names = listed(&change.newly_deleted)?;
    Some(format!("{what} {} now deletes: {names}", change.name))
}

/// `None` if there are no names.
fn listed(names: &[String]) -> Option<String> {
    (!names.is_empty()).then(|| output::bounded_names(names, ", ", output::MAX_NAMES))
}
