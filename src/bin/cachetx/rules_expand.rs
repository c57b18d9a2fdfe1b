//! `cachetx rules expand FILE --task T … --param k=v …`: the keys, as a commit would delete them.

use crate::{
    Exit, Format, output,
    rules_file::{self, GivenParams},
};
use cachetx::{Error, KeyList, Rules};
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The rules file
    file: PathBuf,
    /// A task that is done; may be repeated
    #[arg(long = "task", value_name = "TASK")]
    tasks: Vec<String>,
    #[command(flatten)]
    params: GivenParams,
    /// The controller that is committed: what depends on it is listed too, its own key is not
    #[arg(long, value_name = "CONTROLLER")]
    own: Option<String>,
    /// How to write the keys
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    match expand(arguments) {
        Ok((own, keys)) => {
            match arguments.format {
                Format::Json => output::write_json(&as_json(own.as_deref(), &keys))?,
                Format::Text => output::write(&as_text(own.as_deref(), &keys))?,
            }
            Ok(Exit::Fine)
        }
        Err(error) => Ok(rules_file::fail(&arguments.file, &error)),
    }
}

fn expand(arguments: &Arguments) -> Result<(Option<String>, KeyList), Error> {
    let rules = Rules::from_path(&arguments.file)?;
    let params = arguments.params.params();
    match &arguments.own {
        None => Ok((None, rules.expand(&arguments.tasks, &params)?)),
        Some(own) => {
            let keys = rules.expand_for(own, &arguments.tasks, &params)?;
            Ok((Some(rules.key(own, &params)?), keys))
        }
    }
}

fn as_json(own: Option<&str>, keys: &KeyList) -> serde_json::Value {
    let list: Vec<_> = keys
        .entries()
        .map(
            |entry| json!({ "key": entry.key, "controller": entry.controller, "slot": entry.slot }),
        )
        .collect();
    json!({ "own": own, "keys": list })
}

fn as_text(own: Option<&str>, keys: &KeyList) -> String {
    let own = own.map(|key| format!("set {key}\n")).unwrap_or_default();
    let deleted: String = keys.iter().map(|key| format!("del {key}\n")).collect();
    own + &deleted
}
