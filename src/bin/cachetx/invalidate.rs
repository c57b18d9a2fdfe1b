//! `cachetx invalidate --rules F --task T … --param k=v …`: deletes what tasks make out of date.

use crate::{
    Exit, Format, engine, failure::Failure, outbox_folder, output, rules_file::GivenParams,
};
use cachetx::{Cache, CacheOutcome, CrossSlot, Rules};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Delete from a server the entries that tasks make out of date; exit code 1 where that is not known to be done
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: engine::Server,
    /// The rules file
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// A task that is done; may be repeated
    #[arg(long = "task", value_name = "TASK", required = true)]
    tasks: Vec<String>,
    #[command(flatten)]
    params: GivenParams,
    /// The outbox in which to record what the server does not take: for a store, `.cachetx-outbox` below its root. Without it nothing is recorded
    #[arg(long, value_name = "FOLDER")]
    outbox: Option<PathBuf>,
    /// In a Cluster, where the keys are in several hash slots: delete them in a step for each
    #[arg(long)]
    split: bool,
    /// How to write what was done
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// What was to be deleted, and the result.
struct Done {
    keys: Vec<String>,
    outcome: CacheOutcome,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    let done = match invalidate(arguments) {
        Ok(done) => done,
        Err(failure) => {
            let exit = failure.report(Some(&arguments.rules), arguments.format)?;
            if exit == Exit::Problems && arguments.outbox.is_none() {
                output::warn("nothing was deleted, and nothing is recorded: --outbox does that");
            }
            return Ok(exit);
        }
    };
    match arguments.format {
        Format::Json => output::write_json(&as_json(&done))?,
        Format::Text => output::write(&as_text(&done))?,
    }
    Ok(match done.outcome.is_settled() {
        true => Exit::Fine,
        false => Exit::Problems,
    })
}

fn invalidate(arguments: &Arguments) -> Result<Done, Failure> {
    let rules = Rules::from_path(&arguments.rules)?;
    let params = arguments.params.params();
    let keys = rules.expand(&arguments.tasks, &params)?;
    let keys = keys.iter().map(str::to_owned).collect();
    let mut cache = arguments.server.of(Cache::builder(rules))?;
    if arguments.split {
        cache = cache.cross_slot(CrossSlot::Split);
    }
    let cache = match &arguments.outbox {
        // An unreachable server is detected before anything is tried, so that nothing is half done.
        None => cache.open()?,
        Some(folder) => {
            outbox_folder::check(folder)?;
            cache.outbox(folder).open_lazy()?
        }
    };
    let outcome = cache.invalidate(&arguments.tasks, &params)?;
    Ok(Done { keys, outcome })
}

fn as_text(done: &Done) -> String {
    let total = done.keys.len();
    let verdict = match &done.outcome {
        CacheOutcome::Deferred { cause } => {
            format!(
                "recorded in the outbox, and done once a process that uses it, and names the server in the same way, reaches it: {cause}"
            )
        }
        CacheOutcome::Unrecorded { cause, outbox } => {
            format!("NOT DONE AND NOT RECORDED: the server: {cause}; the outbox: {outbox}")
        }
        done => match removed(done) {
            Some(removed) => format!("{removed} of {total} entries were there and are deleted"),
            None => "deleted".to_owned(),
        },
    };
    let keys: String = done
        .keys
        .iter()
        .map(|key| format!("  del {key}\n"))
        .collect();
    format!("{verdict}\n{keys}")
}

fn as_json(done: &Done) -> Value {
    let (outcome, cause) = match &done.outcome {
        CacheOutcome::Deferred { cause } => ("deferred", Some(cause)),
        CacheOutcome::Unrecorded { cause, .. } => ("unrecorded", Some(cause)),
        _ => ("invalidated", None),
    };
    json!({
        "outcome": outcome,
        "removed": removed(&done.outcome),
        "keys": done.keys,
        "cause": cause.map(ToString::to_string),
    })
}

fn removed(outcome: &CacheOutcome) -> Option<u64> {
    match outcome {
        CacheOutcome::Committed { removed } | CacheOutcome::Invalidated { removed } => {
            Some(*removed)
        }
        _ => None,
    }
}
