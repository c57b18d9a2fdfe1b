//! Where the figures were taken, and how.

use crate::{Bench, bed::way::Way, disk_folder, servers};
use std::{fmt::Write as _, fs, process::Command, time::Duration};

/// The load averages.
pub fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().take(3).collect();
    words.join(" ")
}

/// The beginning of the document, up to its headlines.
pub fn introduction(bench: &Bench, took: Duration, load_before: &str) -> String {
    let servers: Vec<String> = servers().map(ToString::to_string).collect();
    let mut text = format!(
        "# Performance

`make bench` measured all of this in one run, and wrote this page and its plots: do not edit them. `cargo bench --features testing
--bench performance -- saves cpu` prints single tables: saves, network, python, cpu, client, memory, disk, guarantees, crowd, threads,
reads, rules.

- Machine: {} cores of an {}, {}; files on {}. Load average {load_before} before, {} after; the run took {} s. What
  else runs on the machine shows in absolute times more than in ratios.
- {}; {}.
- Ways to save are timed in turns in one process (Python's in processes of their own, which time themselves), and who goes first
  changes. Before each save, outside the clock, the dependents are put there. Times are medians in us. A *ratio* is taken within a
  turn, to the flow by hand if nothing else is said; the table has the median of the ratios, and in brackets their quartiles. Below 1
  is faster.
- *Cores*: client and server on one core or on two, pinned. On one core a reply is a switch of tasks; on two each side wakes the
  other, which takes longer. A network is beyond the second.
- Not all combinations are measured: sizes and dependents are varied one at a time around 1 KiB and 4 dependents, plus 16 dependents
  with 32 and 256 KiB, over a Unix socket, on every server, on one core and two; TCP and the delayed networks with two sizes, on two
  cores; the Python ways on {}.

What is compared:

",
        bench.cores.count(),
        processor(),
        said_by("uname", &["-srm"]),
        file_system(),
        load(),
        took.as_secs(),
        servers.join(", "),
        [said_by("rustc", &["--version"])].into_iter().chain(bench.versions.iter().cloned()).collect::<Vec<_>>().join("; "),
        servers.last().map_or("no server", String::as_str),
    );
    for way in Way::RUST.into_iter().chain(Way::PYTHON) {
        let _ = writeln!(text, "- **{}**: {}.", way.name(), way.description());
    }
    text
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
    said_by("stat", &["-f", "-c", "%T", &folder])
}

fn said_by(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok()
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| "unknown".to_owned())
}
