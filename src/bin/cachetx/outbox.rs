//! `cachetx outbox list|replay|doctor DIR`: what has not reached the server, and replaying it.

use crate::{
    Exit, Format, engine, failure::Failure, outbox_doctor, outbox_folder, output, params_json,
};
use cachetx::{Cache, OutboxFile, Replayed};
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
    Replay(Box<Replay>),
    /// Say what is in an outbox's folder, and what to do about it; exit code 1 where there is something to do
    Doctor(outbox_doctor::Arguments),
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
    /// The rules file, for records of everything that some params can make
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Replay records for other servers too: for a server that was moved or renamed
    #[arg(long)]
    any_server: bool,
    /// How to write what was done
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(command: &Command) -> std::io::Result<Exit> {
    match command {
        Command::List(arguments) => run_list(arguments),
        Command::Replay(arguments) => run_replay(arguments),
        Command::Doctor(arguments) => outbox_doctor::run(arguments),
    }
}

fn run_list(arguments: &List) -> std::io::Result<Exit> {
    let files = match list(&arguments.dir) {
        Ok(files) => files,
        Err(failure) => return failure.report(None, arguments.format),
    };
    match arguments.format {
        Format::Json => output::write_json(&files_as_json(&files))?,
        Format::Text => output::write(&files_as_text(&files))?,
    }
    let mut files = files.iter();
    Ok(
        match files.all(|file| file.records.is_empty() && file.damaged == 0) {
            true => Exit::Fine,
            false => Exit::Problems,
        },
    )
}

fn run_replay(arguments: &Replay) -> std::io::Result<Exit> {
    let (records, done) = match replay(arguments) {
        Ok(done) => done,
        Err(failure) => return failure.report(arguments.rules.as_deref(), arguments.format),
    };
    match arguments.format {
        Format::Json => output::write_json(&replayed_as_json(records, &done))?,
        Format::Text => output::write(&replayed_as_text(records, &done))?,
    }
    Ok(match done.left {
        0 => Exit::Fine,
        _ => Exit::Problems,
    })
}

/// A store's outbox folder that does not exist yet is empty.
fn list(dir: &Path) -> Result<Vec<OutboxFile>, Failure> {
    outbox_folder::check(dir)?;
    match outbox_folder::is_unmade(dir) {
        true => Ok(Vec::new()),
        false => Ok(OutboxFile::list(dir)?),
    }
}

/// How many records reached the server, and the result of the last try.
fn replay(arguments: &Replay) -> Result<(u64, Replayed), Failure> {
    outbox_folder::check(&arguments.dir)?;
    let rules = engine::rules_or_none(arguments.rules.as_deref())?;
    let cache = arguments.server.of(Cache::builder(rules))?;
    let mut cache = cache.outbox(&arguments.dir);
    if arguments.any_server {
        cache = cache.outbox_of_any_server();
    }
    let cache = cache.open()?;
    let mut done = cache.close()?;
    // What dead processes recorded for other servers was left.
    let files = OutboxFile::list(&arguments.dir)?;
    let foreign: Vec<&OutboxFile> = files.iter().filter(|file| is_left(file)).collect();
    if let Some(file) = foreign.first().filter(|_| done.left == 0) {
        output::complain(&format!(
            "{} is for another server, {}: name that one with --url, or pass --any-server if it was moved or renamed",
            file.path.display(),
            file.server.as_deref().unwrap_or_default()
        ));
        done.left = foreign.iter().map(|file| file.records.len() as u64).sum();
    }
    // The cache's own thread may have been faster.
    Ok((cache.stats().outbox_replayed, done))
}

/// Whether a replay has left the file: nobody is at work on it, and it has records.
fn is_left(file: &OutboxFile) -> bool {
    !file.alive && !file.records.is_empty() && file.server.is_some()
}

fn seconds_since(at: SystemTime) -> u64 {
    at.elapsed().map_or(0, |age| age.as_secs())
}

fn files_as_text(files: &[OutboxFile]) -> String {
    let mut text = String::new();
    for file in files {
        let path = file.path.display();
        let records = output::counted(file.records.len() as u64, "record", "records");
        text += &format!("{path}: {}, {records}", outbox_folder::state(file));
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
    let files = files.iter().map(|file| {
        let records = file.records.iter().map(|record| {
            json!({
                "age_seconds": seconds_since(record.at),
                "keys": record.keys,
                "lock": record.lock,
                "params": params_json::params(&record.params),
            })
        });
        json!({
            "path": file.path,
            "state": outbox_folder::state(file),
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
