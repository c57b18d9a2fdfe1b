//! A Cluster: operations on every slot, keys that cannot meet in one step, slots that move, scripts that are lost.
#![cfg(feature = "testing")]

mod support;

use cachetx::{
    Acl, Cache, CacheBuilder, CacheOutcome, CrossSlot, Document, Engine, Outcome, Params, Reach,
    Rules, Save, Store,
    testing::{Cluster, ServerBinary},
};
use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};
use support::{Climate, nodes::Nodes};
use tempfile::TempDir;

/// A Cluster, and a folder of the test's own.
struct Bed {
    cluster: MutexGuard<'static, Cluster>,
    root: TempDir,
}

/// Runs `test` on a Cluster of each server that was found. They take seconds to come up, so the tests of this file share
/// them, one at a time, with runs of their own. They end with the process.
fn on_every_server(test: impl Fn(&Bed)) {
    static CLUSTERS: OnceLock<Vec<Mutex<Cluster>>> = OnceLock::new();
    let clusters = CLUSTERS.get_or_init(|| {
        let binaries = ServerBinary::all();
        assert!(!binaries.is_empty(), "no server found: run `make servers`");
        let start = |binary| Mutex::new(Cluster::start(binary).expect("a Cluster"));
        binaries.iter().map(start).collect()
    });
    for cluster in clusters {
        let cluster = cluster.lock().unwrap_or_else(PoisonError::into_inner);
        eprintln!("on {}", cluster.node(0).binary());
        let root = TempDir::new().expect("a temporary folder");
        let bed = Bed { cluster, root };
        // The test before may have had other rules.
        bed.nodes().run::<u64>(&["DEL", "cachetx:leases:{rules}"]);
        test(&bed);
    }
}

impl Bed {
    fn builder(&self, rules: Rules) -> CacheBuilder {
        // Two nodes tell of the others.
        Cache::builder(rules).cluster(self.cluster.urls().into_iter().take(2))
    }

    fn store(&self) -> Store {
        self.store_of(self.builder(support::rules()))
    }

    fn store_of(&self, cache: CacheBuilder) -> Store {
        let cache = cache.open().expect("the cache opens");
        Store::builder(cache)
            .root(self.root.path())
            .open()
            .expect("the store opens")
    }

    fn nodes(&self) -> Nodes {
        Nodes::of((0..6).map(|n| self.cluster.node(n).url()))
    }

    /// Tests share the Cluster and have rules of their own, which a boot warns of.
    fn forget_rules(&self) {
        self.nodes().run::<u64>(&["DEL", "cachetx:leases:{rules}"]);
    }

    fn owner(&self, key: &str) -> (u16, usize) {
        let slot = self.cluster.slot(key).expect("a slot");
        let owner = self.cluster.owner(slot).expect("nodes answer");
        (slot, owner.expect("they agree"))
    }

    fn file(&self, run: &str, controller: &str) -> Climate {
        let path = self
            .root
            .path()
            .join(run)
            .join(format!("{controller}.nodb"));
        let text = std::fs::read(path).expect("the document is there");
        serde_json::from_slice(&text).expect("it is whole")
    }
}

fn key(run: &str, controller: &str) -> String {
    format!("nodb_cache:{{{run}}}:{controller}")
}

fn climate(store: &Store, run: &str) -> Document<Climate> {
    store.document(run, "climate").expect("a document")
}

fn add_one(document: &Document<Climate>, save: Save) -> cachetx::Result<Outcome> {
    let saved = document.locked_with(save, |climate| {
        climate.years += 1;
        Ok(())
    });
    saved.map(|((), outcome)| outcome)
}

const DEPENDENTS: [&str; 3] = ["wepp", "ash", "soils"];

fn task() -> Save {
    Save::new().tasks(["build_climate"])
}

#[test]
fn documents_of_all_slots_are_saved_read_and_deleted() {
    on_every_server(|bed| {
        for engine in [Engine::Script, Engine::Function, Engine::Watch] {
            let version = bed.cluster.node(0).binary().version();
            if engine == Engine::Function && version < (7, 0, 0) {
                eprintln!("skipped: no functions on {}", bed.cluster.node(0).binary());
                continue;
            }
            bed.forget_rules();
            let store = bed.store_of(bed.builder(support::rules()).engine(engine));
            save_read_and_delete(bed, &store, &format!("{engine:?}"));
        }
    });
}

fn save_read_and_delete(bed: &Bed, store: &Store, name: &str) {
    let report = store.cache().report().expect("booted");
    assert_eq!(report.topology, "cluster of 3 primaries");
    assert_eq!(report.warnings, Vec::<String>::new());
    let mut nodes = bed.nodes();
    let mut owners = [0; 6];
    for n in 0..24 {
        let run = format!("{name}-{n}");
        owners[bed.owner(&run).1] += 1;
        let document = climate(store, &run);
        document.create(&Climate::of(1)).expect("created");
        for controller in DEPENDENTS {
            nodes.run::<()>(&["SET", &key(&run, controller), "derived"]);
        }
        let outcome = add_one(&document, task()).expect("saved");
        assert!(
            matches!(outcome.cache, CacheOutcome::Committed { removed: 3 }),
            "{outcome:?}"
        );
        assert_eq!(outcome.reach, Reach::Atomic);
        let own: Vec<u8> = nodes.run(&["GET", document.cache_key()]);
        assert_eq!(own, Climate::of(2).bytes());
        assert_eq!(document.read().expect("read").years, 2);
        let held = document.lock().expect("locked");
        assert_eq!(store.clear_locks(&run).expect("cleared"), 1);
        drop(held);
        let outcome = document.delete(["build_climate"]).expect("deleted");
        assert!(
            matches!(outcome.cache, CacheOutcome::Invalidated { removed: 1 }),
            "{outcome:?}"
        );
        assert_eq!(nodes.run::<u32>(&["EXISTS", document.cache_key()]), 0);
    }
    assert!(owners[..3].iter().all(|runs| *runs > 0), "{owners:?}");
    let stats = store.cache().stats();
    assert_eq!(stats.reads_from_server, 24);
    assert_eq!(
        (stats.redirects, stats.deferred),
        (0, 0),
        "the map is right from the start"
    );
}

#[test]
fn scripts_that_one_node_lost_are_loaded_there_again() {
    on_every_server(|bed| {
        let store = bed.store();
        let document = climate(&store, "flushed");
        document.create(&Climate::of(1)).expect("created");
        let (_, owner) = bed.owner(document.cache_key());
        let before = store.cache().stats();
        bed.nodes()
            .run_on::<()>((owner + 1) % 3, &["SCRIPT", "FLUSH"]);
        add_one(&document, task()).expect("saved");
        assert_eq!(
            store.cache().stats().reloads,
            before.reloads,
            "another node's"
        );
        bed.nodes().run_on::<()>(owner, &["SCRIPT", "FLUSH"]);
        let outcome = add_one(&document, task()).expect("saved");
        assert!(
            matches!(outcome.cache, CacheOutcome::Committed { .. }),
            "{outcome:?}"
        );
        assert_eq!(
            store.cache().stats().reloads,
            before.reloads + 2,
            "acquire and commit"
        );
        // Big values travel before the script, in the same pipeline.
        bed.nodes().run_on::<()>(owner, &["SCRIPT", "FLUSH"]);
        let big = document.locked_with(task(), |climate| {
            climate.note = "x".repeat(2 * cachetx::limits::STAGING_BYTES);
            Ok(())
        });
        assert!(matches!(
            big.expect("saved").1.cache,
            CacheOutcome::Committed { .. }
        ));
        assert_eq!(document.read().expect("read").years, 3);
    });
}

#[cfg(feature = "cli")]
#[test]
fn the_command_line_boots_all_of_it_and_replays_to_all_of_it() {
    on_every_server(|bed| {
        let outbox = bed.root.path().join("outbox");
        let away = Cache::builder(support::rules())
            .url("redis://127.0.0.1:1/")
            .outbox(&outbox)
            .open_lazy()
            .expect("a cache");
        let mut nodes = bed.nodes();
        // Some of them are not on the node that the command is told of.
        let runs: Vec<String> = (0..12).map(|n| format!("replayed-{n}")).collect();
        for run in &runs {
            nodes.run::<()>(&["SET", &key(run, "ash"), "derived"]);
            let params = Params::new().with("run_id", run.as_str());
            let outcome = away.invalidate(["build_climate"], &params);
            let outcome = outcome.expect("recorded");
            assert!(
                matches!(outcome, CacheOutcome::Deferred { .. }),
                "{outcome:?}"
            );
        }
        drop(away);
        let url = bed.cluster.node(0).url();
        let cachetx = |arguments: &[&str]| {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_cachetx"))
                .args(arguments)
                .args(["--url", &url, "--cluster"])
                .output()
                .expect("it runs");
            let text = String::from_utf8(output.stdout).expect("text");
            (output.status.code(), text)
        };
        let (code, text) = cachetx(&["boot"]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("cluster of 3 primaries"), "{text}");
        let folder = outbox.display().to_string();
        let (code, text) = cachetx(&["outbox", "replay", &folder]);
        assert_eq!(code, Some(0), "{text}");
        for run in &runs {
            assert_eq!(nodes.run::<u32>(&["EXISTS", &key(run, "ash")]), 0);
        }
    });
}

#[test]
fn the_least_acl_is_enough_in_a_cluster_too() {
    on_every_server(|bed| {
        let rules = support::rules();
        let acl = Acl::new(Engine::Script).rules(&rules);
        let acl = match bed.cluster.node(0).binary().version().0 {
            6 => acl.without_flags(),
            _ => acl,
        };
        let acl = acl.for_cluster().with_wait().to_string();
        let mut nodes = bed.nodes();
        for missing in ["", "+cluster|slots", "+asking", "+wait"] {
            let words = acl.split(' ').filter(|word| *word != missing);
            let start = ["ACL", "SETUSER", "bob", "reset", "on", ">pw", "-@all"];
            let line: Vec<&str> = start.into_iter().chain(words).collect();
            for n in 0..3 {
                nodes.run_on::<()>(n, &line);
            }
            let cache = Cache::builder(rules.clone())
                .cluster([bed.cluster.node(0).url_as("bob", "pw")])
                .connect_timeout(Duration::from_millis(300))
                .response_timeout(Duration::from_millis(300))
                .open();
            if missing == "+cluster|slots" {
                let error = cache.map(drop).expect_err("nobody may say who serves what");
                assert!(error.to_string().contains("NOPERM"), "{error}");
                continue;
            }
            let store = Store::builder(cache.expect("the cache opens"))
                .root(bed.root.path())
                .open()
                .expect("the store opens");
            let run = format!("acl{missing}");
            let document = climate(&store, &run);
            document.create(&Climate::of(1)).expect("created");
            let save = task().wait_replicas(1, Duration::from_secs(10));
            let outcome = add_one(&document, save).expect("saved");
            let replicas = (missing != "+wait").then_some(1);
            assert_eq!(outcome.replicas, replicas, "{outcome:?}");

            let (slot, from) = bed.owner(document.cache_key());
            let to = (from + 1) % 3;
            let held = document.lock().expect("locked");
            bed.cluster.begin_migration(slot, from, to).expect("begun");
            bed.cluster.migrate_keys(slot, from, to).expect("moved");
            drop(held);
            let keys = ["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "100"];
            let keys: Vec<String> = nodes.run_on(to, &keys);
            let locked = keys.iter().any(|key| key.ends_with(":lock"));
            assert_eq!(locked, missing == "+asking", "{keys:?}");
            bed.cluster.end_migration(slot, from, to).expect("ended");
        }
        for n in 0..3 {
            nodes.run_on::<()>(n, &["ACL", "DELUSER", "bob"]);
        }
    });
}

/// More of them than there is time for in one go.
#[test]
fn nodes_that_do_not_answer_keep_no_other_from_being_asked() {
    on_every_server(|bed| {
        let silent = [(); 3].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
        let silent = silent
            .each_ref()
            .map(|s| s.local_addr().expect("it has one"));
        let urls = silent.map(|address| format!("redis://{address}/"));
        let seeds = urls
            .into_iter()
            .chain(bed.cluster.urls().into_iter().take(1));
        let cache = Cache::builder(support::rules())
            .cluster(seeds)
            .connect_timeout(Duration::from_millis(300))
            .response_timeout(Duration::from_millis(300))
            .open_lazy()
            .expect("the cache opens");
        let store = Store::builder(cache).root(bed.root.path()).open();
        let document = climate(&store.expect("the store opens"), "silent");
        document.create(&Climate::of(1)).expect("created");
    });
}

#[test]
fn a_slot_that_moved_is_followed_once() {
    on_every_server(|bed| {
        let store = bed.store();
        let document = climate(&store, "moved");
        document.create(&Climate::of(1)).expect("created");
        let (slot, from) = bed.owner(document.cache_key());
        let to = (from + 1) % 3;
        bed.cluster.begin_migration(slot, from, to).expect("begun");
        bed.cluster.migrate_keys(slot, from, to).expect("moved");
        bed.cluster.end_migration(slot, from, to).expect("ended");
        for _ in 0..5 {
            let outcome = add_one(&document, task()).expect("saved");
            assert!(
                matches!(outcome.cache, CacheOutcome::Committed { .. }),
                "{outcome:?}"
            );
        }
        assert_eq!(store.cache().stats().redirects, 1);
        assert_eq!(document.read().expect("read").years, 6);
        assert_eq!(store.cache().stats().reads_from_server, 1);
        assert_eq!(bed.owner(document.cache_key()), (slot, to));
    });
}

/// `ash` is hashed elsewhere.
const SPREAD: &str = r#"{
  "version": "1.1",
  "cache_keys": {
    "climate": "nodb_cache:{{{run_id}}}:climate",
    "wepp": "nodb_cache:{{{run_id}}}:wepp",
    "ash": "nodb_cache:{run_id}:ash",
    "soils": "nodb_cache:{run_id}:soils"
  },
  "depends_on": { "wepp": ["climate"] },
  "rules": { "build_climate": { "invalidates_cache": ["ash", "soils"] },
             "build_wepp": { "invalidates_cache": ["wepp"] },
             "build_ash": { "invalidates_cache": ["ash"] } }
}"#;

#[test]
fn keys_of_several_slots_are_refused_before_anything_is_written() {
    on_every_server(|bed| {
        let rules = Rules::from_json(SPREAD).expect("rules");
        let store = bed.store_of(bed.builder(rules.clone()));
        let warnings = store.cache().report().expect("booted").warnings;
        assert!(
            warnings.iter().any(|w| w.contains("task `build_climate`")),
            "{warnings:?}"
        );
        let run = "refused";
        let document = climate(&store, run);
        document.create(&Climate::of(1)).expect("created");
        let mut nodes = bed.nodes();
        let plain = |controller: &str| format!("nodb_cache:{run}:{controller}");
        for key in [key(run, "wepp"), plain("ash"), plain("soils")] {
            nodes.run::<()>(&["SET", &key, "derived"]);
        }
        let mut exists = |key: &str| nodes.run::<u32>(&["EXISTS", key]) == 1;

        let mut locked = document.lock().expect("locked");
        locked.years = 2;
        let refused = locked.dump_and_unlock_with_transaction(["build_climate"]);
        let refused = refused.expect_err("ash is in another slot");
        assert!(refused.error().is_cross_slot(), "{refused}");
        assert_eq!(refused.error().effect(), cachetx::Effect::None);
        assert!(refused.to_string().contains(&plain("ash")), "{refused}");
        assert_eq!(
            bed.file(run, "climate"),
            Climate::of(1),
            "the file is as it was"
        );
        assert!(
            exists(&key(run, "wepp")) && exists(&plain("ash")),
            "so is the server"
        );
        // The error gave the guard back; dropping it lets the lock go.
        drop(refused);
        let refused = document.delete(["build_climate"]).map(drop);
        assert!(refused.is_err_and(|e| e.is_cross_slot()));
        let params = Params::new().with("run_id", run);
        let cache = store.cache();
        let refused = cache.invalidate(["build_climate"], &params).map(drop);
        assert!(refused.is_err_and(|e| e.is_cross_slot()));
        assert!(exists(&plain("ash")));
        let one = cache.invalidate(["build_ash"], &params).expect("one slot");
        assert!(
            matches!(one, CacheOutcome::Invalidated { removed: 1 }),
            "{one:?}"
        );
        // Without the task it stays in its slot.
        let outcome = add_one(&document, Save::new()).expect("saved");
        assert!(
            matches!(outcome.cache, CacheOutcome::Committed { removed: 1 }),
            "{outcome:?}"
        );
        assert_eq!(outcome.reach, Reach::Atomic);

        // A lock in another slot than its entry can never be checked by the commit.
        let elsewhere = Store::builder(cache)
            .root(bed.root.path())
            .lock_key("nodb-lock:{run_id}:{controller}.nodb")
            .open()
            .expect("the store opens");
        let refused = elsewhere.document::<Climate>(run, "climate").map(drop);
        assert!(refused.is_err_and(|e| e.is_cross_slot()));
    });
}

#[test]
fn a_split_commit_deletes_everything_and_says_that_it_was_not_one_step() {
    on_every_server(|bed| {
        let rules = Rules::from_json(SPREAD).expect("rules");
        let store = bed.store_of(bed.builder(rules).cross_slot(CrossSlot::Split));
        let run = "split";
        let document = climate(&store, run);
        document.create(&Climate::of(1)).expect("created");
        let plain = |controller: &str| format!("nodb_cache:{run}:{controller}");
        let keys = [key(run, "wepp"), plain("ash"), plain("soils")];
        let mut nodes = bed.nodes();
        let mut warm = || {
            keys.iter()
                .for_each(|key| nodes.run::<()>(&["SET", key, "derived"]))
        };
        warm();
        let outcome = add_one(&document, task()).expect("saved");
        assert!(
            matches!(outcome.cache, CacheOutcome::Committed { removed: 3 }),
            "{outcome:?}"
        );
        assert_eq!(outcome.reach, Reach::Split);
        let outcome = add_one(&document, Save::new().tasks(["build_wepp"])).expect("saved");
        assert_eq!(outcome.reach, Reach::Atomic);
        warm();
        let outcome = document.delete(["build_climate"]).expect("deleted");
        assert!(
            matches!(outcome.cache, CacheOutcome::Invalidated { removed: 4 }),
            "{outcome:?}"
        );
        assert_eq!(outcome.reach, Reach::Split);
        warm();
        let params = Params::new().with("run_id", run);
        let done = store
            .cache()
            .invalidate(["build_climate"], &params)
            .expect("split");
        assert!(
            matches!(done, CacheOutcome::Invalidated { removed: 2 }),
            "{done:?}"
        );
    });
}

#[test]
fn a_node_of_a_cluster_is_no_single_server_and_the_other_way_round() {
    on_every_server(|bed| {
        let nodes = bed.cluster.urls();
        let wrong = Cache::builder(support::rules())
            .url(&nodes[0])
            .open()
            .expect("it boots");
        let store = Store::builder(wrong)
            .root(bed.root.path())
            .open()
            .expect("a store");
        let refused = (0..20).find_map(|n| {
            let document = climate(&store, &format!("wrong-{n}"));
            document.create(&Climate::of(1)).err()
        });
        let refused = refused.expect("some run is another node's").to_string();
        assert!(refused.contains("CacheBuilder::cluster"), "{refused}");

        let single =
            cachetx::testing::Server::start(bed.cluster.node(0).binary()).expect("a server");
        let refused = Cache::builder(support::rules())
            .cluster([single.url()])
            .open()
            .map(drop);
        let refused = refused.expect_err("it is none").to_string();
        assert!(refused.contains("cluster support disabled"), "{refused}");
        for (urls, why) in [
            (vec![], "at least one URL"),
            (vec![format!("{}3", nodes[0])], "no database numbers"),
            (vec![single.unix_url()], "not by Unix sockets"),
        ] {
            let refused = Cache::builder(support::rules())
                .cluster(urls)
                .open_lazy()
                .map(drop);
            let refused = refused.expect_err(why);
            assert!(
                refused.is_config() && refused.to_string().contains(why),
                "{refused}"
            );
        }
    });
}

const MIGRATED_COMMITS: u64 = 500;

/// While the slot in use moves to and fro, every save either commits or says what it could not do; nobody reads an older
/// entry than the last save acknowledged, and no dependent outlives a commit.
#[test]
fn a_slot_in_use_is_migrated_during_500_commits() {
    on_every_server(|bed| {
        let store = bed.store();
        let run = "migrated";
        let document = climate(&store, run);
        document.create(&Climate::of(0)).expect("created");
        let (slot, first) = bed.owner(document.cache_key());
        let done = AtomicBool::new(false);
        let (mut committed, mut reported, mut saved) = (0, 0, 0);
        let migrations = thread::scope(|scope| {
            let migrations = scope.spawn(|| {
                let mut at = first;
                let mut migrations = 0;
                while !done.load(SeqCst) {
                    let to = (at + 1) % 3;
                    bed.cluster.begin_migration(slot, at, to).expect("begun");
                    // Operations meet the slot in this state, and again with its keys on both sides.
                    thread::sleep(Duration::from_millis(30));
                    bed.cluster.migrate_keys(slot, at, to).expect("moved");
                    thread::sleep(Duration::from_millis(30));
                    // What came after: a key that expires or is made meanwhile.
                    bed.cluster.migrate_keys(slot, at, to).expect("moved");
                    bed.cluster.end_migration(slot, at, to).expect("ended");
                    at = to;
                    migrations += 1;
                    thread::sleep(Duration::from_millis(100));
                }
                migrations
            });
            let ending = support::SetOnDrop(&done);
            let mut nodes = bed.nodes();
            while committed < MIGRATED_COMMITS {
                // Where the slot is between two nodes a plain client cannot set all of these either.
                for controller in DEPENDENTS {
                    nodes.try_run::<()>(&["SET", &key(run, controller), "derived"]);
                }
                match add_one(&document, task()) {
                    Ok(outcome) => {
                        saved += 1;
                        if outcome.cache.is_settled() {
                            committed += 1;
                            for controller in DEPENDENTS {
                                let left = nodes
                                    .try_run::<Option<String>>(&["GET", &key(run, controller)]);
                                assert_eq!(left.flatten(), None, "{controller} after {outcome:?}");
                            }
                        } else {
                            reported += 1;
                        }
                    }
                    Err(e) => {
                        assert!(e.is_unavailable() || e.is_lock_held(), "{e}");
                        reported += 1;
                    }
                }
                assert_eq!(document.read().expect("read").years, saved);
            }
            drop(ending);
            migrations.join().expect("no panic")
        });
        assert_eq!(bed.file(run, "climate").years, saved);
        let stats = store.cache().stats();
        eprintln!("{committed} committed, {reported} reported, {migrations} migrations, {stats:?}");
        assert!(migrations > 0 && stats.redirects > 0);
    });
}

/// The digests stand on one node; the others answer that it is not them, which must not trouble a boot.
#[test]
fn other_rules_in_use_are_seen() {
    on_every_server(|bed| {
        bed.forget_rules();
        let first = bed.builder(support::rules()).open().expect("opens");
        let other = support::RULES.replace("\"soils\"]", "\"soils\", \"wepp\"]");
        let other = Rules::from_json(&other).expect("they compile");
        let second = bed.builder(other).open().expect("opens");
        let digest = first.rules().digest();
        assert_ne!(second.rules().digest(), digest);
        let report = second.report().expect("booted");
        assert_eq!(report.warnings.len(), 1, "{report}");
        assert!(report.warnings[0].contains(&digest), "{report}");
        assert_eq!(report.server.matches("127.0.0.1:").count(), 3, "{report}");
    });
}

/// Keys with a hash tag share a hash of leases, others have one each: all in the slots of their values.
#[test]
fn values_are_loaded_under_leases_in_any_slot() {
    let rules = r#"{ "version": "1.0",
        "cache_keys": { "tagged": "load:{{{run}}}:t", "plain": "load:{run}:p" },
        "rules": { "drop": { "invalidates_cache": ["tagged", "plain"] } } }"#;
    on_every_server(|bed| {
        for engine in [Engine::Script, Engine::Watch] {
            let rules = Rules::from_json(rules).expect("rules");
            let cache = bed.builder(rules).engine(engine);
            let cache = cache.cross_slot(CrossSlot::Split).open().expect("open");
            for run in 0..8 {
                let params = Params::new().with("run", format!("{engine:?}-{run}"));
                for controller in ["tagged", "plain"] {
                    let drop = || cache.invalidate(["drop"], &params);
                    let late = cache.get_or_load(controller, &params, || {
                        assert!(drop()?.is_settled());
                        Ok("late".as_bytes())
                    });
                    assert_eq!(&*late.expect("loaded"), b"late");
                    assert_eq!(cache.get(controller, &params).expect("there"), None);
                    let loaded = cache.get_or_load(controller, &params, || Ok(vec![7]));
                    let found = cache.get(controller, &params).expect("there");
                    assert_eq!(found, loaded.ok(), "{engine:?} {controller} {run}");
                }
            }
            let stats = cache.stats();
            assert_eq!((stats.fills, stats.fills_refused), (16, 16), "{stats:?}");
        }
    });
}
