//! `cachetx doctor --url …`: whether a server, and the file system of a store, work as they should.

use crate::{Exit, Format, engine, failure::Failure, locks, output};
use cachetx::{Cache, EngineReport, Error, FileSystemReport, ServerFacts, Trial};
use serde_json::{Value, json};
use std::{path::PathBuf, time::Duration};

/// The number of round trips measured: enough for a median, and done in a second if each takes 50
/// ms.
const PINGS: usize = 20;

/// Look at a server, and at a store's file system; exit code 1 where something is not as it should be
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    server: engine::Server,
    /// A store's root: its file system is tried too, in a folder that is made there and deleted again
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
    /// A rules file, for what depends on it: other versions in use, gaps in the ACL
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// How to write the findings
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

struct Findings {
    server: Result<ServerFindings, Error>,
    root: Option<Result<FileSystemReport, Error>>,
}

struct ServerFindings {
    report: EngineReport,
    /// The median of all round trips.
    median: Duration,
    worst: Duration,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    let found = match examine(arguments) {
        Ok(found) => found,
        Err(failure) => return failure.report(arguments.rules.as_deref(), arguments.format),
    };
    match arguments.format {
        Format::Json => output::write_json(&found.as_json())?,
        Format::Text => output::write(&found.as_text())?,
    }
    Ok(match found.is_fine() {
        true => Exit::Fine,
        false => Exit::Problems,
    })
}

fn examine(arguments: &Arguments) -> Result<Findings, Failure> {
    if let Some(root) = &arguments.root {
        locks::check_root(root)?;
    }
    let rules = engine::rules_or_none(arguments.rules.as_deref())?;
    let cache = arguments.server.of(Cache::builder(rules))?;
    let server = match cache.open().and_then(|cache| of_server(&cache)) {
        // An unreachable or refusing server is one finding, and the file system is another.
        Err(error) if !error.is_unavailable() && !error.is_server() => return Err(error.into()),
        server => server,
    };
    let root = arguments.root.as_ref().map(FileSystemReport::of);
    Ok(Findings { server, root })
}

fn of_server(cache: &Cache) -> Result<ServerFindings, Error> {
    let mut trips = (0..PINGS)
        .map(|_| cache.ping())
        .collect::<Result<Vec<Duration>, Error>>()?;
    trips.sort_unstable();
    Ok(ServerFindings {
        // An open cache has booted.
        report: cache.report().unwrap_or_default(),
        median: trips[PINGS / 2],
        worst: trips[PINGS - 1],
    })
}

/// The trials of a file system, with their names.
fn trials(report: &FileSystemReport) -> [(&'static str, &Trial); 3] {
    [
        ("OS locks", &report.os_locks),
        ("rename", &report.rename),
        ("folder sync", &report.folder_sync),
    ]
}

impl Findings {
    fn is_fine(&self) -> bool {
        let server = self.server.as_ref();
        let root = self.root.as_ref().is_none_or(|root| {
            root.as_ref().is_ok_and(|report| {
                let works = |(_, trial): &(&str, &Trial)| **trial == Trial::Works;
                trials(report).iter().all(works) && report.time_step.is_some()
            })
        });
        root && server.is_ok_and(|found| found.report.warnings.is_empty())
    }

    fn as_text(&self) -> String {
        let server = match &self.server {
            Ok(found) => found.as_text(),
            Err(error) => format!("server: {error}\n"),
        };
        let root = match &self.root {
            None => String::new(),
            Some(Ok(report)) => root_as_text(report),
            Some(Err(error)) => format!("file system: {error}\n"),
        };
        server + &root
    }

    fn as_json(&self) -> Value {
        let server = match &self.server {
            Ok(found) => json!({
                "report": found.report,
                "median_us": microseconds(found.median),
                "worst_us": microseconds(found.worst),
                "round_trips": PINGS,
            }),
            Err(error) => json!({ "error": error.to_string() }),
        };
        let root = self.root.as_ref().map(|root| match root {
            Ok(report) => root_as_json(report),
            Err(error) => json!({ "error": error.to_string() }),
        });
        json!({ "fine": self.is_fine(), "server": server, "file_system": root })
    }
}

impl ServerFindings {
    fn as_text(&self) -> String {
        let report = &self.report;
        let (flavour, version, server) = (&report.flavour, &report.version, &report.server);
        let mut text = format!(
            "server: {flavour} {version} at {server}, {}, engine {}\n",
            report.topology, report.engine
        );
        let milliseconds = |time: Duration| microseconds(time) as f64 / 1_000.0;
        let (median, worst) = (milliseconds(self.median), milliseconds(self.worst));
        let whole = match report.servers.len() {
            0 | 1 => "",
            _ => " to all primaries, one after the other",
        };
        text += &format!(
            "latency: median {median:.2} ms, worst {worst:.2} ms of {PINGS} round trips{whole}\n"
        );
        text.extend(report.servers.iter().map(facts_as_text));
        text.extend(report.notes.iter().map(|note| format!("note: {note}\n")));
        let warnings = report.warnings.iter();
        text.extend(warnings.map(|warning| format!("warning: {warning}\n")));
        text
    }
}

fn facts_as_text(facts: &ServerFacts) -> String {
    fn shown<T: ToString>(fact: Option<&T>) -> String {
        fact.map_or("may not be asked".to_owned(), ToString::to_string)
    }
    let memory = match facts.maxmemory_bytes {
        Some(0) => "no limit".to_owned(),
        bytes => shown(bytes.as_ref()),
    };
    let save = match facts.save.as_deref() {
        Some("") => "never".to_owned(),
        _ => shown(facts.save.as_ref()),
    };
    let (policy, appendonly) = (&facts.maxmemory_policy, &facts.appendonly);
    format!(
        "{}: maxmemory {memory}, maxmemory-policy {}; appendonly {}, save {save}; role {}, replicas {}\n",
        facts.server,
        shown(policy.as_ref()),
        shown(appendonly.map(|on| if on { "yes" } else { "no" }).as_ref()),
        shown(facts.role.as_ref()),
        shown(facts.replicas.as_ref()),
    )
}

fn root_as_text(report: &FileSystemReport) -> String {
    let place = match report.network {
        true => "counts as a network's",
        false => "local",
    };
    let mut text = format!("file system: {place}\n");
    for (name, trial) in trials(report) {
        text += &match trial {
            Trial::Fails { why } => format!("  {name}: FAILS: {why}\n"),
            _ => format!("  {name}: works\n"),
        };
    }
    text + &match report.time_step {
        Some(step) => format!("  modification times: in steps of {step:?}\n"),
        None => "  modification times: NOT KEPT as they are set\n".to_owned(),
    }
}

fn root_as_json(report: &FileSystemReport) -> Value {
    let trials = trials(report).into_iter().map(|(name, trial)| {
        let why = match trial {
            Trial::Fails { why } => Some(why),
            _ => None,
        };
        (
            name.replace(' ', "_").to_lowercase(),
            json!({ "works": why.is_none(), "why": why }),
        )
    });
    let step = report.time_step.map(|step| step.as_nanos() as u64);
    json!({
        "network": report.network,
        "trials": trials.collect::<serde_json::Map<_, _>>(),
        "time_step_ns": step,
    })
}

fn microseconds(time: Duration) -> u64 {
    time.as_micros() as u64
}
