//! The command line and the least ACL.

use crate::{
    bed::*,
    support::{self, Climate},
};
use cachetx::{Acl, Cache, Engine, Store};
use std::time::Duration;

#[cfg(feature = "cli")]
#[test]
fn the_command_line_boots_all_of_it_and_replays_to_all_of_it() {
    use cachetx::{CacheOutcome, Params};

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
        let (code, text) = cachetx(&["doctor"]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("round trips to all primaries"), "{text}");
        assert_eq!(text.matches("role master, replicas 1").count(), 3, "{text}");
        let folder = outbox.display().to_string();
        let replayed = cachetx(&["outbox", "replay", &folder, "--any-server"]);
        let text = "12 records replayed, 0 left\n".to_owned();
        assert_eq!(replayed, (Some(0), text));
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
