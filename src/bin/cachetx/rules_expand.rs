//! `cachetx rules expand FILE --task T … --param k=v …`: the keys, as a commit would delete them.

use crate::{
    Exit, Format,
    output::{self, Severity, render},
};
use cachetx::{Error, KeyList, ParamValue, Params, Rules};
use serde_json::json;
use std::path::PathBuf;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The rules file
    file: PathBuf,
    /// A task that is done; may be repeated
    #[arg(long = "task", value_name = "TASK")]
    tasks: Vec<String>,
    /// A placeholder's value; several for one name make a list
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
    /// The controller that is committed: what depends on it is listed too, its own key is not
    #[arg(long, value_name = "CONTROLLER")]
    own: Option<String>,
    /// How to write the keys
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
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
        Err(error) if error.is_rules() => {
            let source = std::fs::read_to_string(&arguments.file).ok();
            for problem in error.problems() {
                let to = std::io::stderr();
                let rendered = render(problem, Severity::Error, source.as_deref(), &to);
                output::complain_rendered(&rendered);
            }
            Ok(Exit::Problems)
        }
        // An unknown task, a missing param, a file that is not there: the arguments are wrong, not the rules.
        Err(error) => {
            output::complain(&error.to_string());
            Ok(Exit::Usage)
        }
    }
}

fn expand(arguments: &Arguments) -> Result<(Option<String>, KeyList), Error> {
    let rules = Rules::from_path(&arguments.file)?;
    let params = params(&arguments.params);
    match &arguments.own {
        None => Ok((None, rules.expand(&arguments.tasks, &params)?)),
        Some(own) => {
            let keys = rules.expand_for(own, &arguments.tasks, &params)?;
            Ok((Some(rules.key(own, &params)?), keys))
        }
    }
}

/// The params in the order in which their names come up; a name that is given again gets a list.
fn params(pairs: &[(String, String)]) -> Params {
    let mut params = Params::new();
    for (name, _) in pairs {
        if params.get(name).is_some() {
            continue;
        }
        let mut values: Vec<String> = pairs
            .iter()
            .filter(|(other, _)| other == name)
            .map(|(_, value)| value.clone())
            .collect();
        let value: ParamValue = match values.len() {
            1 => values.remove(0).into(),
            _ => values.into(),
        };
        params.set(name, value);
    }
    params
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
