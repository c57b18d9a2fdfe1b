//! Readers that load late: every interleaving of two of them and one writer, in memory and on each
//! engine of each server. Nobody fills what the writer has made out of date. The same check catches
//! the naive ways.

use crate::support::{self, Climate, RUN, key};
use cachetx::{
    Cache, CacheBuilder, Document, Engine, OnBusy, Params, Store,
    testing::{Server, ServerBinary},
};
use std::{
    sync::{
        Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};
use tempfile::TempDir;

const OLD: &[u8] = b"old";
const NEW: &[u8] = b"new";

/// Who takes a step: a reader begins (and gets the lease, or not), loads, and fills; the writer
/// changes the truth, then announces it to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    First,
    Second,
    Writer,
}

const STEPS: [(Who, usize); 3] = [(Who::First, 3), (Who::Second, 3), (Who::Writer, 2)];
/// 8! / (3! 3! 2!)
const INTERLEAVINGS: usize = 560;

/// All orders of the remaining steps.
fn interleavings(left: [usize; 3]) -> Vec<Vec<Who>> {
    if left == [0; 3] {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for (index, (who, _)) in STEPS.iter().enumerate().filter(|(i, _)| left[*i] > 0) {
        let mut rest = left;
        rest[index] -= 1;
        for mut order in interleavings(rest) {
            order.insert(0, *who);
            all.push(order);
        }
    }
    all
}

/// A way to keep a value in a cache.
trait Way: Sync {
    /// The value; `load` makes it if the cache has none.
    fn read(&self, load: &mut dyn FnMut() -> Vec<u8>) -> Vec<u8>;
    /// What is there for the next reader.
    fn peek(&self) -> Option<Vec<u8>>;
    /// The writer announces that the truth has changed.
    fn tell(&self);
    /// Restores the state before the first reader.
    fn empty(&self);
}

/// What a reader's thread reports after each of its steps.
enum Did {
    Called,
    Loaded,
    Returned(Vec<u8>),
}

/// A reader that waits for its turn at each step.
struct Reader {
    turn: Sender<()>,
    did: Receiver<Did>,
    value: Option<Vec<u8>>,
}

impl Reader {
    fn step(&mut self) {
        if self.value.is_some() {
            return;
        }
        self.turn.send(()).expect("the reader is there");
        if let Did::Returned(value) = self.did.recv().expect("the reader answers") {
            self.value = Some(value);
        }
    }
}

fn reader<'s>(
    scope: &'s thread::Scope<'s, '_>,
    way: &'s dyn Way,
    truth: &'s Mutex<&'static [u8]>,
) -> Reader {
    let (turn, turns) = mpsc::channel();
    let (tell, did) = mpsc::channel();
    scope.spawn(move || {
        let wait = || turns.recv().expect("a turn");
        let say = |what| tell.send(what).expect("the test listens");
        wait();
        let value = way.read(&mut || {
            say(Did::Called);
            wait();
            let loaded = truth.lock().unwrap().to_vec();
            say(Did::Loaded);
            wait();
            loaded
        });
        say(Did::Returned(value));
    });
    Reader {
        turn,
        did,
        value: None,
    }
}

/// Takes the steps in this order. The error is what a reader got, or finds, that is out of date.
fn run(way: &dyn Way, order: &[Who]) -> Result<(), String> {
    way.empty();
    let truth = Mutex::new(OLD);
    thread::scope(|scope| {
        let mut readers = [reader(scope, way, &truth), reader(scope, way, &truth)];
        let (mut taken, mut stale) = ([0; 2], None);
        let mut began_after = [false; 2];
        let mut changes = 0;
        for who in order {
            match who {
                Who::Writer if changes == 0 => *truth.lock().unwrap() = NEW,
                Who::Writer => way.tell(),
                Who::First | Who::Second => {
                    let index = usize::from(*who == Who::Second);
                    began_after[index] |= taken[index] == 0 && changes == 2;
                    taken[index] += 1;
                    readers[index].step();
                }
            }
            changes += usize::from(*who == Who::Writer);
            let found = (changes == 2).then(|| way.peek()).flatten();
            if found.is_some_and(|value| value != NEW) {
                stale = stale.or(Some(format!(
                    "the next reader finds the old value: {order:?}"
                )));
            }
        }
        for (reader, began_after) in std::iter::zip(&readers, began_after) {
            if began_after && reader.value.as_deref() != Some(NEW) {
                stale = stale.or(Some(format!(
                    "a late reader is given the old value: {order:?}"
                )));
            }
        }
        stale.map_or(Ok(()), Err)
    })
}

fn run_all(way: &dyn Way) -> Result<(), String> {
    let all = interleavings(STEPS.map(|(_, steps)| steps));
    assert_eq!(all.len(), INTERLEAVINGS);
    all.iter().try_for_each(|order| run(way, order))
}

fn params() -> Params {
    Params::new().with("run_id", RUN)
}

/// The library, with a writer that invalidates, or one that saves a document with the value as a
/// dependent.
struct Library {
    cache: Cache,
    document: Option<Document<Climate>>,
}

impl Way for Library {
    fn read(&self, load: &mut dyn FnMut() -> Vec<u8>) -> Vec<u8> {
        let value = self.cache.get_or_load("ash", &params(), || Ok(load()));
        value.expect("nothing stops a load").to_vec()
    }

    fn peek(&self) -> Option<Vec<u8>> {
        let value = self
            .cache
            .get("ash", &params())
            .expect("the server is there");
        value.map(|value| value.to_vec())
    }

    fn tell(&self) {
        match &self.document {
            None => {
                let outcome = self.cache.invalidate(["build_climate"], &params());
                assert!(outcome.expect("the rules have it").is_settled());
            }
            Some(document) => {
                let saved = document.lock().expect("the lock is free");
                let outcome = saved.dump_and_unlock_with_transaction(["build_climate"]);
                assert!(outcome.expect("it is saved").cache.is_settled());
            }
        }
    }

    fn empty(&self) {
        let outcome = self.cache.invalidate(["build_climate"], &params());
        assert!(outcome.expect("the rules have it").is_settled());
    }
}

/// Checks both writers on one cache.
fn holds_on(builder: CacheBuilder, name: &str) {
    // In memory if possible: the time to sync a file makes no difference here.
    let root = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
    let root = root.expect("a folder");
    // A second reader that waits would not take its turn.
    let cache = builder
        .on_busy(OnBusy::LoadWithoutFilling)
        .open()
        .expect("the cache opens");
    let store = Store::builder(&cache)
        .root(root.path())
        .open()
        .expect("a store");
    let document: Document<Climate> = store.document(RUN, "climate").expect("a document");
    document.create(&Climate::of(1)).expect("a new document");
    for document in [None, Some(document)] {
        let saves = document.is_some();
        let cache = cache.clone();
        if let Err(why) = run_all(&Library { cache, document }) {
            panic!("{name}, saves: {saves}: {why}");
        }
    }
    let stats = cache.stats();
    assert!(stats.fills > 100 && stats.fills_refused > 100, "{stats:?}");
}

#[test]
fn no_interleaving_fills_what_is_out_of_date_in_memory() {
    holds_on(support::cache_builder().in_memory(), "in memory");
}

#[test]
fn no_interleaving_fills_what_is_out_of_date_on_any_server() {
    for binary in ServerBinary::all() {
        let server = Server::start(binary).expect("the server starts");
        for engine in [Engine::Script, Engine::Function, Engine::Watch] {
            if engine == Engine::Function && binary.version().0 < 7 {
                support::skipped("late loaders by Function", &format!("{binary} has none"));
                continue;
            }
            let builder = support::cache_builder()
                .url(server.unix_url())
                .engine(engine);
            holds_on(builder, &format!("{engine:?} on {binary}"));
        }
    }
}

/// What programs do by hand.
struct ByHand {
    cache: Cache,
    server: Server,
    /// Takes a lease as the library does, but sets the value without checking it.
    leases: bool,
}

impl ByHand {
    fn redis(&self) -> redis::Connection {
        support::connect(&self.server)
    }
}

impl Way for ByHand {
    fn read(&self, load: &mut dyn FnMut() -> Vec<u8>) -> Vec<u8> {
        if let Some(value) = self.peek() {
            return value;
        }
        let (leases, value) = (format!("{{{RUN}}}:cachetx:leases"), key("ash"));
        let mut redis = self.redis();
        let free: bool = redis::cmd("HSETNX")
            .arg(&[&leases, &value, "l:t:9999999999999"])
            .query(&mut redis)
            .expect("HSETNX");
        let loaded = load();
        if free || !self.leases {
            support::set(&mut redis, &value, &loaded);
        }
        loaded
    }

    fn peek(&self) -> Option<Vec<u8>> {
        support::get(&mut self.redis(), &key("ash"))
    }

    fn tell(&self) {
        let outcome = self.cache.invalidate(["build_climate"], &params());
        assert!(outcome.expect("the rules have it").is_settled());
    }

    fn empty(&self) {
        self.tell();
    }
}

#[test]
fn the_check_catches_loads_without_a_lease_and_fills_that_do_not_look_at_it() {
    for leases in [false, true] {
        let server = Server::start(support::any_binary()).expect("the server starts");
        let cache = support::cache_builder().url(server.unix_url());
        let cache = cache.open().expect("the cache opens");
        let by_hand = ByHand {
            cache,
            server,
            leases,
        };
        let why = run_all(&by_hand).expect_err("a late loader fills what is out of date");
        assert!(why.contains("finds the old value"), "{why}");
    }
}
