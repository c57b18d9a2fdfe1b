//! Slots that move while they are in use.

use crate::{
    bed::*,
    support::{self, Climate},
};
use std::{
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    thread,
    time::Duration,
};

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

/// Nodes that prefer to be called by host names and have none say `?:<port>`: the host that was asked.
#[test]
fn a_slot_moves_between_nodes_that_have_no_name() {
    on_every_server(|bed| {
        let binary = bed.cluster.node(0).binary();
        if binary.version() < (7, 0, 0) {
            eprintln!("skipped: {binary} announces addresses only");
            return;
        }
        let prefer = |what: &str| {
            for n in 0..6 {
                redis::cmd("CONFIG")
                    .arg(&["SET", "cluster-preferred-endpoint-type", what])
                    .exec(&mut support::connect(bed.cluster.node(n)))
                    .expect("CONFIG SET");
            }
        };
        prefer("hostname");
        let store = bed.store();
        let run = "nameless";
        let document = climate(&store, run);
        document.create(&Climate::of(0)).expect("created");
        let (slot, first) = bed.owner(document.cache_key());
        for at in [first, first + 1, first + 2].map(|n| n % 3) {
            let to = (at + 1) % 3;
            let before = store.cache().stats().redirects;
            bed.cluster.begin_migration(slot, at, to).expect("begun");
            bed.cluster.migrate_keys(slot, at, to).expect("moved");
            // Some of its keys are on either side, so that it need not succeed.
            if let Err(e) = add_one(&document, task()) {
                assert!(!e.to_string().contains("connect"), "{e}");
            }
            bed.cluster.migrate_keys(slot, at, to).expect("moved");
            bed.cluster.end_migration(slot, at, to).expect("ended");
            let outcome = add_one(&document, task()).expect("saved");
            assert!(outcome.cache.is_settled(), "{outcome:?}");
            assert!(store.cache().stats().redirects > before);
        }
        prefer("ip");
    });
}
