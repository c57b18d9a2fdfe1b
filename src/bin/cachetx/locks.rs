//! `cachetx locks list|clear RUN`: lists who holds the locks of a run's documents, and clears them.

use crate::{Exit, Format, engine, failure::Failure, output, params_json};
use cachetx::{Cache, HeldLock, Rules, Store};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    time::Duration,
};

#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Show who holds the locks of a run's documents
    List(Arguments),
    /// Free the locks of a run's documents, also of holders that are at work: of two, the one that saves second is refused
    Clear(Arguments),
}

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The run
    run: String,
    #[command(flatten)]
    server: engine::Server,
    /// The store's root; it has to be there
    #[arg(long, value_name = "FOLDER")]
    root: PathBuf,
    /// The rules file
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// The placeholder that a run fills
    #[arg(long, value_name = "NAME", default_value = "run_id")]
    run_param: String,
    /// Where documents live below the root, such as {run_id}/{controller}.nodb, or those of one controller: product={run_id}/{sku}.json; may be repeated
    #[arg(long, value_name = "[CONTROLLER=]TEMPLATE", value_parser = layout)]
    layout: Vec<Layout>,
    /// The key of a document's lock, where the store has another one than the default
    #[arg(long, value_name = "TEMPLATE")]
    lock_key: Option<String>,
    /// How to write the locks
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone)]
struct Layout {
    /// `None` for all controllers without their own layout.
    controller: Option<String>,
    template: String,
}

/// A template begins with the run param's folder, so text before its first `/` and `{` is a
/// controller.
fn layout(text: &str) -> Result<Layout, String> {
    let (controller, template) = match text.split_once('=') {
        Some((name, template)) if !name.contains(['/', '{']) => (Some(name.to_owned()), template),
        _ => (None, text),
    };
    match controller.as_deref() == Some("") || template.is_empty() {
        true => Err("write it as TEMPLATE or CONTROLLER=TEMPLATE".to_owned()),
        false => Ok(Layout {
            controller,
            template: template.to_owned(),
        }),
    }
}

/// The locks that were held, and how many were cleared if that was requested.
struct Found {
    held: Vec<HeldLock>,
    cleared: Option<u64>,
    /// Files in the run's folder that no layout matches.
    unmatched: u64,
}

pub(crate) fn run(command: &Command) -> std::io::Result<Exit> {
    let (arguments, clears) = match command {
        Command::List(arguments) => (arguments, false),
        Command::Clear(arguments) => (arguments, true),
    };
    let found = match find(arguments, clears) {
        Ok(found) => found,
        Err(failure) => return failure.report(Some(&arguments.rules), arguments.format),
    };
    match arguments.format {
        Format::Json => output::write_json(&as_json(&arguments.run, &found))?,
        Format::Text => output::write(&as_text(&found))?,
    }
    Ok(match found.unmatched {
        0 => Exit::Fine,
        _ => Exit::Problems,
    })
}

fn find(arguments: &Arguments, clears: bool) -> Result<Found, Failure> {
    let store = open(arguments)?;
    let held = store.locks(&arguments.run)?;
    let folder = arguments.root.join(&arguments.run);
    if !folder.is_dir() {
        // Documents may be locked before they exist, so this is not certainly a mistake.
        output::warn(&format!("{} is not there", folder.display()));
    }
    let unmatched = unmatched(&store, &arguments.run, &folder)?;
    if unmatched > 0 {
        let files = output::counted(unmatched, "file", "files");
        output::warn(&format!(
            "{}: {files} of no layout, so their locks are not shown: give --layout as the program that writes them has it",
            folder.display()
        ));
    }
    let cleared = match clears {
        true => Some(store.clear_locks(&arguments.run)?),
        false => None,
    };
    Ok(Found {
        held,
        cleared,
        unmatched,
    })
}

/// How many visible files of the run's folder are no document by the layouts.
fn unmatched(store: &Store, run: &str, folder: &Path) -> Result<u64, Failure> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(0);
    };
    let names = entries.flatten().map(|entry| entry.file_name());
    let visible = names.filter(|name| {
        let name = name.to_string_lossy();
        !name.starts_with('.') && name != "READONLY"
    });
    let documents = store.documents(run)?.len();
    Ok(visible.count().saturating_sub(documents) as u64)
}

fn open(arguments: &Arguments) -> Result<Store, Failure> {
    check_root(&arguments.root)?;
    let rules = Rules::from_path(&arguments.rules)?;
    let cache = arguments.server.of(Cache::builder(rules))?.open()?;
    let mut store = Store::builder(&cache)
        .root(&arguments.root)
        .run_param(arguments.run_param.as_str());
    for layout in &arguments.layout {
        store = match &layout.controller {
            Some(controller) => store.layout_of(controller, layout.template.as_str()),
            None => store.layout(layout.template.as_str()),
        };
    }
    if let Some(template) = &arguments.lock_key {
        store = store.lock_key(template.as_str());
    }
    Ok(store.open()?)
}

/// A store creates a missing root; here it is a typing mistake.
pub(crate) fn check_root(root: &Path) -> Result<(), Failure> {
    match root.is_dir() {
        true => Ok(()),
        false => Err(Failure::Usage(format!(
            "{} is not there, or is no folder: --root names the folder that holds the run folders",
            root.display()
        ))),
    }
}

fn as_text(found: &Found) -> String {
    let mut text = match found.cleared {
        Some(cleared) => format!("{} cleared\n", output::counted(cleared, "lock", "locks")),
        None => format!(
            "{} held\n",
            output::counted(found.held.len() as u64, "lock", "locks")
        ),
    };
    text.extend(found.held.iter().map(|lock| format!("  {lock}\n")));
    if let Some(cleared) = found.cleared
        && cleared != found.held.len() as u64
    {
        text += "  others were taken or released between the look and the clearing\n";
    }
    text
}

fn as_json(run: &str, found: &Found) -> Value {
    let milliseconds = |time: Duration| u64::try_from(time.as_millis()).ok();
    let lock = |lock: &HeldLock| {
        json!({
            "controller": lock.document.controller,
            "params": params_json::params(&lock.document.params),
            "owner": lock.holder.owner,
            // A foreign lock without a TTL does not expire.
            "remaining_ms": Some(lock.holder.remaining)
                .filter(|left| *left != Duration::MAX)
                .and_then(milliseconds),
            "age_ms": lock.age.and_then(milliseconds),
        })
    };
    let held: Vec<Value> = found.held.iter().map(lock).collect();
    match found.cleared {
        Some(cleared) => {
            json!({ "run": run, "cleared": cleared, "held_before": held, "files_of_no_layout": found.unmatched })
        }
        None => json!({ "run": run, "held": held, "files_of_no_layout": found.unmatched }),
    }
}
