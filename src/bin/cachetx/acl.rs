//! `cachetx acl`: the least that a user of the server has to be allowed.

use crate::{Exit, Format, engine, failure::Failure, output};
use cachetx::{Acl, Rules};
use serde_json::json;
use std::path::PathBuf;

/// Print the least ACL that an engine needs
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How operations run
    #[arg(long, value_enum, default_value_t)]
    engine: engine::Name,
    /// A rules file: its keys are added
    #[arg(long)]
    rules: Option<PathBuf>,
    /// The store's lock key, where it has one of its own
    #[arg(long)]
    lock_key: Option<String>,
    /// For a database other than 0, or a lock database
    #[arg(long)]
    databases: bool,
    /// For the nodes of a Cluster
    #[arg(long)]
    cluster: bool,
    /// For saves that wait for replicas
    #[arg(long)]
    wait: bool,
    /// Leave out what only messages need, from `+publish` on: who waits for a lock then asks now and then
    #[arg(long)]
    without_messages: bool,
    /// How to write it: as words for ACL SETUSER, or as lists
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    match acl(arguments) {
        Ok(acl) => {
            match arguments.format {
                Format::Text => output::write(&format!("{acl}\n"))?,
                Format::Json => output::write_json(&json!({
                    "commands": acl.commands().collect::<Vec<_>>(),
                    "keys": acl.keys().collect::<Vec<_>>(),
                    "optional": {
                        "commands": acl.message_commands().collect::<Vec<_>>(),
                        "channels": acl.channels().collect::<Vec<_>>(),
                    },
                }))?,
            }
            Ok(Exit::Fine)
        }
        Err(failure) => failure.report(arguments.rules.as_deref(), arguments.format),
    }
}

fn acl(arguments: &Arguments) -> Result<Acl, Failure> {
    let mut acl = Acl::new(arguments.engine.into());
    if let Some(path) = &arguments.rules {
        acl = acl.rules(&Rules::from_path(path)?);
    }
    if let Some(template) = &arguments.lock_key {
        acl = acl.lock_key(template)?;
    }
    if arguments.databases {
        acl = acl.with_databases();
    }
    if arguments.cluster {
        acl = acl.for_cluster();
    }
    if arguments.wait {
        acl = acl.with_wait();
    }
    if arguments.without_messages {
        acl = acl.without_messages();
    }
    Ok(acl)
}
