//! How soon the waiter for a lock has it.

use super::disk::store;
use crate::{
    Bench,
    bed::scene::{RUN, Scene, Size},
    disk_folder,
    report::Table,
    server,
};
use cachetx::{BoxError, Document, Locked, NO_TASKS, aio};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread::{self, Scope},
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::JoinSet};

const WAITS: usize = 200;
/// How long a waiter has waited before its holder releases the lock.
const BEFORE: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(60);
/// Others that are busy at the same time.
const OTHERS: usize = 4;

pub fn table(bench: &mut Bench) -> Result<(), BoxError> {
    let server = bench.start(server()?)?;
    bench.report.section(
        "The wake-up of a lock's waiter",
        &format!(
            "{}, over a Unix socket, a runtime of two workers, client and server on any core; documents of 1 KiB on disk. \
             From the call of `unlock` until the waiter's `lock` has returned, which has read the file then; ms, {WAITS} times each. \
             *Others*: so many threads, or tasks, update documents of their own all the time.",
            server.binary(),
        ),
    );
    let mut table = Table::new(&["waiter", "others", "median", "90 of 100", "slowest"]);
    let folder = tempfile::tempdir_in(disk_folder())?;
    let scenes = Scene::many(Size::new(1, 0), 1 + OTHERS)?;
    let (_cache, store) = store(&server.unix_url(), folder.path(), &scenes[0])?;
    let documents: Vec<Document<u64>> = scenes
        .iter()
        .map(|scene| store.document(RUN, &scene.controller))
        .collect::<Result<_, _>>()?;
    for document in &documents {
        document.create(&0)?;
    }
    let (contended, own) = documents.split_first().ok_or("no document")?;
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build()?;
    let waits = bench.rounds(WAITS);
    for others in [0, OTHERS] {
        let own = &own[..others];
        let stop = &AtomicBool::new(false);
        let by_threads = thread::scope(|scope| {
            let busy = keep_busy(scope, own, stop);
            let found = by_threads(contended, waits);
            stop.store(true, Ordering::Relaxed);
            busy.into_iter()
                .try_for_each(|one| one.join().expect("no panic"))?;
            found
        })?;
        row(&mut table, "a thread", others, by_threads);
        let by_tasks = by_tasks(&runtime, contended, own, waits)?;
        let median = row(&mut table, "a task", others, by_tasks);
        if others > 0 {
            let what = "wake-up of a task that waits for a lock, under load, ms";
            bench.report.headline(what, format!("{median:.2}"));
        }
    }
    bench.report.table(&table);
    Ok(())
}

/// Returns the median.
fn row(table: &mut Table, waiter: &str, others: usize, mut ms: Vec<f64>) -> f64 {
    ms.sort_by(f64::total_cmp);
    let figures = [ms.len() / 2, ms.len() * 9 / 10, ms.len() - 1].map(|n| ms[n]);
    let names = [waiter.to_owned(), others.to_string()];
    let cells = figures.map(|ms| format!("{ms:.2}"));
    table.row(names.into_iter().chain(cells));
    figures[0]
}

fn ms(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() * 1e3
}

fn keep_busy<'scope>(
    scope: &'scope Scope<'scope, '_>,
    documents: &'scope [Document<u64>],
    stop: &'scope AtomicBool,
) -> Vec<thread::ScopedJoinHandle<'scope, Result<(), BoxError>>> {
    let one = |document: &'scope Document<u64>| {
        scope.spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                document.update(NO_TASKS, increment)?;
            }
            Ok(())
        })
    };
    documents.iter().map(one).collect()
}

fn increment(number: &mut u64) -> Result<(), BoxError> {
    *number += 1;
    Ok(())
}

fn by_threads(document: &Document<u64>, waits: usize) -> Result<Vec<f64>, BoxError> {
    let wait = || -> Result<f64, BoxError> {
        let held = document.lock_timeout(PATIENCE)?;
        thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                let held = document.lock_timeout(PATIENCE)?;
                let locked = Instant::now();
                drop(held);
                Ok::<_, cachetx::Error>(locked)
            });
            thread::sleep(BEFORE);
            let freed = Instant::now();
            Locked::unlock(held);
            let locked = waiter.join().expect("no panic")?;
            Ok(ms(freed, locked))
        })
    };
    (0..waits).map(|_| wait()).collect()
}

fn by_tasks(
    runtime: &Runtime,
    document: &Document<u64>,
    busy: &[Document<u64>],
    waits: usize,
) -> Result<Vec<f64>, BoxError> {
    let document = aio::Document::from(document.clone());
    runtime.block_on(async {
        let mut others = JoinSet::new();
        for own in busy.iter().cloned().map(aio::Document::from) {
            others.spawn(async move {
                loop {
                    own.update(NO_TASKS, increment).await.expect("updated");
                }
            });
        }
        let mut found = Vec::with_capacity(waits);
        for _ in 0..waits {
            let held = document.lock_timeout(PATIENCE).await?;
            let waiting = document.clone();
            let waiter = tokio::spawn(async move {
                let held = waiting.lock_timeout(PATIENCE).await?;
                let locked = Instant::now();
                aio::Locked::unlock(held).await;
                Ok::<_, cachetx::Error>(locked)
            });
            tokio::time::sleep(BEFORE).await;
            let freed = Instant::now();
            aio::Locked::unlock(held).await;
            found.push(ms(freed, waiter.await??));
        }
        Ok(found)
    })
}
