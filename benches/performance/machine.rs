//! Where the figures were taken, and how.

use crate::{Bench, bed::way::Way, disk_folder, report::wrapped, servers};
use std::{fs, process::Command, time::Duration};

/// The load averages.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    words.join(" ")
}

/// The start of the document, up to its headlines.
pub fn introduction(bench: &Bench, took: Duration, load_before: &str) -> String {
    let servers: Vec<String> = servers().map(ToString::to_string).collect();
    let mut versions = servers.clone();
    versions.push(said_by("rustc", &["--version"]));
    versions.extend(bench.versions.iter().cloned());
    versions.dedup();
    let tables = crate::TABLES.map(|table| table.0).join(", ");
    let mut text = "# Performance\n\n".to_owned();
    text += &wrapped(&format!(
        "`make bench` measured all of this in one run, and wrote this page and its plots: do not edit them. `cargo bench --features \
         testing,tokio --bench performance -- saves cpu` prints single tables; there are {tables}."
    ));
    text += "\n\n";
    let points = [
        format!(
            "Machine: {} cores of an {}, {}; files on {}. Load average {load_before} before and {} after; the run took {} s. Other work \
             on the machine shows in absolute times more than in ratios.",
            bench.cores.count(),
            processor(),
            said_by("uname", &["-srm"]),
            file_system(),
            load(),
            took.as_secs(),
        ),
        format!("Versions: {}.", versions.join("; ")),
        "Ways to save are timed in turns in one process (Python's in processes of their own, which time themselves), and who goes first \
         changes. Before each save, outside the clock, the dependents are put there. Times are medians in us."
            .to_owned(),
        "A *ratio* is taken within a turn, to the flow by hand if nothing else is said. The tables have the median of these ratios, and \
         in brackets their quartiles. Below 1 is faster."
            .to_owned(),
        "*Cores*: client and server on one core or on two, pinned. On one core a reply is a switch of tasks; on two each side wakes the \
         other, which takes longer. A network is beyond the second."
            .to_owned(),
        format!(
            "Not all combinations are measured. Over a Unix socket, on every server, on one core and two: dependents are varied with 1 \
             KiB, sizes with 4 dependents, and 32 and 256 KiB with 16 dependents. TCP and the delayed networks: two sizes, on two \
             cores. The Python ways: three sizes, on {}.",
            servers.last().map_or("no server", String::as_str),
        ),
    ];
    for point in points {
        text += &point_of(&point);
    }
    text += "\nWhat is compared:\n\n";
    for way in Way::RUST.into_iter().chain(Way::PYTHON) {
        text += &point_of(&format!("**{}**: {}.", way.name(), way.description()));
    }
    text
}

/// An item of a list.
fn point_of(text: &str) -> String {
    format!("- {}\n", wrapped(text).replace('\n', "\n  "))
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split(':').nth(1));
    name.map_or("unknown processor", str::trim).to_owned()
}

/// The type of the file system that the files are on.
fn file_system() -> String {
    let folder = disk_folder().display().to_string();
    let text = said_by("df", &["--output=fstype", &folder]);
    text.lines().last().unwrap_or_default().to_owned()
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}
