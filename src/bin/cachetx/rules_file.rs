//! Shared by the commands on rules files: params on the command line, and how failures end.

use crate::{
    Exit,
    output::{self, Severity, render},
};
use cachetx::{Error, ParamValue, Params};
use std::path::Path;

/// The params of the command line.
#[derive(clap::Args)]
pub(crate) struct GivenParams {
    /// A placeholder's value; several for one name make a list
    #[arg(long = "param", value_name = "NAME=VALUE", value_parser = pair)]
    params: Vec<(String, String)>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

impl GivenParams {
    /// The params in the order in which their names first occur; a name that is given again gets a
    /// list.
    pub(crate) fn params(&self) -> Params {
        let mut params = Params::new();
        for (name, _) in &self.params {
            if params.get(name).is_some() {
                continue;
            }
            let mut values: Vec<String> = self
                .params
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
}

/// Reports why a command on `file` failed: a broken file is a finding; an unknown name, a missing
/// param or a missing file is wrong usage.
pub(crate) fn fail(file: &Path, error: &Error) -> Exit {
    if !error.is_rules() {
        output::complain(&error.to_string());
        return Exit::Usage;
    }
    let source = std::fs::read_to_string(file).ok();
    for problem in error.problems() {
        let to = std::io::stderr();
        let rendered = render(problem, Severity::Error, source.as_deref(), &to);
        output::complain_rendered(&rendered);
    }
    Exit::Problems
}
