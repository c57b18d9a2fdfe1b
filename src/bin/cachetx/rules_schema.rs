//! `cachetx rules schema`: the JSON Schema of rules files.

use crate::{Exit, output};
use cachetx::Rules;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How to write the schema
    #[arg(long, value_enum, default_value_t)]
    format: SchemaFormat,
}

#[derive(Clone, Copy, Default, clap::ValueEnum)]
enum SchemaFormat {
    /// The schema itself
    #[default]
    Json,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    let SchemaFormat::Json = arguments.format;
    output::write(Rules::json_schema())?;
    Ok(Exit::Fine)
}
