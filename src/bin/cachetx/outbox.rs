//! `cachetx outbox list|replay DIR`: what has not reached the server, and bringing it there.

use crate::{Exit, Format, engine, output};
use cachetx::{Cache, Error, OutboxFile, ParamValue, Params, Replayed, Rules};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Show what has not reached the server; exit code 1 where there is something
    List(List),
    /// Bring to the server what dead processes left; exit code 1 where something stays
    Replay(Replay),
}

#[derive(clap::Args)]
pub(crate) struct List {
    /// The outbox's folder: for a store, `.cachetx-outbox` below its root
    dir: PathBuf,
    /// How to write the list
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(clap::Args)]
pub(crate) struct Replay {
    /// The outbox's folder: for a store, `.cachetx-outbox` below its root
    dir: PathBuf,
    #[command(flatten)]
    server: engine::Server,
    /// The number of the database in which the locks are, where it is not the one that the URL names
    #[arg(long, value_name = "NUMBER")]
    lock_database: Option<u32>,
    /// How operations run
    #[arg(long, value_enum, default_value_t)]
    engine: engine::Name,
    /// The rules file, for records of everything that some params can make
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// How to write what was done
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

const NO_RULES: &str = r#"{ "version": "1.0", "cache_keys": {}, "rules": {} }"#;

pub(crate) fn run(command: &Command) -> std::io::Result<Exit> {
    let done = match command {
        Command::List(arguments) => list(&arguments.dir).map(|files| {
            let empty = files
                .iter()
                .all(|file| file.records.is_empty() && file.damaged == 0);
            let text = match arguments.format {
                Format::Json => format!("{:#}\n", files_as_json(&files)),
                Format::Text => files_as_text(&files),
            };
            (text, empty)
        }),
        Command::Replay(arguments) => replay(arguments).map(|(records, done)| {
            let text = match arguments.format {
                Format::Json => format!("{:#}\n", replayed_as_json(records, &done)),
                Format::Text => replayed_as_text(records, &done),
            };
            (text, done.left == 0)
        }),
    };
    match done {
        Ok((text, fine)) => {
            output::write(&text)?;
            Ok(if fine { Exit::Fine } else { Exit::Problems })
        }
        Err(error) => {
            output::complain(&error.to_string());
            Ok(if error.is_unavailable() || error.is_server() {
                Exit::Problems
            } else {
                Exit::Usage
            })
        }
    }
}

fn list(dir: &Path) -> Result<Vec<OutboxFile>, Error> {
    OutboxFile::list(dir)
}

/// How many records reached the server, and what came of the last try.
fn replay(arguments: &Replay) -> Result<(u64, Replayed), Error> {
    // A folder that is not there is a slip of the pen: it is not made.
    list(&arguments.dir)?;
    let rules = match &arguments.rules {
        Some(file) => Rules::from_path(file)?,
        None => Rules::from_json(NO_RULES)?,
    };
    let mut cache = arguments
        .server
        .of(Cache::builder(rules))
        .engine(arguments.engine.into())
        .outbox(&arguments.dir)
        // The operator says which server it is for.
        .outbox_of_any_server();
    if let Some(number) = arguments.lock_database {
        cache = cache.lock_database(number);
    }
    let cache = cache.open()?;
    let done = cache.close()?;
    // The cache's own thread may have been faster.
    Ok((cache.stats().outbox_replayed, done))
}

fn seconds_since(at: SystemTime) -> u64 {
    at.elapsed().map_or(0, |age| age.as_secs())
}

fn state(file: &OutboxFile) -> &'static str {
    match (file.alive, file.path.extension()) {
        (_, Some(extension)) if extension == "poison" => "set aside",
        (true, _) => "alive",
        (false, _) => "dead",
    }
}

fn files_as_text(files: &[OutboxFile]) -> String {
    let mut text = String::new();
    for file in files {
        let path = file.path.display();
        let records = output::counted(file.records.len() as u64, "record", "records");
        text += &format!("{path}: {}, {records}", state(file));
        if file.damaged > 0 {
            let lines = output::counted(file.damaged as u64, "damaged line", "damaged lines");
            text += &format!(", {lines}");
        }
        if file.torn_bytes > 0 {
            let bytes = output::counted(file.torn_bytes as u64, "byte", "bytes");
            text += &format!(", {bytes} torn");
        }
        if let Some(server) = &file.server {
            text += &format!(", for {server}");
        }
        text.push('\n');
        for record in &file.records {
            let age = seconds_since(record.at);
            let keys = match record.keys.len() {
                0 => "everything of its params".to_owned(),
                keys => output::counted(keys as u64, "key", "keys"),
            };
            let params: Vec<String> = record
                .params
                .iter()
                .map(|(name, value)| format!("{name}={}", value.values().join(",")))
                .collect();
            text += &format!("  {age} s ago, {keys}, {}\n", params.join(" "));
        }
    }
    text
}

fn files_as_json(files: &[OutboxFile]) -> Value {
    let value = |value: &ParamValue| match value {
        ParamValue::One(value) => json!(value),
        list => json!(list.values()),
    };
    let params = |params: &Params| -> Value {
        params
            .iter()
            .map(|(name, given)| (name.to_owned(), value(given)))
            .collect()
    };
    let files = files.iter().map(|file| {
        let records = file.records.iter().map(|record| {
            json!({
                "age_seconds": seconds_since(record.at),
                "keys": record.keys,
                "lock": record.lock,
                "params": params(&record.params),
            })
        });
        json!({
            "path": file.path,
            "state": state(file),
            "damaged": file.damaged,
            "torn_bytes": file.torn_bytes,
            "server": file.server,
            "records": records.collect::<Vec<_>>(),
        })
    });
    json!({ "files": files.collect::<Vec<_>>() })
}

fn replayed_as_text(records: u64, done: &Replayed) -> String {
    let cause = done.cause.as_ref();
    let cause = cause.map_or(String::new(), |cause| format!(": {cause}"));
    let records = output::counted(records, "record", "records");
    format!("{records} replayed, {} left{cause}\n", done.left)
}

fn replayed_as_json(records: u64, done: &Replayed) -> Value {
    json!({
        "replayed": records,
        "left": done.left,
        "cause": done.cause.as_ref().map(ToString::to_string),
    })
}
