//! Measures everything that docs/performance.md shows, and writes it: `make bench`.
//!
//! Arguments are names of tables. Then only those run, and nothing is written:
//! `cargo bench --features testing,tokio --bench performance -- saves cpu`. Without `--bench`,
//! which cargo passes only to benches, every table runs a few rounds, to check that it works.

#[path = "../bed/mod.rs"]
mod bed;
mod cores;
mod machine;
mod plot;
mod report;
mod tables;
mod turns;

use bed::counts::Item;
use cachetx::{
    BoxError,
    testing::{Server, ServerBinary},
};
use cores::Cores;
use report::Report;
use std::{
    env,
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Instant,
};
use tables::{client, cpu, disk, memory, reads, rules, saves, tasks, throughput, wakes};

/// Set in a child that valgrind runs.
const COUNTED: &str = "CACHETX_COUNTED";
/// The oldest version that is measured.
const OLDEST: (u16, u16, u16) = (7, 0, 0);

/// What all tables need.
struct Bench {
    report: Report,
    cores: Cores,
    /// Whether figures are wanted, or only a check that everything works.
    long: bool,
    /// Versions of what ran in processes of its own.
    versions: Vec<String>,
}

impl Bench {
    fn rounds(&self, rounds: usize) -> usize {
        if self.long { rounds } else { 3 }
    }

    fn is_long(&self) -> bool {
        self.long
    }

    /// Starts a server on all cores: its own threads stay where they were started.
    fn start(&self, binary: &ServerBinary) -> Result<Server, BoxError> {
        self.cores.free()?;
        Ok(Server::start(binary)?)
    }
}

/// The servers that are measured.
fn servers() -> impl DoubleEndedIterator<Item = &'static ServerBinary> {
    let all = ServerBinary::all().iter();
    all.filter(|binary| binary.version() >= OLDEST)
}

/// The server of plots and of tables with one server: the newest.
fn server() -> Result<&'static ServerBinary, BoxError> {
    servers()
        .next_back()
        .ok_or_else(|| "no server: run `make servers`".into())
}

/// A folder on disk: /tmp may be in memory.
fn disk_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

type Section = fn(&mut Bench) -> Result<(), BoxError>;
const TABLES: [(&str, Section); 14] = [
    ("saves", saves::sizes),
    ("network", saves::network),
    ("python", saves::python),
    ("cpu", cpu::table),
    ("client", client::table),
    ("memory", memory::table),
    ("disk", disk::table),
    ("guarantees", disk::guarantees),
    ("crowd", disk::crowd),
    ("threads", throughput::table),
    ("tasks", tasks::table),
    ("wake-ups", wakes::table),
    ("reads", reads::table),
    ("rules", rules::table),
];

fn main() -> Result<(), BoxError> {
    if env::var_os(COUNTED).is_some() {
        let server = Server::start(server()?)?;
        return Item::all()
            .into_iter()
            .try_for_each(|item| item.count(&server));
    }
    let arguments: Vec<String> = env::args().skip(1).collect();
    let long = arguments.iter().any(|argument| argument == "--bench");
    let chosen: Vec<&str> = arguments
        .iter()
        .map(String::as_str)
        .filter(|a| !a.starts_with('-'))
        .collect();
    if let Some(unknown) = chosen
        .iter()
        .find(|name| !TABLES.iter().any(|table| table.0 == **name))
    {
        let names = TABLES.map(|table| table.0).join(", ");
        return Err(format!("no table {unknown:?}; there are {names}").into());
    }
    // The proxy's threads sleep for delays, and inherit this setting.
    rustix::thread::set_current_timer_slack(NonZeroU64::new(1))?;
    let mut bench = Bench {
        report: Report::default(),
        cores: Cores::allowed()?,
        long,
        versions: Vec::new(),
    };
    let (start, load) = (Instant::now(), machine::load());
    for (name, table) in TABLES {
        if chosen.is_empty() || chosen.contains(&name) {
            let start = Instant::now();
            table(&mut bench)?;
            bench.cores.free()?;
            println!("{name} took {} s", start.elapsed().as_secs());
        }
    }
    println!("\nHeadlines\n\n{}", bench.report.headlines().text());
    if long && chosen.is_empty() {
        let introduction = machine::introduction(&bench, start.elapsed(), &load);
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        bench.report.write(&docs, &introduction)?;
    }
    Ok(())
}
