//! `cachetx rules …`

use crate::{Exit, rules_check, rules_expand};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Report all problems of rules files
    Check(rules_check::Arguments),
    /// List the keys that tasks invalidate
    Expand(rules_expand::Arguments),
}

pub(crate) fn run(command: Command) -> std::io::Result<Exit> {
    match command {
        Command::Check(arguments) => rules_check::run(&arguments),
        Command::Expand(arguments) => rules_expand::run(&arguments),
    }
}
