//! Commits per second of many tasks.

use crate::{
    Bench,
    bed::{
        commands::process_cpu,
        library,
        scene::{Scene, Size, TASK, connect, params},
    },
    report::Table,
    server,
    turns::{self, median},
};
use cachetx::{BoxError, testing::FilelessDocument};
use redis::{Connection, Pipeline, aio::MultiplexedConnection};
use rustix::time::{ClockId, clock_gettime};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::JoinSet};

const TASKS: [usize; 4] = [1, 16, 64, 1_024];
const SIZE: Size = Size::new(1, 4);
const ENTRY_MS: u64 = 72 * 3_600 * 1_000;
/// How long one way's tasks commit before the next way's turn.
const SLICE: Duration = Duration::from_millis(300);
const SLICES: usize = 7;

pub fn table(bench: &mut Bench) -> Result<(), BoxError> {
    let server = bench.start(server()?)?;
    bench.report.section(
        "Commits a second of many tasks",
        &format!(
            "{}, over a Unix socket, a runtime of two workers, client and server on any core. Each task has a document of its own, of \
             {SIZE}. *Bare MULTI* is `MULTI`, `SET`, `UNLINK`, `EXEC` on one multiplexed connection of redis-rs; *commit* is the server's step of \
             `update` of a store without locks, on the connection that the library's tasks share, rules expanded each time. \
             The tasks of each way commit for {} ms in turns. *Client* and *server*: CPU time of their processes, us a commit.",
            server.binary(),
            SLICE.as_millis()
        ),
    );
    let mut table = Table::new(&[
        "tasks",
        "bare MULTI, a second",
        "client, us",
        "server, us",
        "commit, a second",
        "ratio",
        "client, us",
        "server, us",
        "threads",
    ]);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build()?;
    let mut most = Vec::new();
    let mut plain = connect(&server.unix_url())?;
    for tasks in TASKS {
        let scenes = Scene::many(SIZE, tasks)?;
        let cache = library::cache(&server.unix_url(), &scenes[0])?;
        let client = redis::Client::open(server.unix_url())?;
        let bare = runtime.block_on(client.get_multiplexed_async_connection())?;
        let by_hand = |scene: &Scene| Committer::Bare(bare.clone(), scene.clone());
        let library = |scene: &Scene| -> Result<Committer, BoxError> {
            let document = FilelessDocument::new(&cache, &scene.controller, &[TASK], params())?;
            Ok(Committer::Library(document, Arc::clone(&scene.value)))
        };
        let mut crews = [
            scenes.iter().map(by_hand).collect(),
            scenes.iter().map(library).collect::<Result<Vec<_>, _>>()?,
        ];
        let slice = if bench.is_long() { SLICE } else { SLICE / 30 };
        let mut threads = 0;
        let mut costs: [Vec<Cost>; 2] = Default::default();
        let found = turns::in_turns(2, bench.rounds(SLICES), |way| {
            let before = Cpu::now(&mut plain)?;
            let (commits, time) = commits(&runtime, &mut crews[way], slice)?;
            costs[way].push(before.cost(&mut plain, commits)?);
            threads = threads.max(std::fs::read_dir("/proc/self/task")?.count());
            Ok(f64::from(commits) / time.as_secs_f64())
        })?;
        let [bare, commit] = costs.map(|costs| {
            let all = |part: fn(&Cost) -> f64| median(costs.iter().map(part).collect());
            [all(|cost| cost.client), all(|cost| cost.server)].map(|us| format!("{us:.1}"))
        });
        table.row([
            tasks.to_string(),
            format!("{:.0}", found[0].median),
            bare[0].clone(),
            bare[1].clone(),
            format!("{:.0}", found[1].median),
            found[1].ratio.to_string(),
            commit[0].clone(),
            commit[1].clone(),
            threads.to_string(),
        ]);
        if tasks >= 64 {
            let what =
                format!("{tasks} tasks on one connection, commits a second against bare MULTI");
            bench.report.headline(what, found[1].ratio.to_string());
            most.push(found[1].median);
        }
    }
    if let [of_64, of_1024] = most[..] {
        let what = "1,024 tasks against 64, commits a second";
        bench
            .report
            .headline(what, format!("{:.2}", of_1024 / of_64));
    }
    bench.report.table(&table);
    Ok(())
}

/// CPU time of both processes so far, in us.
struct Cpu {
    client: f64,
    server: f64,
}

/// Us per commit.
struct Cost {
    client: f64,
    server: f64,
}

impl Cpu {
    fn now(plain: &mut Connection) -> Result<Self, BoxError> {
        let client = clock_gettime(ClockId::ProcessCPUTime);
        Ok(Self {
            client: client.tv_sec as f64 * 1e6 + client.tv_nsec as f64 / 1e3,
            server: process_cpu(plain)?,
        })
    }

    fn cost(&self, plain: &mut Connection, commits: u32) -> Result<Cost, BoxError> {
        let now = Self::now(plain)?;
        Ok(Cost {
            client: (now.client - self.client) / f64::from(commits),
            server: (now.server - self.server) / f64::from(commits),
        })
    }
}

/// What one task commits.
enum Committer {
    Bare(MultiplexedConnection, Scene),
    Library(FilelessDocument, Arc<[u8]>),
}

impl Committer {
    async fn commit(&mut self) -> Result<(), BoxError> {
        match self {
            Self::Bare(connection, scene) => {
                let mut pipe = Pipeline::with_capacity(2);
                pipe.atomic();
                let set = pipe.cmd("SET").arg(&scene.own).arg(&*scene.value);
                set.arg("PX").arg(ENTRY_MS).ignore();
                pipe.cmd("UNLINK").arg(&scene.dependents);
                let _: (usize,) = pipe.query_async(connection).await?;
            }
            Self::Library(document, value) => {
                document.commit_in_task(Arc::clone(value)).await?;
            }
        }
        Ok(())
    }
}

/// How many commits all tasks have made together, and in how much time.
fn commits(
    runtime: &Runtime,
    crew: &mut Vec<Committer>,
    slice: Duration,
) -> Result<(u32, Duration), BoxError> {
    let stop = Arc::new(AtomicBool::new(false));
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    let _entered = runtime.enter();
    for mut committer in crew.drain(..) {
        let stop = Arc::clone(&stop);
        tasks.spawn(async move {
            let mut commits = 0_u32;
            while !stop.load(Ordering::Relaxed) {
                committer.commit().await?;
                commits += 1;
            }
            Ok::<_, BoxError>((committer, commits))
        });
    }
    std::thread::sleep(slice);
    stop.store(true, Ordering::Relaxed);
    let mut all = 0;
    for done in runtime.block_on(tasks.join_all()) {
        let (committer, commits) = done?;
        crew.push(committer);
        all += commits;
    }
    Ok((all, began.elapsed()))
}
