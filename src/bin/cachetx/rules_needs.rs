//! `cachetx rules needs FILE`: the params that a save of each controller needs.

use crate::{Exit, Format, output, rules_file};
use cachetx::Rules;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The rules file
    file: PathBuf,
    /// How to write the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    let rules = match Rules::from_path(&arguments.file) {
        Ok(rules) => rules,
        Err(error) => return Ok(rules_file::fail(&arguments.file, &error)),
    };
    let needs = rules.save_needs();
    match arguments.format {
        Format::Json => output::write_serialized(&needs)?,
        Format::Text => {
            let lines = needs.iter().map(|needs| format!("{needs}\n"));
            output::write(&lines.collect::<String>())?;
        }
    }
    Ok(Exit::Fine)
}
