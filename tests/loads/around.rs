//! `invalidate_around`: dependents of a foreign source of truth are deleted before and after a
//! change of it, and nobody fills them meanwhile, whether the change succeeds, fails, panics or
//! dies with its process. The same check catches the naive way (change, then invalidate).

use crate::support::gate::Gate;
use crate::support::{self, RUN, World, child, given, key, until};
use cachetx::{
    Cache, CacheOutcome, Engine, OnBusy, OutboxFile, Params,
    testing::{MemoryServer, ServerBinary},
};
use std::{
    fs,
    os::unix::process::ExitStatusExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Barrier,
    thread,
    time::Duration,
};
use tempfile::TempDir;

fn params() -> Params {
    Params::new().with("run_id", RUN)
}

fn leases() -> String {
    format!("{{{RUN}}}:cachetx:leases")
}

/// A source of truth that is not one of our documents: a number in its own file.
struct Truth(PathBuf);

impl Truth {
    fn new(folder: &Path) -> Self {
        let truth = Self(folder.join("truth"));
        truth.change(1).expect("written");
        truth
    }

    fn change(&self, to: u64) -> Result<(), cachetx::BoxError> {
        Ok(fs::write(&self.0, to.to_string())?)
    }

    fn get(&self) -> u64 {
        let text = fs::read_to_string(&self.0).expect("there");
        text.parse().expect("a number")
    }

    /// The value for a reader that derives `ash` from it.
    fn derived(&self, cache: &Cache) -> u64 {
        let loaded = cache.get_or_load_json("ash", &params(), || Ok(self.get()));
        loaded.expect("loaded")
    }
}

fn kept(cache: &Cache) -> Option<u64> {
    cache.get_json("ash", &params()).expect("asked")
}

fn invalidated(outcome: &CacheOutcome) -> bool {
    matches!(outcome, CacheOutcome::Invalidated { .. })
}

/// On every server, with and without Lua, and in memory.
fn everywhere(test: impl Fn(&Cache, &Truth)) {
    let folder = TempDir::new().expect("a folder");
    let on = |builder: cachetx::CacheBuilder| {
        let builder = builder.on_busy(OnBusy::LoadWithoutFilling);
        test(
            &builder.open().expect("a cache"),
            &Truth::new(folder.path()),
        );
    };
    on(support::cache_builder().memory_server(&MemoryServer::new()));
    for binary in ServerBinary::all() {
        for engine in [Engine::Script, Engine::Watch] {
            eprintln!("on {binary}, {engine:?}");
            let world = World::on(binary);
            let outbox = folder.path().join("outbox");
            on(world.cache_builder().engine(engine).outbox(outbox));
        }
    }
}

#[test]
fn nobody_fills_while_the_truth_changes() {
    everywhere(|cache, truth| {
        assert_eq!((truth.derived(cache), kept(cache)), (1, Some(1)));
        let changed = cache.invalidate_around(["build_climate"], &params(), || {
            assert_eq!(kept(cache), None, "deleted before");
            assert_eq!((truth.derived(cache), kept(cache)), (1, None));
            truth.change(2)?;
            assert_eq!((truth.derived(cache), kept(cache)), (2, None));
            Ok("changed")
        });
        let (result, outcome) = changed.expect("changed");
        assert!(result == "changed" && invalidated(&outcome), "{outcome:?}");
        assert_eq!((truth.derived(cache), kept(cache)), (2, Some(2)));
        assert_eq!(cache.stats().outbox_pending, 0);
        assert_eq!(cache.stats().invalidations, 1);
    });
}

#[test]
fn a_loader_that_began_before_does_not_fill_after() {
    everywhere(|cache, truth| {
        let late = cache.get_or_load_json("ash", &params(), || {
            let old = truth.get();
            let change = || truth.change(2);
            cache.invalidate_around(["build_climate"], &params(), change)?;
            Ok(old)
        });
        assert_eq!(late.expect("loaded"), 1);
        assert_eq!(kept(cache), None, "what it loaded is not kept");
        assert_eq!((truth.derived(cache), kept(cache)), (2, Some(2)));
    });
}

fn as_planned() -> Result<(), cachetx::BoxError> {
    panic!("as planned")
}

#[test]
fn a_change_that_fails_or_panics_may_have_been_made() {
    everywhere(|cache, truth| {
        truth.derived(cache);
        let failed = cache.invalidate_around(["build_climate"], &params(), || {
            truth.change(2)?;
            Err::<(), _>("no answer from the database".into())
        });
        let error = failed.expect_err("its own error").to_string();
        assert!(error.contains("no answer from the database"), "{error}");
        assert_eq!((truth.derived(cache), kept(cache)), (2, Some(2)));

        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let around = cache.invalidate_around(["build_climate"], &params(), || {
                truth.change(3)?;
                as_planned()
            });
            around.map(drop)
        }));
        assert!(panicked.is_err());
        assert_eq!((truth.derived(cache), kept(cache)), (3, Some(3)));
        assert_eq!(cache.stats().outbox_pending, 0);
    });
}

#[test]
fn a_mistake_is_found_before_the_change() {
    everywhere(|cache, truth| {
        for (task, params) in [("build_climat", params()), ("build_climate", Params::new())] {
            let refused = cache.invalidate_around([task], &params, || truth.change(2));
            assert!(refused.is_err(), "{task}");
            assert_eq!(truth.get(), 1);
        }
    });
    let world = World::start();
    let truth = Truth::new(world.root.path());
    let nowhere = world.cache();
    let refused = nowhere.invalidate_around(["build_climate"], &params(), || truth.change(2));
    let error = refused.expect_err("there is no outbox");
    assert!(
        error.is_outbox() && error.to_string().contains("CacheBuilder::outbox"),
        "{error}"
    );
    assert_eq!(truth.get(), 1);
}

#[test]
fn marks_live_as_long_as_the_change() {
    // Long enough for a machine that stalls for a moment.
    let ttl = Duration::from_secs(3);
    let world = World::start();
    let truth = Truth::new(world.root.path());
    let cache = world
        .cache_builder()
        .outbox(world.root.path().join("outbox"));
    let cache = cache.mark_ttl(ttl).open().expect("a cache");
    let mark = || {
        let text: Option<String> = redis::cmd("HGET")
            .arg(&[leases(), key("ash")])
            .query(&mut world.redis())
            .expect("asked");
        text.expect("it is marked")
    };
    let around = cache.invalidate_around(["build_climate"], &params(), || {
        let first = mark();
        for _ in 0..4 {
            let last = mark();
            until("the mark is renewed", || mark() != last);
        }
        let whose = |text: &str| text.rsplit_once(':').expect("an end").0.to_owned();
        assert_eq!(whose(&first), whose(&mark()), "still the same writer's");
        truth.change(2)
    });
    around.expect("changed");
    let left: u64 = redis::cmd("EXISTS")
        .arg(leases())
        .query(&mut world.redis())
        .expect("asked");
    assert_eq!(left, 0, "and no longer");

    for bad in [Duration::ZERO, Duration::from_secs(3_601)] {
        let refused = world.cache_builder().mark_ttl(bad).open();
        assert!(refused.is_err_and(|e| e.to_string().contains("mark_ttl")));
    }
}

#[test]
fn a_change_within_a_change_ends_neither_early() {
    let (world, mark_ttl) = (World::start(), Duration::from_secs(2));
    let truth = Truth::new(world.root.path());
    let cache = world
        .cache_builder()
        .outbox(world.root.path().join("outbox"));
    let cache = cache
        .mark_ttl(mark_ttl)
        .on_busy(OnBusy::LoadWithoutFilling)
        .open()
        .expect("a cache");
    truth.derived(&cache);
    let around = cache.invalidate_around(["build_climate"], &params(), || {
        let inner = cache.invalidate_around(["build_climate"], &params(), || truth.change(2))?;
        assert!(invalidated(&inner.1), "{inner:?}");
        assert_eq!((truth.derived(&cache), kept(&cache)), (2, None));
        truth.change(3)
    });
    around.expect("changed");
    assert_eq!((truth.derived(&cache), kept(&cache)), (3, Some(3)));
}

/// However their marks overlap, nothing is left of them once both are over.
#[test]
fn once_all_changes_are_over_the_next_reader_fills() {
    everywhere(|cache, truth| {
        let around = |change: &mut dyn FnMut()| {
            let done = cache.invalidate_around(["build_climate"], &params(), || {
                change();
                Ok(())
            });
            assert!(invalidated(&done.expect("changed").1));
        };
        let (begun, over) = (Barrier::new(2), Barrier::new(2));
        thread::scope(|scope| {
            scope.spawn(|| {
                around(&mut || {
                    begun.wait();
                });
                over.wait();
            });
            around(&mut || {
                begun.wait();
                over.wait();
                truth.derived(cache);
                assert_eq!(kept(cache), None, "this one is not over");
            });
        });
        truth.derived(cache);
        assert_eq!(kept(cache), Some(truth.get()));
    });
}

#[test]
fn a_cache_that_is_closed_in_the_change_keeps_its_record() {
    let world = World::start();
    let (truth, outbox) = (
        Truth::new(world.root.path()),
        world.root.path().join("outbox"),
    );
    let gate = Gate::new(&world, world.root.path());
    let cache = support::cache_builder().url(gate.url()).outbox(&outbox);
    let cache = cache.open().expect("a cache");
    // It knows the server by another name than the gate's.
    let other = world.cache_builder().outbox(&outbox);
    let other = other.outbox_of_any_server().open().expect("a cache");
    let around = cache.invalidate_around(["build_climate"], &params(), || {
        cache.close()?;
        let replayed = other.replay_outbox()?;
        assert_eq!(replayed.records, 0, "the change is not over");
        gate.close(&world);
        truth.change(2)
    });
    let ((), outcome) = around.expect("changed");
    assert!(
        matches!(outcome, CacheOutcome::Deferred { .. }),
        "{outcome:?}"
    );
    until("another one has replayed it", || {
        other.stats().outbox_replayed == 1
    });
}

#[test]
fn what_a_server_that_is_away_did_not_take_is_done_when_it_is_back() {
    for binary in ServerBinary::all() {
        eprintln!("on {binary}");
        let (world, dir) = (World::on(binary), TempDir::new().expect("a folder"));
        let (gate, truth) = (Gate::new(&world, dir.path()), Truth::new(dir.path()));
        let cache = support::cache_builder()
            .url(gate.url())
            .outbox(dir.path().join("outbox"))
            .open()
            .expect("a cache");
        truth.derived(&cache);
        gate.close(&world);
        let around = cache.invalidate_around(["build_climate"], &params(), || truth.change(2));
        let ((), outcome) = around.expect("changed");
        assert!(
            matches!(outcome, CacheOutcome::Deferred { .. }),
            "{outcome:?}"
        );
        gate.open();
        until("it is replayed", || cache.stats().outbox_pending == 0);
        assert_eq!((truth.derived(&cache), kept(&cache)), (2, Some(2)));
    }
}

/// A way to announce a change to a cache.
const WAYS: [&str; 2] = ["around", "naive"];

#[test]
#[ignore = "a child process of another test"]
fn killed_in_the_change() {
    let (Some(url), Some(folder), Some(way)) = (
        given("CACHETX_TEST_URL"),
        given("CACHETX_TEST_ROOT"),
        given("CACHETX_TEST_WAY"),
    ) else {
        return;
    };
    let folder = PathBuf::from(folder);
    let truth = Truth(folder.join("truth"));
    let cache = support::cache_builder()
        .url(url)
        .outbox(folder.join("outbox"));
    let cache = cache.open().expect("a cache");
    let change = || {
        truth.change(2)?;
        let own = rustix::process::getpid();
        rustix::process::kill_process(own, rustix::process::Signal::KILL)?;
        std::thread::park();
        Ok(())
    };
    if way == "around" {
        let _ = cache.invalidate_around(["build_climate"], &params(), change);
    } else {
        change().expect("not reached");
        cache
            .invalidate(["build_climate"], &params())
            .expect("not reached");
    }
    unreachable!("killed before that");
}

/// What is kept after the death of a process that had just changed the truth, and what there is to
/// replay.
fn after_a_death(way: &str) -> (Option<u64>, usize) {
    let world = World::start();
    let folder = world.root.path();
    let truth = Truth::new(folder);
    let elsewhere = TempDir::new().expect("a folder");
    let cache = world.cache_builder().outbox(elsewhere.path());
    let cache = cache
        .on_busy(OnBusy::LoadWithoutFilling)
        .open()
        .expect("a cache");
    assert_eq!(truth.derived(&cache), 1);
    let variables = [
        ("CACHETX_TEST_URL", world.server.url()),
        ("CACHETX_TEST_ROOT", folder.display().to_string()),
        ("CACHETX_TEST_WAY", way.to_owned()),
    ];
    let end = child("around::killed_in_the_change", &variables).status();
    assert_eq!(end.expect("a child").signal(), Some(9));
    assert_eq!(truth.get(), 2);
    let kept = kept(&cache);
    let outbox = folder.join("outbox");
    let records = match outbox.exists() {
        true => OutboxFile::list(&outbox).expect("listed").len(),
        false => 0,
    };
    let next = world
        .cache_builder()
        .outbox(&outbox)
        .open()
        .expect("a cache");
    until("nothing is left to replay", || {
        next.replay_outbox().expect("replayed");
        OutboxFile::list(&outbox).is_ok_and(|files| files.is_empty())
    });
    (kept, records)
}

#[test]
fn a_process_that_dies_in_the_change_leaves_nothing_stale() {
    let [around, naive] = WAYS.map(after_a_death);
    assert_eq!(around, (None, 1));
    assert_eq!(naive, (Some(1), 0), "the naive way is caught");
}
