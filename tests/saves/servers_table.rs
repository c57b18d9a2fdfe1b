//! docs/servers.md: what runs where, from a run of it. `CACHETX_BLESS=1` writes the table; otherwise the rows of the servers
//! that are here have to be in it.

use crate::support::{self, Climate, RUN, given};
use cachetx::{
    CacheBuilder, CacheOutcome, Engine, Params, Store,
    testing::{Cluster, Flavour, SentinelTrio, Server, ServerBinary, ServerOptions},
};
use std::{fs, path::Path, sync::Mutex, thread};

const PAGE: &str = "docs/servers.md";
const ENGINES: [Engine; 4] = [
    Engine::Auto,
    Engine::Script,
    Engine::Function,
    Engine::Watch,
];
/// The commands that a locked-down server does not have under their names.
const LUA_COMMANDS: [&str; 3] = ["EVAL", "EVALSHA", "SCRIPT"];

/// A save in a transaction, a read and an invalidation, each with its outcome; the engine that ran them.
fn main_job(cache: CacheBuilder) -> Result<String, cachetx::Error> {
    let root = tempfile::tempdir().expect("a folder");
    let cache = cache.open()?;
    let store = Store::builder(&cache).root(root.path()).open()?;
    let climate = store.document::<Climate>(RUN, "climate")?;
    let wepp = store.document::<Climate>(RUN, "wepp")?;
    climate.create(&Climate::of(1))?;
    wepp.create(&Climate::of(1))?;
    let mut held = climate.lock()?;
    held.years = 2;
    let outcome = held.dump_and_unlock_with_transaction(["build_climate"])?;
    assert!(
        matches!(outcome.cache, CacheOutcome::Committed { removed: 1 }),
        "{outcome:?}"
    );
    assert_eq!(climate.read()?.years, 2);
    let params = Params::new().with("run_id", RUN);
    let outcome = cache.invalidate(["build_climate"], &params)?;
    assert!(outcome.is_settled(), "{outcome:?}");
    Ok(cache.report().expect("booted").engine)
}

/// A cell of the table.
fn cell(engine: Engine, cache: CacheBuilder) -> String {
    match main_job(cache.engine(engine)) {
        Ok(ran) if engine == Engine::Auto => format!("passed, by {ran}"),
        Ok(_) => "passed".to_owned(),
        Err(e) => format!("refused: {}", without_addresses(&e.to_string())),
    }
}

/// Ports differ from run to run.
fn without_addresses(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let words = line.split(' ').filter(|word| !word.contains("127.0.0.1"));
    words.collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn row(binary: &ServerBinary, setup: &str, cache: impl Fn() -> CacheBuilder) -> String {
    let cells: Vec<String> = ENGINES
        .iter()
        .map(|engine| cell(*engine, cache()))
        .collect();
    format!("| {} | {setup} | {} |", name(binary), cells.join(" | "))
}

fn name(binary: &ServerBinary) -> String {
    let (major, minor, _) = binary.version();
    let flavour = match binary.flavour() {
        Flavour::Valkey => "Valkey",
        _ => "Redis",
    };
    format!("{flavour} {major}.{minor}")
}

fn rows(binary: &ServerBinary) -> Vec<String> {
    let builder = || support::cache_builder();
    let start = |options: ServerOptions| options.start(binary).expect("the server starts");
    let single = Server::start(binary).expect("the server starts");
    let denied = start(ServerOptions::new().user("bob on >pw ~* +@all -@scripting"));
    let renamed = start(
        LUA_COMMANDS
            .iter()
            .fold(ServerOptions::new(), |options, command| {
                options.rename_command(command, "")
            }),
    );
    let cluster = Cluster::start(binary).expect("a Cluster");
    let trio = SentinelTrio::start(binary).expect("sentinels");
    vec![
        row(binary, "one server", || builder().url(single.url())),
        row(
            binary,
            "one server, an ACL user without `@scripting`",
            || builder().url(denied.url_as("bob", "pw")),
        ),
        row(
            binary,
            "one server, `EVAL`, `EVALSHA` and `SCRIPT` renamed to nothing",
            || builder().url(renamed.url()),
        ),
        row(binary, "a Cluster of 3 primaries, 3 replicas", || {
            builder().cluster(cluster.urls())
        }),
        row(binary, "a primary, 2 replicas, 3 sentinels", || {
            builder().sentinel(trio.name(), trio.urls())
        }),
    ]
}

#[test]
fn the_table_is_what_a_run_gives() {
    let binaries = ServerBinary::all();
    assert!(!binaries.is_empty(), "no server found: run `make servers`");
    let all = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for (n, binary) in binaries.iter().enumerate() {
            let all = &all;
            scope.spawn(move || {
                let rows = rows(binary);
                all.lock().expect("not poisoned").push((n, rows));
            });
        }
    });
    let mut all = all.into_inner().expect("not poisoned");
    all.sort();
    let rows: Vec<String> = all.into_iter().flat_map(|(_, rows)| rows).collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
    let text = fs::read_to_string(&page).expect("the page is there");
    if given("CACHETX_BLESS").is_some() {
        let kept = text.lines().filter(|line| !is_row(line));
        let mut lines: Vec<String> = kept.map(str::to_owned).collect();
        let head = lines.iter().position(|line| line.starts_with("| ---"));
        let at = head.expect("the table has a head") + 1;
        lines.splice(at..at, rows);
        fs::write(&page, lines.join("\n") + "\n").expect("written");
        return;
    }
    for row in rows {
        assert!(
            text.lines().any(|line| line == row),
            "{PAGE} lacks this row (CACHETX_BLESS=1 writes them):\n{row}"
        );
    }
}

fn is_row(line: &str) -> bool {
    line.starts_with("| Redis") || line.starts_with("| Valkey")
}
