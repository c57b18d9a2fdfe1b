//! The engine on real servers: every test runs on each server of this machine, each time on its own
//! instance.

mod acl;
mod boot;
mod commit;
mod cuts;
mod faults;
mod foreign;
mod free;
mod headers;
mod histories;
mod invalidate;
mod loading;
mod lock_database;
mod locks;
mod mutations;
mod prepare;
mod search;
mod state;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod watch;
mod whole;

use super::{
    Engine, Performer as _, ServerConfig, ServerEngine,
    failure::Failure,
    net::{Net, now},
    node::{Asking, Miss, Node, Work},
    session::Session,
    source::Scripts,
};
use crate::{
    model::{Entry, Lock, Stamp},
    op::{
        Acquire, AcquireReply, Ask, Commit, CommitReply, Extend, Fault, Fill, GiveBack, Invalidate,
        InvalidateReply, Lease, Own, Prepare, Raise, Read,
        keys::{leases, sibling},
    },
    testing::{Server, ServerBinary, ServerOptions},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Once},
};

/// The servers that the tests are made for; a missing one is reported as skipped, by name.
const EXPECTED: [&str; 4] = ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"];

/// The size of a big value in bytes.
const BIG: usize = 8 << 10;

/// All engines, and those that run Lua on the server.
const ENGINES: &[Engine] = &[Engine::Script, Engine::Function, Engine::Watch];
const LUA: &[Engine] = &[Engine::Script, Engine::Function];

/// The test's own server, and an engine on it.
struct Bed {
    server: Server,
    kind: Engine,
    engine: ServerEngine,
    /// A plain connection, to prepare and inspect.
    plain: redis::Connection,
}

/// If `CACHETX_TASKS` is set, all tests of the engine run in tasks.
#[cfg(feature = "tokio")]
pub(super) fn tasks() -> Option<&'static tokio::runtime::Runtime> {
    static RUNTIME: std::sync::OnceLock<Option<tokio::runtime::Runtime>> =
        std::sync::OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| {
        std::env::var_os("CACHETX_TASKS")?;
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        Some(builder.worker_threads(2).enable_all().build().unwrap())
    });
    runtime.as_ref()
}

/// Whether they run in tasks.
fn by_tasks() -> bool {
    #[cfg(feature = "tokio")]
    return tasks().is_some();
    #[cfg(not(feature = "tokio"))]
    false
}

/// Work that a test writes as a closure.
struct ByHand<F>(F);

impl<T, F> Work for ByHand<F>
where
    T: Send,
    F: FnMut(&mut Session<'_>) -> Result<T, Failure> + Send,
{
    type Done = T;

    async fn run(&mut self, _: &Node, session: &mut Session<'_>) -> Result<T, Failure> {
        (self.0)(session)
    }
}

impl Node {
    /// Runs `work` as an operation on a standalone server.
    fn with<T: Send>(
        &self,
        work: impl FnMut(&mut Session<'_>) -> Result<T, Failure> + Send,
    ) -> Result<T, Miss> {
        now(self.attempt(Net::Threads, Asking::No, &mut ByHand(work)))
    }
}

/// Runs `test` on every server, in every engine.
fn on_every_server(test: impl Fn(&mut Bed)) {
    on_every_server_with(ENGINES, |_| Some(ServerOptions::new()), test);
}

/// The same in some engines only.
fn on_every_server_in(engines: &[Engine], test: impl Fn(&mut Bed)) {
    on_every_server_with(engines, |_| Some(ServerOptions::new()), test);
}

/// The same with options; `None` skips a server, and prints the reason itself.
fn on_every_server_with(
    engines: &[Engine],
    options: impl Fn(&ServerBinary) -> Option<ServerOptions>,
    test: impl Fn(&mut Bed),
) {
    for binary in servers() {
        for engine in engines.iter().filter(|engine| has(binary, **engine)) {
            if let Some(options) = options(binary) {
                let mut bed = Bed::new(options.start(binary).unwrap(), *engine);
                eprintln!("on {binary}, {engine:?}");
                test(&mut bed);
            }
        }
    }
}

/// Redis has functions from 7.0 on; Valkey always had them.
fn has(binary: &ServerBinary, engine: Engine) -> bool {
    engine != Engine::Function || binary.version().0 >= 7
}

fn servers() -> &'static [ServerBinary] {
    static TOLD: Once = Once::new();
    let all = ServerBinary::all();
    TOLD.call_once(|| {
        for name in EXPECTED {
            if !all.iter().any(|b| b.to_string().starts_with(name)) {
                eprintln!("skipped: no {name} on this machine (make servers)");
            }
        }
    });
    assert!(
        !all.is_empty(),
        "no server on this machine: run make servers"
    );
    all
}

impl Bed {
    fn new(server: Server, kind: Engine) -> Self {
        let engine = ServerEngine::open(config(server.url(), kind)).unwrap();
        let plain = plain(&server.unix_url());
        Self {
            server,
            kind,
            engine,
            plain,
        }
    }

    /// A config for the bed's engine on its server.
    fn config(&self) -> ServerConfig {
        self.config_at(self.server.url())
    }

    /// The same at another URL: through a proxy, or as another user.
    fn config_at(&self, url: String) -> ServerConfig {
        config(url, self.kind)
    }

    /// Round trips of an operation that writes.
    fn trips(&self) -> u64 {
        match self.kind {
            Engine::Watch => 2,
            _ => 1,
        }
    }

    fn run<A: Ask>(&self, ask: A) -> A::Reply {
        run(&self.engine, ask).unwrap()
    }

    fn try_run<A: Ask>(&self, ask: A) -> Result<A::Reply, Fault> {
        run(&self.engine, ask)
    }

    /// A command that must work, on the plain connection.
    fn cmd<T: redis::FromRedisValue>(&mut self, line: &[&str]) -> T {
        cmd(&mut self.plain, line)
    }

    fn get(&mut self, key: &str) -> Option<String> {
        self.cmd(&["GET", key])
    }

    fn pttl(&mut self, key: &str) -> i64 {
        self.cmd(&["PTTL", key])
    }

    fn exists(&mut self, key: &str) -> bool {
        self.cmd(&["EXISTS", key])
    }

    /// Every key with its content and whether it expires.
    fn dump(&mut self) -> BTreeMap<String, (Vec<u8>, bool)> {
        let keys: Vec<String> = self.cmd(&["KEYS", "*"]);
        let entries = keys.into_iter().map(|key| {
            let content = self.cmd(&["DUMP", &key]);
            let expires = self.pttl(&key) > 0;
            (key, (content, expires))
        });
        entries.collect()
    }

    /// Opens the connections that a task needs: a shared one, and one for big values.
    fn warm(&mut self) {
        self.run(read("own"));
        self.hold();
        let big = Commit {
            id: "warm".to_owned(),
            ..commit(&vec![b'x'; 1 << 20], &[])
        };
        assert_eq!(self.run(big), committed(0));
    }

    /// Acquires `lock("l")` as its holder.
    fn hold(&mut self) -> Lock {
        let reply = self.run(acquire("l", "me", 0));
        assert!(matches!(reply, AcquireReply::Acquired { .. }), "{reply:?}");
        lock("l", "me")
    }
}

/// A dump without the fences, which may grow unused.
fn without_fences<T>(mut dump: BTreeMap<String, T>) -> BTreeMap<String, T> {
    dump.retain(|key, _| !key.ends_with(":fence"));
    dump
}

fn config(url: String, engine: Engine) -> ServerConfig {
    ServerConfig {
        engine,
        ..ServerConfig::new(url)
    }
}

/// Options with a user "bob" besides the default one; `rule` follows his name and password.
fn bob(rule: &str) -> ServerOptions {
    ServerOptions::new()
        .user("default on nopass ~* +@all")
        .user(&format!("bob on >pw {rule}"))
}

fn run<A: Ask>(engine: &ServerEngine, ask: A) -> Result<A::Reply, Fault> {
    let reply = engine.perform(&ask.into_op())?;
    Ok(A::reply(reply).expect("the reply of the operation"))
}

fn plain(url: &str) -> redis::Connection {
    let client = redis::Client::open(url).unwrap();
    client.get_connection().unwrap()
}

fn cmd<T: redis::FromRedisValue>(connection: &mut redis::Connection, line: &[&str]) -> T {
    let mut command = redis::cmd(line[0]);
    command.arg(&line[1..]);
    command
        .query(connection)
        .unwrap_or_else(|e| panic!("{line:?}: {e}"))
}

fn lock(key: &str, value: &str) -> Lock {
    Lock {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

fn acquire(key: &str, value: &str, floor: u64) -> Acquire {
    Acquire {
        lock: lock(key, value),
        fence_key: sibling(key, "fence"),
        ttl_ms: 60_000,
        floor,
    }
}

fn entry(value: &str) -> Entry {
    Entry {
        value: value.into(),
        leases: Arc::from(leases(value, Some("run"))),
    }
}

fn own(value: &str, bytes: &[u8]) -> Own {
    Own {
        entry: entry(value),
        bytes: Arc::from(bytes),
        stamp: Stamp {
            mtime_ns: 5,
            size: bytes.len() as u64,
            inode: 7,
        },
        ttl_ms: 100_000,
        over: None,
    }
}

/// Says that a file later than those of [`own`] was deleted.
fn raise(value: &str) -> Raise {
    let stamp = own(value, b"").stamp;
    Raise {
        value: value.into(),
        stamp: Stamp {
            mtime_ns: stamp.mtime_ns + 1,
            ..stamp
        },
        ttl_ms: 100_000,
    }
}

/// A commit of "own" under the lock of [`Bed::hold`].
fn commit(bytes: &[u8], dependents: &[&str]) -> Commit {
    Commit {
        id: "c1".to_owned(),
        locks: vec![lock("l", "me")],
        own: vec![own("own", bytes)],
        dependents: dependents.iter().map(|value| entry(value)).collect(),
        release: true,
        token: String::new(),
        wait: None,
    }
}

/// Marks with the token "w", under the lock of [`Bed::hold`].
fn prepare(values: &[&str]) -> Prepare {
    Prepare {
        locks: vec![lock("l", "me")],
        entries: values.iter().map(|value| entry(value)).collect(),
        token: "w".to_owned(),
        ttl_ms: 30_000,
    }
}

fn invalidate(values: &[&str]) -> Invalidate {
    Invalidate {
        entries: values.iter().map(|value| entry(value)).collect(),
        raises: Vec::new(),
        token: String::new(),
        release: None,
    }
}

/// As a document's readers ask, who do not need the life.
fn read(value: &str) -> Read {
    Read {
        entry: entry(value),
        life: false,
    }
}

/// The request of a reader with the token "t", for a value without a file.
fn lease(value: &str) -> Lease {
    Lease {
        entry: entry(value),
        token: "t".to_owned(),
        ttl_ms: 10_000,
        wanted: None,
        refused: None,
    }
}

fn extend(value: &str) -> Extend {
    Extend {
        entry: entry(value),
        token: "t".to_owned(),
        ttl_ms: 10_000,
    }
}

fn give_back(value: &str) -> GiveBack {
    GiveBack {
        entry: entry(value),
        token: "t".to_owned(),
    }
}

fn fill(value: &str, bytes: &[u8]) -> Fill {
    Fill {
        entry: entry(value),
        token: "t".to_owned(),
        bytes: Arc::from(bytes),
        stamp: None,
        ttl_ms: 100_000,
    }
}

fn committed(removed: u64) -> CommitReply {
    CommitReply::Committed { removed }
}

fn removed(removed: u64) -> InvalidateReply {
    InvalidateReply::Removed(removed)
}

/// The message of a refusal that surely did nothing.
fn refusal<T: std::fmt::Debug>(result: Result<T, Fault>) -> String {
    match result {
        Err(Fault::NotDone(e)) => e.to_string(),
        other => panic!("a refusal was expected: {other:?}"),
    }
}
