//! Saves against the same flow written by hand on redis-rs (`by_hand`): on every server found, in turns, in one process.
//!
//! Names of tables are arguments: `cargo bench --features testing --bench save -- unix`. Without `--bench`, which cargo
//! gives to a bench only, every cell is measured from a few rounds: to see that it works.

mod by_hand;
mod commit;
mod cores;
mod crowd;
mod durable;
mod guarantees;
mod pairs;
mod scene;

use cachetx::{
    BoxError,
    testing::{Server, ServerBinary},
};
use cores::Cores;
use pairs::Summary;
use std::{
    env,
    path::{Path, PathBuf},
};

const BYTES: [usize; 2] = [1 << 10, 32 << 10];
const DEPENDENTS: [usize; 2] = [4, 16];
/// Rounds of a cell, for about half a minute a table.
const COMMITS: usize = 1_000;
const SAVES_IN_MEMORY: usize = 500;
const SAVES_ON_DISK: usize = 75;
const SHORT: usize = 10;
/// Other files in a run's folder.
const CROWD: usize = 200_000;
/// A file system in memory, where Linux has one.
const SHARED_MEMORY: &str = "/dev/shm";

fn main() -> Result<(), BoxError> {
    let chosen: Vec<String> = env::args().skip(1).collect();
    let long = chosen.iter().any(|arg| arg == "--bench");
    let rounds = |rounds| if long { rounds } else { SHORT };
    let named: Vec<&String> = chosen.iter().filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |table: &str| named.is_empty() || named.iter().any(|name| *name == table);

    if wanted("unix") {
        title("unix: lock and commit, over a Unix socket");
        table(commit::round_trips, |server, bytes, dependents| {
            let url = server.unix_url();
            commit::measure(server, &url, bytes, dependents, rounds(COMMITS))
        })?;
    }
    if wanted("tcp") {
        title("tcp: lock and commit, over TCP on 127.0.0.1");
        table(commit::round_trips, |server, bytes, dependents| {
            let url = server.url();
            commit::measure(server, &url, bytes, dependents, rounds(COMMITS))
        })?;
    }
    let shared = Path::new(SHARED_MEMORY);
    if wanted("memory") && shared.is_dir() {
        title("memory: the whole save, its files in memory");
        table(commit::round_trips, |server, bytes, dependents| {
            durable::measure(server, shared, bytes, dependents, rounds(SAVES_IN_MEMORY))
        })?;
    }
    if wanted("disk") {
        let target = disk();
        title("disk: the whole save, its files on disk");
        table(commit::round_trips, |server, bytes, dependents| {
            durable::measure(server, &target, bytes, dependents, rounds(SAVES_ON_DISK))
        })?;
    }
    if wanted("guarantees") {
        let target = disk();
        title("guarantees: the whole save on disk; \"ours\" is crash-safe, \"hand\" the default");
        table(guarantees::round_trips, |server, bytes, dependents| {
            guarantees::measure(server, &target, bytes, dependents, rounds(SAVES_ON_DISK))
        })?;
    }
    if wanted("crowd") {
        let files = if long { CROWD } else { SHORT };
        println!(
            "\ncrowd: the whole save on disk, beside {files} other files in the folder, and beside none"
        );
        let binary = ServerBinary::any().ok_or("no server: run `make servers`")?;
        let server = Server::start(binary)?;
        let found = crowd::measure(&server, &disk(), files, rounds(10 * SAVES_ON_DISK))?;
        let [low, median, high] = found.ratio;
        println!(
            "{:>9.1} us {:>9.1} us   {median:.2} ({low:.2}-{high:.2})",
            found.ours, found.by_hand
        );
    }
    Ok(())
}

/// Under target/: /tmp may be in memory.
fn disk() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn title(text: &str) {
    println!("\n{text}");
    println!(
        "{:<13} {:>5} {:>7} {:>10} {:>9} {:>9}   ours / by hand   round trips",
        "server", "cores", "bytes", "dependents", "ours us", "hand us"
    );
}

/// One row for each server, placement, size and number of dependents.
fn table(
    round_trips: impl Fn(&Server) -> Result<(u64, u64), BoxError>,
    measure: impl Fn(&Server, usize, usize) -> Result<Summary, BoxError>,
) -> Result<(), BoxError> {
    let cores = Cores::allowed()?;
    for binary in ServerBinary::all() {
        // Free until it is placed: a server's own threads stay where they were started.
        cores.free()?;
        let server = Server::start(binary)?;
        let (ours, by_hand) = round_trips(&server)?;
        for count in cores.placements() {
            cores.place(&server, count)?;
            for bytes in BYTES {
                for dependents in DEPENDENTS {
                    let found = measure(&server, bytes, dependents)?;
                    let [low, median, high] = found.ratio;
                    println!(
                        "{:<13} {count:>5} {bytes:>7} {dependents:>10} {:>9.1} {:>9.1}   {median:.2} ({low:.2}-{high:.2})   {ours} / {by_hand}",
                        binary.to_string(),
                        found.ours,
                        found.by_hand,
                    );
                }
            }
        }
    }
    Ok(cores.free()?)
}
