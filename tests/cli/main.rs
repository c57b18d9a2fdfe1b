//! The command line `cachetx`, as a process.
#![cfg(feature = "cli")]

mod cli_rules;
mod command_line;
mod demo;
mod rules_diagnostics;
