//! Entries that are loaded again before they expire, if a cache has that option.

use crate::support::{self, Climate, RUN, key, pttl, until};
use cachetx::{
    Cache, CacheBuilder, Document, Engine, Params, PutOutcome, Store,
    testing::{MemoryServer, Server, ServerBinary},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};
use tempfile::TempDir;

const LEASES: &str = "{copacetic-sled}:cachetx:leases";
const EARLY: Duration = Duration::from_secs(60);
/// Less than `EARLY`.
const NEAR_THE_END_MS: u64 = 30_000;
/// The rules' default.
const TTL_MS: i64 = 72 * 3_600 * 1_000;

fn params() -> Params {
    Params::new().with("run_id", RUN)
}

/// A cache on every server found, with every engine that it has.
fn on_every_engine(
    options: impl Fn(CacheBuilder) -> CacheBuilder,
    test: impl Fn(&Cache, &Server, Engine),
) {
    let binaries = ServerBinary::all();
    assert!(!binaries.is_empty(), "no server found: run `make servers`");
    for binary in binaries {
        let server = Server::start(binary).expect("the server starts");
        for engine in [Engine::Script, Engine::Function, Engine::Watch] {
            if engine == Engine::Function && binary.version().0 < 7 {
                support::skipped("load options by Function", &format!("{binary} has none"));
                continue;
            }
            eprintln!("on {binary}, {engine:?}");
            // No renewal of a lease may be counted as a load's round trip.
            let builder = support::cache_builder()
                .url(server.url())
                .engine(engine)
                .lease_ttl(Duration::from_secs(3_600));
            let cache = options(builder).open().expect("the cache opens");
            empty(&cache);
            test(&cache, &server, engine);
        }
    }
}

fn early(builder: CacheBuilder) -> CacheBuilder {
    builder.early_refresh(EARLY)
}

fn empty(cache: &Cache) {
    let outcome = cache.invalidate(["build_climate"], &params());
    assert!(outcome.expect("the rules have it").is_settled());
}

/// The value of a reader that loads `loaded` if it has to.
fn load(cache: &Cache, loaded: &str) -> String {
    text(cache.get_or_load("ash", &params(), || Ok(loaded.as_bytes())))
}

/// The value of a reader that must not load.
fn found(cache: &Cache) -> String {
    text(
        cache.get_or_load("ash", &params(), || -> Result<Vec<u8>, _> {
            panic!("the loader was called")
        }),
    )
}

fn text(value: cachetx::Result<std::sync::Arc<[u8]>>) -> String {
    String::from_utf8(value.expect("there is a value").to_vec()).expect("text")
}

fn get(cache: &Cache) -> Option<String> {
    let value = cache.get("ash", &params());
    value
        .expect("the server is there")
        .map(|value| String::from_utf8(value.to_vec()).expect("text"))
}

/// Shortens the entry's life to near its end.
fn near_the_end(redis: &mut redis::Connection) {
    for key in [key("ash"), key("ash") + ":stamp"] {
        redis::cmd("PEXPIRE")
            .arg(key)
            .arg(NEAR_THE_END_MS)
            .exec(redis)
            .expect("PEXPIRE");
    }
}

fn in_flight(redis: &mut redis::Connection) -> bool {
    redis::cmd("EXISTS")
        .arg(LEASES)
        .query(redis)
        .expect("EXISTS")
}

#[test]
fn near_its_end_an_entry_is_loaded_anew_and_filled() {
    on_every_engine(early, |cache, server, engine| {
        let mut redis = support::connect(server);
        assert_eq!(load(cache, "first"), "first");
        assert_eq!(found(cache), "first", "it has its whole life before it");
        near_the_end(&mut redis);
        let trips = cache.stats().round_trips;
        assert_eq!(load(cache, "second"), "second");
        if engine != Engine::Watch {
            assert_eq!(cache.stats().round_trips - trips, 3);
        }
        assert_eq!(found(cache), "second");
        assert!(pttl(&mut redis, &key("ash")) > TTL_MS / 2);
        assert!(!in_flight(&mut redis));
        let stats = cache.stats();
        assert_eq!(
            (stats.loads, stats.fills, stats.hits),
            (2, 2, 2),
            "{stats:?}"
        );
    });
}

#[test]
fn by_default_nothing_is_loaded_early_and_a_hit_asks_for_nothing_more() {
    for (options, life_asked) in [(None, false), (Some(EARLY), true)] {
        let with = |builder: CacheBuilder| match options {
            Some(left) => builder.early_refresh(left),
            None => builder,
        };
        on_every_engine(with, |cache, server, _| {
            let mut redis = support::connect(server);
            load(cache, "first");
            redis::cmd("CONFIG")
                .arg("RESETSTAT")
                .exec(&mut redis)
                .expect("CONFIG");
            let trips = cache.stats().round_trips;
            assert_eq!(found(cache), "first");
            assert_eq!(cache.stats().round_trips - trips, 1);
            let called: String = redis::cmd("INFO")
                .arg("commandstats")
                .query(&mut redis)
                .expect("INFO");
            assert!(called.contains("cmdstat_mget:calls=1,"), "{called}");
            assert_eq!(called.contains("cmdstat_pttl:"), life_asked, "{called}");

            near_the_end(&mut redis);
            let next = load(cache, "second");
            assert_eq!(next, if life_asked { "second" } else { "first" });
        });
    }
}

/// A way to read a value that is near its end.
trait Way: Sync {
    fn read(&self, load: &(dyn Fn() -> &'static str + Sync)) -> String;
    /// What is there for the next reader.
    fn peek(&self) -> Option<String>;
    /// An entry near its end.
    fn prepare(&self);
    /// The writer announces that the truth has changed.
    fn tell(&self);
}

struct Library<'a> {
    cache: &'a Cache,
    server: &'a Server,
    /// The writer saves this document, which has the value as a dependent; without one it
    /// invalidates.
    document: Option<Document<Climate>>,
}

impl Way for Library<'_> {
    fn read(&self, load: &(dyn Fn() -> &'static str + Sync)) -> String {
        let load = || Ok(load().as_bytes());
        text(self.cache.get_or_load("ash", &params(), load))
    }

    fn peek(&self) -> Option<String> {
        get(self.cache)
    }

    fn prepare(&self) {
        empty(self.cache);
        load(self.cache, "present");
        near_the_end(&mut support::connect(self.server));
    }

    fn tell(&self) {
        match &self.document {
            None => empty(self.cache),
            Some(document) => {
                let held = document.lock().expect("the lock is free");
                let outcome = held.dump_and_unlock_with_transaction(["build_climate"]);
                assert!(outcome.expect("it is saved").cache.is_settled());
            }
        }
    }
}

/// GET and PTTL; if little time is left, load and SET.
struct ByHand<'a>(&'a Library<'a>);

impl Way for ByHand<'_> {
    fn read(&self, load: &(dyn Fn() -> &'static str + Sync)) -> String {
        let mut redis = support::connect(self.0.server);
        let present = support::get(&mut redis, &key("ash")).expect("it is there");
        if pttl(&mut redis, &key("ash")) > EARLY.as_millis() as i64 {
            return String::from_utf8(present).expect("text");
        }
        let loaded = load();
        support::set(&mut redis, &key("ash"), loaded.as_bytes());
        loaded.to_owned()
    }

    fn peek(&self) -> Option<String> {
        let value = support::get(&mut support::connect(self.0.server), &key("ash"))?;
        Some(String::from_utf8(value).expect("text"))
    }

    fn prepare(&self) {
        self.0.prepare();
    }

    fn tell(&self) {
        self.0.tell();
    }
}

const READERS: usize = 8;

/// How many of many readers load. None is done before each of the others has its value or loads
/// too.
fn refreshers(way: &dyn Way) -> usize {
    way.prepare();
    let (start, loading, returned) = (
        Barrier::new(READERS),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                start.wait();
                let value = way.read(&|| {
                    loading.fetch_add(1, SeqCst);
                    until("each other reader has a value or loads", || {
                        loading.load(SeqCst) + returned.load(SeqCst) == READERS
                    });
                    "new"
                });
                if value == "present" {
                    returned.fetch_add(1, SeqCst);
                }
            });
        }
    });
    assert_eq!(way.peek().as_deref(), Some("new"));
    loading.load(SeqCst)
}

#[test]
fn one_of_many_readers_loads_anew_and_the_others_get_the_present_value() {
    on_every_engine(early, |cache, server, _| {
        let library = Library {
            cache,
            server,
            document: None,
        };
        assert_eq!(refreshers(&library), 1);
        assert_eq!(refreshers(&ByHand(&library)), READERS, "the naive way");
    });
}

/// What the next reader finds after a writer's announcement during an early load, and what that
/// load's caller got.
fn changed_meanwhile(way: &dyn Way) -> (Option<String>, String) {
    way.prepare();
    let got = way.read(&|| {
        way.tell();
        "loaded before"
    });
    (way.peek(), got)
}

#[test]
fn a_change_during_an_early_load_refuses_its_fill() {
    on_every_engine(early, |cache, server, _| {
        let root = TempDir::new().expect("a folder");
        let store = Store::builder(cache).root(root.path()).open();
        let climate = store.expect("a store").document(RUN, "climate");
        let climate: Document<Climate> = climate.expect("a document");
        climate.create(&Climate::of(1)).expect("a new document");
        for document in [None, Some(climate)] {
            let library = Library {
                cache,
                server,
                document,
            };
            let got = "loaded before".to_owned();
            assert_eq!(changed_meanwhile(&library), (None, got.clone()));
            let by_hand = changed_meanwhile(&ByHand(&library));
            assert_eq!(by_hand, (Some(got.clone()), got), "the naive way is stale");
        }
        assert_eq!(cache.stats().fills_refused, 2);
    });
}

/// What a reader gets whose loader fails: a value, or the caller's own error.
fn fail(cache: &Cache, before: impl FnOnce()) -> Result<String, String> {
    let value = cache.get_or_load("ash", &params(), || {
        before();
        Err::<Vec<u8>, _>("no such luck".into())
    });
    match value {
        Ok(value) => Ok(text(Ok(value))),
        Err(e) => Err(e.caller().expect("the loader's own").to_string()),
    }
}

#[test]
fn an_early_load_that_fails_leaves_the_present_value() {
    on_every_engine(early, |cache, server, _| {
        let mut redis = support::connect(server);
        load(cache, "present");
        near_the_end(&mut redis);
        assert_eq!(fail(cache, || {}).as_deref(), Ok("present"));
        assert!(!in_flight(&mut redis), "a lease is left");
        let panicked = catch_unwind(AssertUnwindSafe(|| fail(cache, || panic!("its own"))));
        assert!(panicked.is_err());
        assert!(!in_flight(&mut redis), "a lease is left");
        assert_eq!(load(cache, "new"), "new", "the next reader tries again");

        // Not the value that was there when the load began.
        let failed = Err("no such luck".to_owned());
        near_the_end(&mut redis);
        assert_eq!(fail(cache, || empty(cache)), failed);
        load(cache, "present");
        near_the_end(&mut redis);
        let put = || {
            let put = cache.put("ash", &params(), *b"put");
            assert_eq!(put.expect("it is there"), PutOutcome::Set);
        };
        assert_eq!(fail(cache, put).as_deref(), Ok("put"));
        empty(cache);
        assert_eq!(
            fail(cache, || {}),
            failed,
            "nothing is there to fall back on"
        );
    });
}

#[test]
fn without_the_lease_a_reader_is_content_with_the_present_value() {
    on_every_engine(early, |cache, server, _| {
        let mut redis = support::connect(server);
        load(cache, "present");
        near_the_end(&mut redis);
        for owner in ["l:somebody", "w:writer", "w:*"] {
            let field = (LEASES, key("ash"), format!("{owner}:9999999999999"));
            redis::cmd("HSET")
                .arg(field)
                .exec(&mut redis)
                .expect("HSET");
            assert_eq!(found(cache), "present", "{owner}");
        }
        redis::cmd("DEL").arg(LEASES).exec(&mut redis).expect("DEL");
        let full = |redis: &mut redis::Connection, bytes: &str| {
            let line = ["SET", "maxmemory", bytes];
            redis::cmd("CONFIG").arg(&line).exec(redis).expect("CONFIG");
        };
        full(&mut redis, "1");
        let kept = found(cache);
        full(&mut redis, "0");
        assert_eq!(kept, "present");

        // A dead reader's lease counts for nobody.
        let field = (LEASES, key("ash"), "l:somebody:9");
        redis::cmd("HSET")
            .arg(field)
            .exec(&mut redis)
            .expect("HSET");
        assert_eq!(load(cache, "new"), "new");
    });
}

#[test]
fn in_memory_the_options_do_the_same() {
    let server = MemoryServer::with_manual_clock();
    let whole = Duration::from_millis(TTL_MS as u64);
    let cache = support::cache_builder().memory_server(&server);
    let cache = cache.early_refresh(EARLY).open().expect("it opens");
    load(&cache, "first");
    server.advance(whole - EARLY - Duration::from_millis(1));
    assert_eq!(found(&cache), "first");
    server.advance(Duration::from_millis(1));
    let got = text(cache.get_or_load("ash", &params(), || {
        assert_eq!(found(&cache), "first", "another reader, meanwhile");
        Ok("second".as_bytes())
    }));
    assert_eq!(got, "second");
    server.advance(whole - EARLY);
    assert_eq!(fail(&cache, || {}).as_deref(), Ok("second"));
    // The value that is there when the load begins expires before the load fails.
    let ended = fail(&cache, || server.advance(EARLY));
    assert_eq!(ended, Err("no such luck".to_owned()));
    load(&cache, "third");
    server.advance(whole - EARLY);
    let away = fail(&cache, || server.stop());
    server.start();
    assert_eq!(away, Err("no such luck".to_owned()), "nobody knows");

    // At most half of a life counts as early, however long the option is.
    let cache = support::cache_builder().in_memory();
    let cache = cache.early_refresh(Duration::MAX).open().expect("it opens");
    load(&cache, "first");
    assert_eq!(found(&cache), "first");
}
