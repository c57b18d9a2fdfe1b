//! Reads: hot (the snapshot), cold with the entry on the server, cold without it; each next to the
//! fastest hand-written equivalent.

use crate::{
    Bench,
    bed::{
        counts::{Rows, rows},
        scene::{RUN, connect},
    },
    report::Table,
    server, turns,
};
use cachetx::BoxError;
use std::{fs, hint::black_box, time::Instant};

const KIB: [usize; 3] = [1, 32, 1024];
const SAMPLES: usize = 60;
/// Reads in one sample, so that the clock's own cost does not count.
const HOT: u32 = 500;
const COLD: u32 = 5;

pub fn table(bench: &mut Bench) -> Result<(), BoxError> {
    bench.report.section(
        "Reads",
        "Us a read, in turns, client and server on one core, over a Unix socket. *Hot*: the document is in the store's memory, and one \
         `stat` shows that its file is the same. *Cold*: without snapshots.",
    );
    let mut table = Table::new(&[
        "bytes",
        "hot",
        "`stat`",
        "cold, entry there",
        "GET and parse",
        "cold, no entry",
        "read and parse the file",
        "hot against GET and parse",
    ]);
    let server = bench.start(server()?)?;
    bench.cores.place(&server, 1)?;
    for kib in KIB {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        let (hot, text) = rows(&server, root, kib << 10, 16)?;
        let (cold, _) = rows(&server, root, kib << 10, 0)?;
        let path = root.join(RUN).join("climate.nodb");
        let key = hot.cache_key().to_owned();
        let mut redis = connect(&server.unix_url())?;
        let mut there = connect(&server.unix_url())?;
        let mut samples = |n: usize| -> Result<f64, BoxError> {
            match n {
                2 | 3 => redis::cmd("SET").arg(&key).arg(&text).exec(&mut there)?,
                4 => redis::cmd("DEL").arg(&key).exec(&mut there)?,
                _ => {}
            }
            match n {
                0 => sample(HOT, || Ok(hot.read()?)),
                1 => sample(HOT, || Ok(fs::metadata(&path)?)),
                2 | 4 => sample(COLD, || Ok(cold.read()?)),
                3 => sample(COLD, || {
                    let value: Vec<u8> = redis::cmd("GET").arg(&key).query(&mut redis)?;
                    Ok(serde_json::from_slice::<Rows>(&value)?)
                }),
                _ => sample(COLD, || {
                    Ok(serde_json::from_slice::<Rows>(&fs::read(&path)?)?)
                }),
            }
        };
        let found = turns::in_turns(6, bench.rounds(SAMPLES), &mut samples)?;
        let faster = found[3].ratio.median();
        if kib == 32 {
            let what = "hot read of 32 KiB against GET and parse: times as fast";
            bench.report.headline(what, format!("{faster:.0}"));
        }
        let medians = found.iter().map(|figures| format!("{:.2}", figures.median));
        let cells = [text.len().to_string()].into_iter().chain(medians);
        table.row(cells.chain([format!("{faster:.0} times as fast")]));
    }
    bench.report.table(&table);
    Ok(())
}

/// Us of each of `reads` reads.
fn sample<R>(reads: u32, mut read: impl FnMut() -> Result<R, BoxError>) -> Result<f64, BoxError> {
    let started = Instant::now();
    for _ in 0..reads {
        black_box(read()?);
    }
    Ok(started.elapsed().as_secs_f64() * 1e6 / f64::from(reads))
}
