//! The command line `cachetx`, as a process.
#![cfg(feature = "cli")]

mod cli_rules;
mod command_line;
mod demo;
mod doctors;
mod drawings;
mod operating;
mod passwords;
mod rows;
mod rules_diagnostics;
mod rules_tools;
mod schema;
mod table;
