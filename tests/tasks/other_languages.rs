//! A program in another language saves a document beside threads and tasks of this library: examples/python/save.py, by redis-py, run as
//! it is but for its last line, which saves once.

use crate::support::{self, Climate, RUN, SetOnDrop, World, get, key};
use cachetx::{Document, Error, Params, aio, testing::ServerBinary};
use serde_json::Value;
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

const PROGRAM: &str = include_str!("../../examples/python/save.py");
const LAST_LINE: &str = "\nprint(save(add))\n";
const INVALIDATE: &str = r#"call("invalidate", "#;
/// After each save, an entry that is derived from the document is of this version or of a later one.
const SAVE_AND_CHECK: &str = r#"
for _ in range(int(os.environ["TIMES"])):
    saved = save(add)["years"]
    for derived in entries[1:]:
        found = client.get(derived)
        assert found is None or int(found) >= saved, f"{derived} is stale: {found} after {saved}"
"#;
const DERIVED: [&str; 3] = ["wepp", "ash", "soils"];
const TASKS: [&str; 1] = ["build_climate"];
/// Each of two of each kind: processes of Python, threads that lock, threads that update, tasks that lock.
const WRITERS: u64 = 8;

/// A world whose Rust and Python writers wait for each other for as long as it takes.
struct Shared {
    world: World,
    document: Document<Climate>,
    /// What the Python program is told.
    inputs: [PathBuf; 2],
}

impl Shared {
    fn on(binary: &ServerBinary) -> Self {
        let world = World::on(binary);
        let store = world.store_builder().lock_wait(Duration::from_secs(600));
        let document = world.climate(&store.open().expect("a store"));
        document.create(&Climate::of(0)).expect("created");
        let rules = world.root.path().join("rules.json");
        fs::write(&rules, support::RULES).expect("written");
        let input = |name: &str, arguments: &[&str]| {
            let path = world.root.path().join(name);
            fs::write(&path, cachetx(arguments)).expect("written");
            path
        };
        let run = format!("run_id={RUN}");
        let rules = rules.display().to_string();
        let inputs = [
            input("functions.json", &["functions", "dump", "--format", "json"]),
            input(
                "keys.json",
                &[
                    "rules", "expand", &rules, "--own", "climate", "--task", TASKS[0], "--param",
                    &run, "--format", "json",
                ],
            ),
        ];
        load_and_lose_functions(&world, &inputs[0]);
        Self {
            world,
            document,
            inputs,
        }
    }

    fn python(&self, program: &str, times: u64) -> Child {
        python(program)
            .arg(self.world.server.url())
            .args(&self.inputs)
            .arg(self.world.file())
            .args(["years", "1"])
            .env("TIMES", times.to_string())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Python runs")
    }

    /// Derives values all the time, until `done`.
    fn derive(&self, done: &AtomicBool) {
        let cache = self.world.cache();
        let params = Params::new().with("run_id", RUN);
        while !done.load(SeqCst) {
            for derived in DERIVED {
                let load = || Ok(self.document.read()?.years);
                let loaded = cache.get_or_load_json(derived, &params, load);
                loaded.expect("loaded");
            }
        }
    }
}

fn cachetx(arguments: &[&str]) -> Vec<u8> {
    let ran = Command::new(env!("CARGO_BIN_EXE_cachetx"))
        .args(arguments)
        .output()
        .expect("it runs");
    assert!(ran.status.success(), "{ran:?}");
    ran.stdout
}

fn load_and_lose_functions(world: &World, dump: &Path) {
    let dump = fs::read(dump).expect("read");
    let dump: Value = serde_json::from_slice(&dump).expect("JSON");
    let loaded: String = redis::cmd("FUNCTION")
        .arg("LOAD")
        .arg(dump["text"].as_str())
        .query(&mut world.redis())
        .expect("loaded");
    assert_eq!(dump["library"], loaded);
    // The program loads it again: a restart of the server loses it too.
    redis::cmd("FUNCTION")
        .arg("FLUSH")
        .exec(&mut world.redis())
        .expect("lost");
}

fn python(program: &str) -> Command {
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python");
    let mut command = Command::new("python3");
    command.env("PYTHONPATH", packages).arg("-c").arg(program);
    command
}

/// Servers with functions; none, and said so, where there is no redis-py.
fn servers(test: &str) -> Vec<&'static ServerBinary> {
    if !python("import redis")
        .output()
        .is_ok_and(|ran| ran.status.success())
    {
        support::skipped(test, "no Python with redis-py (`make python`)");
        return Vec::new();
    }
    let all = ServerBinary::all().iter();
    all.filter(|binary| binary.version() >= (7, 0, 0)).collect()
}

fn repeated(program: &str) -> String {
    assert!(program.ends_with(LAST_LINE), "the program's last line");
    program.replace(LAST_LINE, SAVE_AND_CHECK)
}

fn check(world: &World, redis: &mut redis::Connection, saved: u64) {
    for derived in DERIVED {
        let found =
            get(redis, &key(derived)).map(|value| String::from_utf8(value).expect("a number"));
        let is_stale = found
            .as_ref()
            .is_some_and(|it| it.parse::<u64>().expect("a number") < saved);
        assert!(
            !is_stale,
            "{derived} is stale: {found:?} after {saved}, {}",
            world.server.url()
        );
    }
}

/// Until nobody was faster, and the OS lock was had.
fn again<T>(mut save: impl FnMut() -> Result<T, Error>) -> T {
    loop {
        match save() {
            Ok(done) => return done,
            Err(e) if e.is_retryable() || e.is_conflict() => {}
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn python_threads_and_tasks_save_one_document_and_lose_nothing() {
    let servers = servers("python_threads_and_tasks_save_one_document_and_lose_nothing");
    for (n, binary) in servers.into_iter().rev().enumerate() {
        eprintln!("on {binary}");
        let times = if n == 0 { 250 } else { 25 };
        let shared = Shared::on(binary);
        let children: Vec<_> = (0..2)
            .map(|_| shared.python(&repeated(PROGRAM), times))
            .collect();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| shared.derive(&done));
            let _end = SetOnDrop(&done);
            let writers: Vec<_> = (0..2)
                .flat_map(|_| {
                    [
                        scope.spawn(|| by_lock(&shared, times)),
                        scope.spawn(|| by_update(&shared, times)),
                    ]
                })
                .collect();
            by_tasks(&shared, times);
            for writer in writers {
                writer.join().expect("a writer");
            }
            for child in children {
                let ended = child.wait_with_output().expect("it ends");
                let error = String::from_utf8_lossy(&ended.stderr);
                assert!(ended.status.success(), "{error}");
            }
        });
        assert_eq!(
            shared.world.on_disk().years,
            WRITERS * times,
            "saves were lost"
        );
        assert_eq!(shared.document.read().expect("read").years, WRITERS * times);
    }
}

fn by_lock(shared: &Shared, times: u64) {
    let mut redis = shared.world.redis();
    for _ in 0..times {
        let mut held = shared.document.lock().expect("locked");
        held.years += 1;
        let years = held.years;
        held.dump_and_unlock_with_transaction(TASKS).expect("saved");
        check(&shared.world, &mut redis, years);
    }
}

fn by_update(shared: &Shared, times: u64) {
    let mut redis = shared.world.redis();
    for _ in 0..times {
        let (years, _) = again(|| {
            shared.document.update(TASKS, |climate| {
                climate.years += 1;
                Ok(climate.years)
            })
        });
        check(&shared.world, &mut redis, years);
    }
}

fn by_tasks(shared: &Shared, times: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let save = async |document: aio::Document<Climate>| {
        let mut held = document.lock().await.expect("locked");
        held.years += 1;
        let years = held.years;
        let saved = held.dump_and_unlock_with_transaction(TASKS).await;
        saved.expect("saved");
        years
    };
    runtime.block_on(async {
        let writer = async || {
            let mut redis = shared.world.redis();
            for _ in 0..times {
                let years = save(shared.document.clone().into()).await;
                check(&shared.world, &mut redis, years);
            }
        };
        tokio::join!(writer(), writer());
    });
}

#[test]
fn negative_control_a_program_that_saves_without_the_function_leaves_stale_entries() {
    const NAME: &str =
        "negative_control_a_program_that_saves_without_the_function_leaves_stale_entries";
    let Some(binary) = servers(NAME).pop() else {
        return;
    };
    let (before, invalidation) = PROGRAM.split_once(INVALIDATE).expect("it invalidates");
    let (_, after) = invalidation.split_once('\n').expect("a line");
    let naive = format!("{before}call(\"release\", [lock], value, lock + \":free\")\n{after}");
    let shared = Shared::on(binary);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| shared.derive(&done));
        let _end = SetOnDrop(&done);
        let ended = shared.python(&repeated(&naive), 10_000).wait_with_output();
        let ended = ended.expect("it ends");
        let error = String::from_utf8_lossy(&ended.stderr);
        assert!(
            !ended.status.success() && error.contains("is stale"),
            "{error}"
        );
    });
}
