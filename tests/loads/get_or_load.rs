//! Values that are loaded on a miss: one loader at a time, its lease given back or kept, and no
//! foreign value taken for current.

use crate::support::{self, RUN, World, key, until};
use cachetx::{
    Cache, Effect, OnBusy, Params, PutOutcome,
    testing::{MemoryServer, Server, ServerBinary},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering::SeqCst},
        mpsc,
    },
    thread,
    time::Duration,
};

const LEASES: &str = "{copacetic-sled}:cachetx:leases";

fn params() -> Params {
    Params::new().with("run_id", RUN)
}

fn in_memory(server: &MemoryServer, on_busy: OnBusy) -> Cache {
    let builder = support::cache_builder().memory_server(server);
    builder.on_busy(on_busy).open().expect("it opens")
}

/// A cache on every server found, with its preferred engine.
fn on_every_server(on_busy: OnBusy, test: impl Fn(&Cache, &Server)) {
    for binary in ServerBinary::all() {
        let server = Server::start(binary).expect("the server starts");
        let builder = support::cache_builder().url(server.url()).on_busy(on_busy);
        eprintln!("on {binary}");
        test(&builder.open().expect("the cache opens"), &server);
    }
}

/// The value of a reader that loads `loaded` if it has to.
fn load(cache: &Cache, loaded: &str) -> Vec<u8> {
    let value = cache.get_or_load("ash", &params(), || Ok(loaded.as_bytes()));
    value.expect("nothing stops a load").to_vec()
}

fn get(cache: &Cache) -> Option<Vec<u8>> {
    let value = cache.get("ash", &params()).expect("the server is there");
    value.map(|value| value.to_vec())
}

#[test]
fn one_reader_loads_and_the_others_wait_for_it() {
    const READERS: usize = 8;
    on_every_server(OnBusy::Wait(Duration::from_secs(60)), |cache, _| {
        let (start, loads) = (Barrier::new(READERS), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..READERS {
                scope.spawn(|| {
                    start.wait();
                    let value = cache.get_or_load("ash", &params(), || {
                        loads.fetch_add(1, SeqCst);
                        thread::sleep(Duration::from_millis(20));
                        Ok("loaded".as_bytes())
                    });
                    assert_eq!(&*value.expect("it is loaded"), b"loaded");
                });
            }
        });
        assert_eq!(loads.load(SeqCst), 1);
        let stats = cache.stats();
        assert_eq!(
            (stats.loads, stats.hits, stats.fills),
            (1, 7, 1),
            "{stats:?}"
        );
    });
}

#[test]
fn a_waiter_does_not_take_what_was_loaded_over_an_invalidation() {
    let server = MemoryServer::new();
    let cache = in_memory(&server, OnBusy::Wait(Duration::from_secs(60)));
    let (began, begins) = mpsc::channel();
    let (go, goes) = mpsc::channel();
    thread::scope(|scope| {
        let late = scope.spawn(|| {
            let value = cache.get_or_load("ash", &params(), move || {
                began.send(())?;
                goes.recv()?;
                Ok("old".as_bytes())
            });
            value.expect("it is loaded").to_vec()
        });
        begins.recv().expect("the first one loads");
        let waiter = scope.spawn(|| load(&cache, "new"));
        // The waiter has looked at the lease and seen that another reader has it.
        let asked = cache.stats().round_trips;
        until("the waiter has asked again and again", || {
            cache.stats().round_trips > asked + 4
        });
        cache
            .invalidate(["build_climate"], &params())
            .expect("it is known");
        assert_eq!(waiter.join().expect("it ends"), b"new");
        go.send(()).expect("the first one is there");
        assert_eq!(late.join().expect("it ends"), b"old");
    });
    assert_eq!(get(&cache).as_deref(), Some(&b"new"[..]));
    assert_eq!(cache.stats().fills_refused, 1);
}

#[test]
fn a_wait_is_bounded_and_ends_in_a_load_that_is_not_filled() {
    on_every_server(OnBusy::Wait(Duration::from_millis(30)), |cache, server| {
        let mut redis = support::connect(server);
        for (owner, expires, fills) in [
            ("l:somebody", "9999999999999", 0),
            // A writer between its prepare and its commit.
            ("w:somebody", "9999999999999", 0),
            ("w:*", "9999999999999", 0),
            // A dead reader's lease has expired.
            ("l:somebody", "9", 1),
        ] {
            let field = (LEASES, key("ash"), format!("{owner}:{expires}"));
            redis::cmd("HSET")
                .arg(field)
                .exec(&mut redis)
                .expect("HSET");
            let before = cache.stats().fills;
            assert_eq!(load(cache, "mine"), b"mine");
            assert_eq!(cache.stats().fills - before, fills, "{owner}:{expires}");
            assert_eq!(get(cache).is_some(), fills == 1);
        }
    });
}

#[test]
fn a_loader_that_fails_or_panics_gives_its_lease_back() {
    on_every_server(OnBusy::LoadWithoutFilling, |cache, server| {
        let failed = cache.get_or_load("ash", &params(), || {
            Err::<Vec<u8>, _>("no such luck".into())
        });
        let error = failed.expect_err("the loader failed");
        assert_eq!(
            error.caller().map(ToString::to_string).as_deref(),
            Some("no such luck")
        );
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            cache.get_or_load("ash", &params(), || -> Result<Vec<u8>, _> {
                panic!("a loader's own")
            })
        }));
        assert!(panicked.is_err());
        let left: bool = redis::cmd("EXISTS")
            .arg(LEASES)
            .query(&mut support::connect(server))
            .expect("EXISTS");
        assert!(!left, "a lease is left");
        assert_eq!(load(cache, "loaded"), b"loaded");
        assert_eq!(get(cache).as_deref(), Some(&b"loaded"[..]));
    });
}

#[test]
fn a_lease_is_renewed_while_its_loader_runs() {
    let server = Server::start(support::any_binary()).expect("the server starts");
    let cache = support::cache_builder()
        .url(server.url())
        .lease_ttl(Duration::from_millis(300))
        .on_busy(OnBusy::LoadWithoutFilling)
        .open()
        .expect("the cache opens");
    let expires = || -> u64 {
        let text: Option<String> = redis::cmd("HGET")
            .arg(&[LEASES, &key("ash")])
            .query(&mut support::connect(&server))
            .expect("HGET");
        let text = text.expect("the loader has a lease");
        let (_, expires) = text.rsplit_once(':').expect("an end");
        expires.parse().expect("a time")
    };
    let value = cache.get_or_load("ash", &params(), || {
        let first = expires();
        until("the lease has outlived itself", || expires() > first + 300);
        assert_eq!(load(&cache, "another's"), b"another's", "it does not fill");
        Ok("mine".as_bytes())
    });
    assert_eq!(&*value.expect("it is loaded"), b"mine");
    assert_eq!(get(&cache).as_deref(), Some(&b"mine"[..]));
    assert_eq!(cache.stats().fills, 1);
}

#[test]
fn a_server_that_is_away_fails_no_load() {
    let server = MemoryServer::new();
    let cache = in_memory(&server, OnBusy::Wait(Duration::from_secs(60)));
    server.stop();
    assert_eq!(load(&cache, "loaded"), b"loaded");
    assert!(
        cache
            .get("ash", &params())
            .expect_err("it is away")
            .is_unavailable()
    );
    let put = cache
        .put("ash", &params(), *b"put")
        .expect_err("it is away");
    assert!(put.is_unavailable() && put.effect() == Effect::None);
    server.start();
    assert_eq!(get(&cache), None, "nothing was filled");

    // The server stops while the loader runs.
    let value = cache.get_or_load("ash", &params(), || {
        server.stop();
        Ok("loaded".as_bytes())
    });
    assert_eq!(&*value.expect("it is loaded"), b"loaded");
    server.start();
    assert_eq!(get(&cache), None);
    assert_eq!(cache.stats().fills, 0);
}

#[test]
fn a_foreign_set_is_never_taken_for_current() {
    on_every_server(OnBusy::LoadWithoutFilling, |cache, server| {
        let mut redis = support::connect(server);
        support::set(&mut redis, &key("ash"), b"foreign");
        assert_eq!(get(cache), None);
        assert_eq!(load(cache, "first"), b"first");
        support::set(&mut redis, &key("ash"), b"foreign");
        assert_eq!(get(cache), None);
        assert_eq!(load(cache, "second"), b"second");
        assert_eq!(
            support::get(&mut redis, &key("ash")).as_deref(),
            Some(&b"second"[..])
        );
        // Any client can GET it, and it expires.
        assert!(support::pttl(&mut redis, &key("ash")) > 0);
    });
}

#[test]
fn a_put_replaces_what_is_there_and_what_is_on_its_way() {
    on_every_server(OnBusy::LoadWithoutFilling, |cache, server| {
        let put = |value: &str| cache.put("ash", &params(), value.as_bytes());
        assert_eq!(put("one").expect("it is there"), PutOutcome::Set);
        assert_eq!(put("two").expect("it is there"), PutOutcome::Set);
        assert_eq!(get(cache).as_deref(), Some(&b"two"[..]));
        cache
            .invalidate(["build_climate"], &params())
            .expect("it is known");
        let late = cache.get_or_load("ash", &params(), || {
            assert_eq!(put("three")?, PutOutcome::Set);
            Ok("late".as_bytes())
        });
        assert_eq!(&*late.expect("it is loaded"), b"late");
        assert_eq!(get(cache).as_deref(), Some(&b"three"[..]));

        let mark = (LEASES, key("ash"), "w:writer:9999999999999");
        let mut redis = support::connect(server);
        redis::cmd("HSET").arg(mark).exec(&mut redis).expect("HSET");
        assert_eq!(put("four").expect("it is there"), PutOutcome::Refused);
        assert_eq!(get(cache), None);
    });
}

#[test]
fn typed_values_are_json_for_any_client() {
    let cache = in_memory(&MemoryServer::new(), OnBusy::LoadWithoutFilling);
    let load = || cache.get_or_load_json("ash", &params(), || Ok(vec![1_u32, 2]));
    assert_eq!(load().expect("it is loaded"), [1, 2]);
    assert_eq!(load().expect("it is there"), [1, 2]);
    assert_eq!(get(&cache).as_deref(), Some(&b"[1,2]"[..]));
    let other = cache.get_json::<String>("ash", &params());
    assert!(other.expect_err("another type").is_document());
    cache
        .put_json("ash", &params(), "text")
        .expect("it is there");
    assert_eq!(get(&cache).as_deref(), Some(&br#""text""#[..]));
    let nan = cache.put_json("ash", &params(), &f64::NAN);
    assert!(nan.expect_err("no JSON").is_document());
    assert_eq!(get(&cache).as_deref(), Some(&br#""text""#[..]));

    cache
        .put("ash", &params(), Vec::new())
        .expect("it is there");
    let nan = cache.get_or_load_json("soils", &params(), || Ok(f64::NAN));
    assert!(nan.expect_err("no JSON").caller().is_some());
    assert_eq!(
        get(&cache).as_deref(),
        Some(&b""[..]),
        "an empty value is one"
    );
}

#[test]
fn what_cannot_be_a_key_or_an_option_is_refused_before_the_loader_is_called() {
    let cache = in_memory(&MemoryServer::new(), OnBusy::LoadWithoutFilling);
    let never = || -> Result<Vec<u8>, _> { panic!("the loader was called") };
    let none = cache.get_or_load("ash", &Params::new(), never);
    assert!(none.expect_err("no run").is_params());
    let none = cache.get_or_load("no-such", &params(), never);
    assert!(none.expect_err("no controller").is_params());
    for ttl in [Duration::ZERO, Duration::MAX] {
        let builder = support::cache_builder().in_memory().lease_ttl(ttl);
        assert!(builder.clone().open().expect_err("no life").is_config());
        assert!(builder.open_lazy().expect_err("no life").is_config());
    }
}

/// As another version of the program may have stored it.
#[test]
fn an_entry_of_another_type_is_loaded_anew() {
    let world = World::start();
    let cache = world.cache();
    let run = Params::new().with("run_id", RUN);
    for stored in ["\"a text\"", "no JSON"] {
        cache.put("ash", &run, stored.as_bytes()).expect("put");
        let loaded = cache.get_or_load_json("ash", &run, || Ok(1_u32));
        assert_eq!(loaded.expect("loaded"), 1, "{stored}");
        let kept = cache.get_or_load_json("ash", &run, || Ok(2_u32));
        assert_eq!(kept.expect("there"), 1);
    }
    // Without a loader it is an error.
    cache.put("ash", &run, b"no JSON".as_slice()).expect("put");
    assert!(cache.get_json::<u32>("ash", &run).is_err());
}
