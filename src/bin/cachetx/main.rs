//! The command line of cachetx. Exit codes: 0 fine, 1 problems found, 2 wrong usage.

mod acl;
mod boot;
mod demo;
mod doctor;
mod drawing;
mod drawing_svg;
mod drawing_text;
mod engine;
mod failure;
mod functions;
mod invalidate;
mod locks;
mod outbox;
mod outbox_doctor;
mod outbox_folder;
mod output;
mod params_json;
mod rules;
mod rules_check;
mod rules_diff;
mod rules_expand;
mod rules_explain;
mod rules_file;
mod rules_graph;
mod rules_needs;
mod rules_schema;
mod shell;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use std::process::ExitCode;

const EXIT_CODES: &str = "Exit codes: 0 fine, 1 problems found, 2 wrong usage.";

/// Save a JSON document and invalidate everything derived from it.
#[derive(Parser)]
#[command(name = "cachetx", version, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Acl(acl::Arguments),
    Boot(boot::Arguments),
    Completions(shell::Completions),
    Demo(demo::Arguments),
    Doctor(doctor::Arguments),
    /// Print the server operations, for programs in other languages
    #[command(subcommand)]
    Functions(functions::Command),
    Invalidate(invalidate::Arguments),
    /// Show and free the locks of a run's documents
    #[command(subcommand)]
    Locks(locks::Command),
    Man(shell::Man),
    /// Show, replay and look after what has not reached the server
    #[command(subcommand)]
    Outbox(outbox::Command),
    /// Check, expand, explain, compare and draw rules files
    #[command(subcommand)]
    Rules(rules::Command),
}

/// How results are written to standard output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Exit {
    Fine = 0,
    Problems = 1,
    Usage = 2,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let ran = match cli.command {
        Command::Acl(arguments) => acl::run(&arguments),
        Command::Boot(arguments) => boot::run(&arguments),
        Command::Completions(arguments) => shell::completions(&arguments, Cli::command()),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Functions(command) => functions::run(&command),
        Command::Invalidate(arguments) => invalidate::run(&arguments),
        Command::Locks(command) => locks::run(&command),
        Command::Man(arguments) => shell::man(&arguments, Cli::command()),
        Command::Outbox(command) => outbox::run(&command),
        Command::Rules(command) => rules::run(command),
    };
    match ran {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::complain(&format!("cannot write: {error}"));
            Exit::Usage.into()
        }
    }
}

/// Help and the version also come as errors. A message that quotes a URL is shown without its
/// password.
fn refused(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    let shown = output::redacted(&text);
    // Output that cannot be written, to a closed pipe for example, is not the command's error.
    if shown == text {
        let _ = error.print();
    } else {
        output::complain_rendered(&shown);
    }
    match error.exit_code() {
        0 => Exit::Fine.into(),
        _ => Exit::Usage.into(),
    }
}
