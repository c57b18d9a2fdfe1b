//! The command line `cachetx`, as a process.
#![cfg(feature = "cli")]

mod cli_rules;
mod command_line;
mod demo;
mod drawings;
mod rules_diagnostics;
mod rules_tools;
mod schema;
