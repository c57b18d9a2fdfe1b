//! Entries that are set together live for different times, if a cache has that option.

use crate::support::{self, Climate, RUN, key, pttl, until};
use cachetx::{Document, Params, PutOutcome, Store, testing::Server};
use std::time::Duration;
use tempfile::TempDir;

/// The rules' default.
const TTL_MS: i64 = 72 * 3_600 * 1_000;

/// With this many, all of them are equal less than once in 10^12 runs.
const SET_TOGETHER: usize = 24;

/// How long the entries live, in ms, that `set` sets for one run each.
fn lives(controller: &str, server: &Server, mut set: impl FnMut(&str)) -> Vec<i64> {
    let mut redis = support::connect(server);
    let runs = (0..SET_TOGETHER).map(|n| format!("run-{n}"));
    runs.map(|run| {
        set(&run);
        pttl(&mut redis, &key(controller).replace(RUN, &run))
    })
    .collect()
}

/// The most that the test itself takes.
const SLACK_MS: i64 = 60_000;

/// Whether they end at different times, within the permitted part of the life.
fn spread(lives: &[i64], ttl_ms: i64, part: f64) -> Result<(), String> {
    let (first, last) = (lives.iter().min(), lives.iter().max());
    let (first, last) = (*first.expect("some"), *last.expect("some"));
    let width = (ttl_ms as f64 * part) as i64;
    if last > ttl_ms || first < ttl_ms - width - SLACK_MS {
        return Err(format!("{first} to {last} of {ttl_ms}"));
    }
    if last - first < width / 4 {
        return Err(format!("all end within {} ms", last - first));
    }
    Ok(())
}

#[test]
fn entries_that_are_set_together_do_not_end_together() {
    for (part, is_spread) in [(0.5, true), (0.0, false)] {
        let server = Server::start(support::any_binary()).expect("the server starts");
        let root = TempDir::new().expect("a folder");
        let cache = support::cache_builder().url(server.url()).ttl_jitter(part);
        let cache = cache.open().expect("the cache opens");
        let store = Store::builder(&cache)
            .root(root.path())
            .open()
            .expect("a store");
        let params = |run: &str| Params::new().with("run_id", run);
        let document = |run: &str| -> Document<Climate> {
            store.document(run, "climate").expect("a document")
        };

        let filled = lives("ash", &server, |run| {
            let value = cache.get_or_load("ash", &params(run), || Ok(*b"x"));
            assert_eq!(&*value.expect("it is loaded"), b"x");
        });
        let put = lives("soils", &server, |run| {
            let put = cache.put("soils", &params(run), *b"x");
            assert_eq!(put.expect("it is there"), PutOutcome::Set);
        });
        let committed = lives("climate", &server, |run| {
            support::committed(&document(run).create(&Climate::of(1)).expect("created"));
        });
        let grouped = lives("climate", &server, |run| {
            let group = store.transaction((&document(run),)).expect("it is free");
            let saved = group.commit(cachetx::NO_TASKS).expect("it is saved");
            support::committed(&saved);
        });
        redis::cmd("FLUSHALL")
            .exec(&mut support::connect(&server))
            .expect("FLUSHALL");
        // Another program writes the files, long enough ago that their stamps cannot repeat.
        let then = std::time::SystemTime::now() - Duration::from_secs(60);
        for run in (0..SET_TOGETHER).map(|n| format!("run-{n}")) {
            let file = root.path().join(run).join("climate.nodb");
            std::fs::write(&file, Climate::of(2).bytes()).expect("written");
            let file = std::fs::File::options().write(true).open(file);
            file.and_then(|file| file.set_modified(then)).expect("set");
        }
        let read = lives("climate", &server, |run| {
            // No entry is filled before the tick of its file's change is over.
            until("it is filled", || {
                assert_eq!(document(run).read().expect("it is there").years, 2);
                let key = key("climate").replace(RUN, run);
                support::get(&mut support::connect(&server), &key).is_some()
            });
        });

        for (what, lives, ttl_ms) in [
            ("filled", filled, TTL_MS),
            ("put", put, TTL_MS),
            ("committed", committed, 1_000_000),
            ("grouped", grouped, 1_000_000),
            ("read", read, 1_000_000),
        ] {
            // Without the option the same check finds that they end together.
            let checked = spread(&lives, ttl_ms, 0.5);
            assert_eq!(checked.is_ok(), is_spread, "{what}: {checked:?}");
            if !is_spread {
                let whole = lives.iter().all(|life| *life >= ttl_ms - SLACK_MS);
                assert!(whole, "{what}: {lives:?}");
            }
        }
    }
}

#[test]
fn a_jitter_that_is_no_part_of_a_life_is_refused() {
    for part in [-0.1, 0.6, 1.0, f64::NAN, f64::INFINITY] {
        let builder = support::cache_builder().in_memory().ttl_jitter(part);
        let error = builder.clone().open().expect_err("no part");
        assert!(error.is_config() && error.to_string().contains("ttl_jitter"));
        assert!(builder.open_lazy().expect_err("no part").is_config());
    }
}
