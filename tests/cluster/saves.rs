//! Operations on every slot, and the nodes they go to.

use crate::{
    bed::*,
    support::{self, Climate},
};
use cachetx::{Cache, CacheOutcome, CrossSlot, Engine, Params, Reach, Rules, Store};
use std::time::Duration;

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
        let add = |climate: &mut Climate| {
            climate.years += 1;
            Ok(())
        };
        nodes.run::<()>(&["SET", &key(&run, "ash"), "derived"]);
        let (_, outcome) = document.update(["build_climate"], add).expect("updated");
        assert!(
            matches!(outcome.cache, CacheOutcome::Committed { removed: 1 }),
            "{outcome:?}"
        );
        let own: Vec<u8> = nodes.run(&["GET", document.cache_key()]);
        assert_eq!(own, Climate::of(3).bytes());
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
    assert_eq!(stats.reads_from_file, 24);
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
            before.reloads + 1,
            "the lock needs no script"
        );
        // And big values.
        bed.nodes().run_on::<()>(owner, &["SCRIPT", "FLUSH"]);
        let big = document.locked_with(task(), |climate| {
            climate.note = "x".repeat(16 << 10);
            Ok(())
        });
        assert!(matches!(
            big.expect("saved").1.cache,
            CacheOutcome::Committed { .. }
        ));
        assert_eq!(document.read().expect("read").years, 3);
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
        assert_eq!(bed.owner(document.cache_key()), (slot, to));
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

/// The digests stand on one node; the others answer that it is not them, which must not trouble a boot.
#[test]
fn other_rules_in_use_are_seen() {
    on_every_server(|bed| {
        bed.forget_rules();
        let first = bed.builder(support::rules()).open().expect("opens");
        let other = crate::support::RULES.replace("\"soils\"]", "\"soils\", \"wepp\"]");
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
