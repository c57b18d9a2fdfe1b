//! Saves per second of many threads, each with its own document in one run.

use super::disk::{FileByHand, FileByLibrary, store};
use crate::{
    Bench,
    bed::{
        library::{self, Library},
        scene::{Scene, Size, TASK},
        subject::Subject,
        way::Way,
    },
    disk_folder,
    plot::{Line, Plot},
    report::Table,
    server,
    turns::{self, Figures},
};
use cachetx::{BoxError, Save};
use std::{
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const THREADS: [usize; 4] = [1, 4, 16, 64];
const SIZE: Size = Size::new(1, 4);
/// How long one way's threads save before the next way's turn.
const SLICE: Duration = Duration::from_millis(300);
const SLICES: usize = 5;

/// A subject for each thread, by hand or with the library.
type Crew = Vec<Box<dyn Subject>>;

pub fn table(bench: &mut Bench) -> Result<(), BoxError> {
    let server = bench.start(server()?)?;
    let url = server.unix_url();
    bench.report.section(
        "Saves a second of many threads",
        &format!(
            "{}, over a Unix socket, client and server on any core; each thread has a document of its own, all in one run. By hand each \
             thread has a connection; the library's threads share one cache. The threads of each way save for {} ms in turns.",
            server.binary(),
            SLICE.as_millis()
        ),
    );
    let mut table = Table::new(&[
        "work",
        "threads",
        "by hand, saves a second",
        "library, saves a second",
        "ratio",
    ]);
    for (work, file, on_disk) in [
        ("lock and commit", "by-threads", false),
        ("whole save on disk", "by-threads-on-disk", true),
    ] {
        let mut rates = [Vec::new(), Vec::new()];
        for threads in THREADS {
            let scenes = Scene::many(SIZE, threads)?;
            let folder = tempfile::tempdir_in(disk_folder())?;
            let mut crews = if on_disk {
                with_files(&url, folder.path(), &scenes)?
            } else {
                without_files(&url, &scenes)?
            };
            let found = in_turns(bench, &mut crews)?;
            table.row([
                work.to_owned(),
                threads.to_string(),
                format!("{:.0}", found[0].median),
                format!("{:.0}", found[1].median),
                found[1].ratio.to_string(),
            ]);
            for (rates, figures) in rates.iter_mut().zip(&found) {
                rates.push(figures.median);
            }
            if threads == 16 {
                let what = format!(
                    "16 threads and documents of one run, {work}, saves a second against by hand"
                );
                bench.report.headline(what, found[1].ratio.to_string());
            }
        }
        let lines = ["by hand", "library"].into_iter().zip(rates);
        bench.report.plot(Plot {
            file,
            title: format!("{work}, {SIZE}, {}", server.binary()),
            x: "threads",
            y: "saves a second",
            places: THREADS.map(|threads| threads.to_string()).to_vec(),
            lines: lines
                .map(|(name, values)| Line {
                    name: name.to_owned(),
                    values,
                })
                .collect(),
        });
    }
    bench.report.table(&table);
    Ok(())
}

fn without_files(url: &str, scenes: &[Scene]) -> Result<[Crew; 2], BoxError> {
    let cache = library::cache(url, &scenes[0])?;
    let by_hand = scenes.iter().map(|scene| Way::ByHand.open(url, scene));
    let library = scenes
        .iter()
        .map(|scene| -> Result<Box<dyn Subject>, BoxError> {
            Ok(Box::new(Library::on(&cache, scene)?))
        });
    Ok([
        by_hand.collect::<Result<_, _>>()?,
        library.collect::<Result<_, _>>()?,
    ])
}

fn with_files(url: &str, root: &std::path::Path, scenes: &[Scene]) -> Result<[Crew; 2], BoxError> {
    let (_, store) = store(url, root, &scenes[0])?;
    let by_hand = scenes
        .iter()
        .map(|scene| -> Result<Box<dyn Subject>, BoxError> {
            Ok(Box::new(FileByHand::new(url, root, scene)?))
        });
    let library = scenes
        .iter()
        .map(|scene| -> Result<Box<dyn Subject>, BoxError> {
            let save = Save::new().tasks([TASK]);
            Ok(Box::new(FileByLibrary::new(&store, scene, save)?))
        });
    Ok([
        by_hand.collect::<Result<_, _>>()?,
        library.collect::<Result<_, _>>()?,
    ])
}

fn in_turns(bench: &Bench, crews: &mut [Crew; 2]) -> Result<Vec<Figures>, BoxError> {
    let slice = if bench.is_long() { SLICE } else { SLICE / 30 };
    turns::in_turns(crews.len(), bench.rounds(SLICES), |n| {
        rate(&mut crews[n], slice)
    })
}

/// Saves per second of all threads together.
fn rate(crew: &mut Crew, slice: Duration) -> Result<f64, BoxError> {
    let (start, stop) = (Barrier::new(crew.len() + 1), AtomicBool::new(false));
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for subject in crew {
            let (start, stop) = (&start, &stop);
            threads.push(scope.spawn(move || {
                start.wait();
                let mut saves = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    subject.save(&mut || {}).map_err(|e| e.to_string())?;
                    saves += 1;
                }
                Ok::<_, String>(saves)
            }));
        }
        start.wait();
        let began = Instant::now();
        thread::sleep(slice);
        stop.store(true, Ordering::Relaxed);
        let mut saves = 0;
        for thread in threads {
            saves += thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(f64::from(saves) / began.elapsed().as_secs_f64())
    })
}
