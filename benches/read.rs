//! What a read costs: hot (the snapshot), cold with the entry on the server, cold without; each beside the least that could do it
//! by hand, in turns. Medians, in microseconds.
//!
//! Without `--bench`, which cargo gives to a bench only, every case runs a few times: to see that it works.

use cachetx::{
    BoxError, Cache, Document, FileSystem, Rules, Store,
    testing::{Server, ServerBinary},
};
use serde::{Deserialize, Serialize};
use std::{
    env, fs,
    hint::black_box,
    time::{Duration, Instant},
};

const RUN: &str = "copacetic-sled";
/// Reads of one sample, so that the clock's own cost does not count.
const HOT: u32 = 1_000;
const COLD: u32 = 10;

/// Rows of numbers, as the domain's documents have them.
#[derive(Serialize, Deserialize)]
struct Content {
    rows: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    name: String,
    values: [f64; 4],
}

impl Content {
    fn of(bytes: usize) -> Self {
        let row = |n: usize| Row {
            name: format!("hillslope_{n:05}"),
            values: [0.5, 17.25, n as f64 / 3.0, 1e-6],
        };
        Self {
            rows: (0..bytes.div_ceil(80)).map(row).collect(),
        }
    }
}

fn main() -> Result<(), BoxError> {
    let samples = match env::args().any(|arg| arg == "--bench") {
        true => 101,
        false => 3,
    };
    let server = Server::start(ServerBinary::any().ok_or("no server: run `make servers`")?)?;
    println!("{}; microseconds a read", server.binary());
    println!(
        "{:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9}",
        "bytes", "hot", "stat", "there", "GET+parse", "missing", "read+parse"
    );
    for bytes in [1 << 10, 32 << 10, 1 << 20] {
        case(&server, bytes, samples)?;
    }
    Ok(())
}

fn case(server: &Server, bytes: usize, samples: usize) -> Result<(), BoxError> {
    let root = tempfile::tempdir()?;
    let rules = Rules::from_path(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/minimal.json"))?;
    let cache = Cache::builder(rules).url(server.url()).open()?;
    let open = |entries| -> Result<Document<Content>, BoxError> {
        let store = Store::builder(&cache)
            .root(root.path())
            .file_system(FileSystem::Local)
            .snapshot_entries(entries)
            .open()?;
        Ok(store.document(RUN, "climate")?)
    };
    let (hot, cold) = (open(16)?, open(0)?);
    hot.create(&Content::of(bytes))?;
    let path = root.path().join(RUN).join("climate.nodb");
    let text = fs::read(&path)?;
    let key = hot.cache_key().to_owned();
    let mut redis = redis::Client::open(server.url())?.get_connection()?;

    let mut times: [Vec<Duration>; 6] = Default::default();
    for _ in 0..samples {
        redis::cmd("SET").arg(&key).arg(&text).exec(&mut redis)?;
        times[0].push(sample(HOT, || Ok(hot.read()?))?);
        times[1].push(sample(HOT, || Ok(fs::metadata(&path)?))?);
        times[2].push(sample(COLD, || Ok(cold.read()?))?);
        times[3].push(sample(COLD, || {
            let value: Vec<u8> = redis::cmd("GET").arg(&key).query(&mut redis)?;
            Ok(serde_json::from_slice::<Content>(&value)?)
        })?);
        redis::cmd("DEL").arg(&key).exec(&mut redis)?;
        times[4].push(sample(COLD, || Ok(cold.read()?))?);
        times[5].push(sample(COLD, || {
            let text = fs::read(&path)?;
            Ok(serde_json::from_slice::<Content>(&text)?)
        })?);
    }
    let medians = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e6
    });
    let [hot_read, stat, server_read, get, file_read, read] = medians;
    println!(
        "{:>9} {hot_read:>9.2} {stat:>9.2} {server_read:>9.1} {get:>9.1} {file_read:>9.1} {read:>9.1}",
        text.len()
    );
    Ok(())
}

/// The time of one of `reads`.
fn sample<R>(
    reads: u32,
    mut read: impl FnMut() -> Result<R, BoxError>,
) -> Result<Duration, BoxError> {
    let started = Instant::now();
    for _ in 0..reads {
        black_box(read()?);
    }
    Ok(started.elapsed() / reads)
}
