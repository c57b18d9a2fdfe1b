//! `cachetx rules …`

use crate::{
    Exit, rules_check, rules_diff, rules_expand, rules_explain, rules_graph, rules_needs,
    rules_schema,
};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Report all problems of rules files; exit code 1 where there are problems
    Check(rules_check::Arguments),
    /// List the keys that tasks invalidate
    Expand(rules_expand::Arguments),
    /// Say why each key is deleted, or everything that deletes a controller's entry
    Explain(rules_explain::Arguments),
    /// Compare two rules files; exit code 1 where something is no longer deleted
    Diff(rules_diff::Arguments),
    /// List the params that a save of each controller needs
    Needs(rules_needs::Arguments),
    /// Draw tasks, the controllers they invalidate, and what depends on those
    Graph(rules_graph::Arguments),
    /// Print the JSON Schema of rules files
    Schema(rules_schema::Arguments),
}

pub(crate) fn run(command: Command) -> std::io::Result<Exit> {
    match command {
        Command::Check(arguments) => rules_check::run(&arguments),
        Command::Expand(arguments) => rules_expand::run(&arguments),
        Command::Explain(arguments) => rules_explain::run(&arguments),
        Command::Diff(arguments) => rules_diff::run(&arguments),
        Command::Needs(arguments) => rules_needs::run(&arguments),
        Command::Graph(arguments) => rules_graph::run(&arguments),
        Command::Schema(arguments) => rules_schema::run(&arguments),
    }
}
