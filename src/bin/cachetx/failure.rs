//! Failures of commands that ask a server or handle files.

use crate::{Exit, Format, output, rules_file};
use cachetx::Error;
use serde_json::json;
use std::path::Path;

pub(crate) enum Failure {
    /// The command line asks for something impossible.
    Usage(String),
    Library(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Library(error)
    }
}

impl Failure {
    /// Reports it. A broken rules file, and a server that is unreachable or refuses, are findings;
    /// everything else is wrong usage. `rules` is the rules file, which is quoted if it is broken.
    pub(crate) fn report(&self, rules: Option<&Path>, format: Format) -> std::io::Result<Exit> {
        let (text, exit) = match (self, rules) {
            (Self::Library(error), Some(file)) if error.is_rules() => {
                (error.to_string(), rules_file::fail(file, error))
            }
            (Self::Library(error), _) => {
                output::complain(&error.to_string());
                (error.to_string(), exit(error))
            }
            (Self::Usage(why), _) => {
                output::complain(why);
                (why.clone(), Exit::Usage)
            }
        };
        if format == Format::Json {
            output::write_json(&json!({ "error": output::redacted(&text) }))?;
        }
        Ok(exit)
    }
}

fn exit(error: &Error) -> Exit {
    match error.is_unavailable() || error.is_server() || error.is_contended() {
        true => Exit::Problems,
        false => Exit::Usage,
    }
}
