//! `cachetx demo`: shows the main job step by step, on a private server, or in memory if there is
//! none.

mod host;
mod run_folder;
mod story;

use crate::{Exit, Format, output};
use cachetx::{BoxError, Document, ListedDocument, RawObject, Rules, Store};
use host::Host;
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};
use story::{Story, Transaction};

const RULES: &str = include_str!("../../../../rules/nodb.json");
const CONTROLLER: &str = "climate";
const TASK: &str = "build_climate";
/// The field that the demo changes, as a program of the domain would.
const FIELD: &str = "_input_years";
/// Short, so that the save after the server was killed does not keep anybody waiting.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Save a document in a transaction on a private server, then once more with the server killed; in memory where no server
/// is found
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Work on a copy of this run folder instead of a made-up one
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// How the story is written
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    if let Some(folder) = arguments.run.as_ref().filter(|folder| !folder.is_dir()) {
        let folder = folder.display();
        output::complain(&format!("{folder} is not there, or is no folder"));
        return Ok(Exit::Usage);
    }
    match play(arguments) {
        Ok(story) => {
            match arguments.format {
                Format::Text => output::write(&story.to_string())?,
                Format::Json => output::write_json(&story.to_json())?,
            }
            Ok(Exit::Fine)
        }
        Err(e) => {
            output::complain(&e.to_string());
            Ok(Exit::Problems)
        }
    }
}

fn play(arguments: &Arguments) -> Result<Story, BoxError> {
    let mut host = Host::start()?;
    let rules = Rules::from_json(RULES)?;
    let root = tempfile::tempdir()?;
    let run = match &arguments.run {
        Some(folder) => run_folder::copy(folder, root.path(), &rules)?,
        None => run_folder::make_up(root.path(), &rules)?,
    };

    let cache = host.cache(rules.clone()).open()?;
    let store = Store::builder(&cache).root(root.path()).open()?;
    let documents = store.documents(&run)?;
    warm(&store, &run, &rules, &documents)?;

    let climate: Document<RawObject> = store.document(&run, CONTROLLER)?;
    let mut keys = Vec::new();
    for controller in rules.controllers() {
        keys.push(
            store
                .document::<RawObject>(&run, controller)?
                .cache_key()
                .to_owned(),
        );
    }
    let before = host.present(&keys)?;
    let seen_before = years(&climate)?;

    let transaction = save(&store, &climate, || {})?;
    let after = host.present(&keys)?;
    let presence = std::iter::zip(&before, &after);
    let deleted = std::iter::zip(&keys, presence)
        .filter(|(_, (before, after))| **before && !**after)
        .map(|(key, _)| key.clone())
        .collect();
    let seen_after = years(&climate)?;

    let without_server = save(&store, &climate, || host.end())?;
    Ok(Story {
        server: host.name(),
        host: host.description(),
        ending: host.ending(),
        run,
        documents: documents.len(),
        task: TASK,
        controllers: rules
            .invalidated_by(TASK)?
            .into_iter()
            .map(str::to_owned)
            .collect(),
        field: FIELD,
        warm: count(&before),
        seen_before,
        transaction,
        deleted,
        left: count(&after),
        seen_after,
        seen_without_server: years(&climate)?,
        without_server,
    })
}

fn count(present: &[bool]) -> usize {
    present.iter().filter(|there| **there).count()
}

/// Saves every document as it is, so that each has its entry: those that others depend on first, since saving them deletes
/// the entries of the others.
fn warm(
    store: &Store,
    run: &str,
    rules: &Rules,
    documents: &[ListedDocument],
) -> Result<(), BoxError> {
    let mut order = Vec::new();
    for document in documents {
        let controller = &document.controller;
        order.push((
            std::cmp::Reverse(rules.dependents(controller)?.len()),
            controller,
        ));
    }
    order.sort_by_key(|(dependents, _)| *dependents);
    for (_, controller) in order {
        let document: Document<RawObject> = store.document(run, controller)?;
        document.locked(|_| Ok(()))?;
    }
    Ok(())
}

/// Locks and saves; `meanwhile` happens while the lock is held.
fn save(
    store: &Store,
    climate: &Document<RawObject>,
    meanwhile: impl FnOnce(),
) -> Result<Transaction, BoxError> {
    let round_trips = store.cache().stats().round_trips;
    let start = Instant::now();
    let mut held = climate.lock()?;
    change(&mut held)?;
    meanwhile();
    let outcome = held.dump_and_unlock_with_transaction([TASK])?;
    Ok(Transaction {
        took: start.elapsed(),
        round_trips: store.cache().stats().round_trips - round_trips,
        cache: outcome.cache,
    })
}

fn change(climate: &mut RawObject) -> Result<(), BoxError> {
    let years: i64 = climate.get(FIELD)?.unwrap_or(0);
    climate.set(FIELD, &(years + 1))?;
    Ok(())
}

fn years(climate: &Document<RawObject>) -> Result<i64, BoxError> {
    Ok(climate.read()?.get(FIELD)?.unwrap_or(0))
}
