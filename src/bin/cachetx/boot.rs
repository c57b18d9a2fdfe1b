//! `cachetx boot`: boots an engine on a server and says what it found.

use crate::{Exit, Format, engine, output};
use cachetx::{Cache, Error, Rules};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Boot an engine on a server: load what it needs, and report what was found
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: engine::Server,
    /// How operations run
    #[arg(long, value_enum, default_value_t)]
    engine: engine::Name,
    /// A rules file, for what depends on it: other versions in use, gaps in the ACL
    #[arg(long)]
    rules: Option<PathBuf>,
    /// How to write the report
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: Arguments) -> std::io::Result<Exit> {
    let format = arguments.format;
    match boot(arguments) {
        Ok(report) => {
            let warned = !report.warnings.is_empty();
            match format {
                Format::Json => {
                    let report = serde_json::to_value(&report).unwrap_or(Value::Null);
                    output::write_json(&report)?;
                }
                Format::Text => output::write(&format!("{report}\n"))?,
            }
            Ok(if warned { Exit::Problems } else { Exit::Fine })
        }
        Err(error) => {
            output::complain(&error.to_string());
            if format == Format::Json {
                output::write_json(&json!({ "error": error.to_string() }))?;
            }
            let usage = error.is_config() || error.is_io() || error.is_rules();
            Ok(if usage { Exit::Usage } else { Exit::Problems })
        }
    }
}

fn boot(arguments: Arguments) -> Result<cachetx::EngineReport, Error> {
    let rules = match &arguments.rules {
        Some(path) => Rules::from_path(path)?,
        None => Rules::from_json(r#"{ "version": "1.0", "cache_keys": {}, "rules": {} }"#)?,
    };
    let cache = arguments
        .server
        .of(Cache::builder(rules))
        .engine(arguments.engine.into())
        .open()?;
    // An open cache has booted.
    Ok(cache.report().unwrap_or_default())
}
