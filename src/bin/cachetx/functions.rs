//! `cachetx functions dump`: the server operations, for programs in other languages.

use crate::{Exit, Format, output};
use cachetx::FunctionLibrary;
use serde_json::{Map, json};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Print the library for FUNCTION LOAD; as JSON, with the function of each operation
    Dump(Dump),
}

#[derive(clap::Args)]
pub(crate) struct Dump {
    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(command: &Command) -> std::io::Result<Exit> {
    let Command::Dump(Dump { format }) = command;
    let library = FunctionLibrary::new();
    match format {
        Format::Text => output::write(library.text())?,
        Format::Json => {
            let functions: Map<_, _> = library
                .functions()
                .map(|(operation, function)| (operation.to_owned(), function.into()))
                .collect();
            output::write_json(&json!({
                "library": library.name(),
                "functions": functions,
                "text": library.text(),
            }))?;
        }
    }
    Ok(Exit::Fine)
}
