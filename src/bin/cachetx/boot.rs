//! `cachetx boot`: boots an engine on a server and reports what it found.

use crate::{Exit, Format, engine, failure::Failure, output};
use cachetx::{Cache, EngineReport};
use std::path::PathBuf;

/// Boot an engine on a server: load what it needs, and report what was found
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: engine::Server,
    /// A rules file, for what depends on it: other versions in use, gaps in the ACL
    #[arg(long)]
    rules: Option<PathBuf>,
    /// How to write the report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    let format = arguments.format;
    let report = match boot(arguments) {
        Ok(report) => report,
        Err(failure) => return failure.report(arguments.rules.as_deref(), format),
    };
    match format {
        Format::Json => output::write_serialized(&report)?,
        Format::Text => output::write(&format!("{report}\n"))?,
    }
    Ok(match report.warnings.is_empty() {
        true => Exit::Fine,
        false => Exit::Problems,
    })
}

fn boot(arguments: &Arguments) -> Result<EngineReport, Failure> {
    let rules = engine::rules_or_none(arguments.rules.as_deref())?;
    let cache = arguments.server.of(Cache::builder(rules))?.open()?;
    // An open cache has booted.
    Ok(cache.report().unwrap_or_default())
}
