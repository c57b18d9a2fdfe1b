//! What a save costs the server.

use super::saves::range;
use crate::{
    Bench,
    bed::{
        commands::{Steps, process_cpu},
        scene::{Scene, Size, connect},
        subject::Subject,
        way::Way,
    },
    report::Table,
    servers,
    turns::{self, Figures},
};
use cachetx::{BoxError, testing::Server};
use redis::Connection;

const SIZES: [Size; 3] = [Size::new(1, 4), Size::new(1, 16), Size::new(32, 16)];
/// Saves whose cost is measured together; one alone is too short for INFO cpu.
const BATCH: u32 = 40;
const BATCHES: usize = 12;
/// The size whose figures are headlines.
const HEADLINE: Size = SIZES[0];

pub fn table(bench: &mut Bench) -> Result<(), BoxError> {
    bench.report.section(
        "Server CPU of a save",
        "*Commands*: us that `INFO commandstats` books on what the client sent, EXEC and EVALSHA with all that they run (inner commands \
         are booked twice by the server; here they count once). *Whole*: us of the server's process by `INFO cpu`, reading, parsing, \
         replying and waking up included; what putting the dependents there costs is taken off. Over a Unix socket, in turns of batches \
         of 40 saves; ratios to by hand.",
    );
    let mut head = ["server", "cores", "value", "dependents"]
        .map(str::to_owned)
        .to_vec();
    for (n, way) in ways().iter().enumerate() {
        for kind in ["commands", "whole"] {
            head.push(format!("{}, {kind}", way.name()));
            if n > 0 {
                head.push("ratio".to_owned());
            }
        }
    }
    let mut table = Table::new(&head);
    let mut found = Vec::new();
    for binary in servers() {
        let server = bench.start(binary)?;
        for cores in bench.cores.placements() {
            bench.cores.place(&server, cores)?;
            for size in SIZES {
                let (booked, whole) = measure(&server, size, bench.rounds(BATCHES))?;
                let mut cells = vec![
                    server.binary().to_string(),
                    cores.to_string(),
                    format!("{} KiB", size.bytes >> 10),
                    size.dependents.to_string(),
                ];
                for n in 0..ways().len() {
                    for figures in [&booked[n], &whole[n]] {
                        cells.push(format!("{:.1}", figures.median));
                        if n > 0 {
                            cells.push(figures.ratio.to_string());
                        }
                    }
                }
                table.row(cells);
                if size == HEADLINE {
                    found.push((cores, booked, whole));
                }
            }
        }
    }
    headlines(bench, &found);
    bench.report.table(&table);
    Ok(())
}

/// The number of cores, and the figures by recorded commands and by the whole process.
type Found = (usize, Vec<Figures>, Vec<Figures>);

fn headlines(bench: &mut Bench, found: &[Found]) {
    for way in Way::SAVES {
        let n = ways().iter().position(|w| *w == way).expect("one of them");
        for cores in bench.cores.placements() {
            let of_cores = || found.iter().filter(|found| found.0 == cores);
            let ratios = [
                (
                    "CPU of the commands",
                    range(of_cores().map(|f| f.1[n].ratio.median())),
                ),
                (
                    "whole CPU",
                    range(of_cores().map(|f| f.2[n].ratio.median())),
                ),
            ];
            for (kind, range) in ratios {
                let what = format!(
                    "server's {kind}, {} against by hand, {HEADLINE}, cores: {cores}",
                    way.name()
                );
                bench.report.headline(what, range.unwrap_or_default());
            }
        }
    }
}

/// All ways that make the server do some work.
fn ways() -> Vec<Way> {
    let ways = Way::RUST.into_iter();
    ways.filter(|way| *way != Way::Ping).collect()
}

/// Figures by recorded commands and by the whole process.
fn measure(
    server: &Server,
    size: Size,
    batches: usize,
) -> Result<(Vec<Figures>, Vec<Figures>), BoxError> {
    let scene = Scene::new(size)?;
    let mut plain = connect(&server.unix_url())?;
    let mut opened = Vec::new();
    for way in ways() {
        let mut subject = way.open(&server.unix_url(), &scene)?;
        let steps = Steps::watch(server, &mut plain, &scene, &mut *subject)?;
        let shares = steps.shares(&mut plain, &scene, &mut *subject, BATCH)?;
        opened.push((subject, shares));
    }
    let booked = turns::in_turns(opened.len(), batches, |n| {
        let (subject, shares) = &mut opened[n];
        shares.booked(&mut plain, &scene, &mut **subject, BATCH)
    })?;
    let mut whole = vec![Vec::new(); opened.len()];
    for _ in 0..batches {
        let idle = batch(&mut plain, &scene, None)?;
        for ((subject, _), whole) in opened.iter_mut().zip(&mut whole) {
            let busy = batch(&mut plain, &scene, Some(&mut **subject))?;
            whole.push((busy - idle) / f64::from(BATCH));
        }
    }
    Ok((booked, turns::figures(&whole)))
}

/// Us of the server's CPU for a batch of saves and their preparation, or for the preparation
/// alone.
fn batch(
    plain: &mut Connection,
    scene: &Scene,
    mut subject: Option<&mut dyn Subject>,
) -> Result<f64, BoxError> {
    let before = process_cpu(plain)?;
    for _ in 0..BATCH {
        scene.warm(plain)?;
        if let Some(subject) = subject.as_mut() {
            subject.save(&mut || {})?;
        }
    }
    Ok(process_cpu(plain)? - before)
}
