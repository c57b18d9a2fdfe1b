//! Several documents saved as one, in one slot and in several.

use crate::{
    bed::*,
    support::{Climate, committed},
};
use cachetx::{CacheOutcome, CrossSlot, Document, Guarantee, Reach, Rules, Save, Store};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// `wepp` depends on both documents of its run, `map` of any run is hashed elsewhere.
const RULES: &str = r#"{
  "version": "1.1",
  "cache_keys": {
    "climate": "nodb_cache:{{{run_id}}}:climate",
    "soils": "nodb_cache:{{{run_id}}}:soils",
    "wepp": "nodb_cache:{{{run_id}}}:wepp",
    "map": "nodb_cache:{run_id}:map"
  },
  "depends_on": { "wepp": ["climate", "soils"] },
  "rules": { "draw": { "invalidates_cache": ["map"] } }
}"#;

fn store(bed: &Bed, cross_slot: CrossSlot) -> Store {
    bed.forget_rules();
    let rules = Rules::from_json(RULES).expect("rules");
    bed.store_of(bed.builder(rules).cross_slot(cross_slot))
}

fn document(store: &Store, run: &str, controller: &str) -> Document<Climate> {
    let document = store.document(run, controller).expect("a document");
    document.create(&Climate::of(1)).expect("created");
    document
}

/// Runs whose keys are in different slots.
fn runs(bed: &Bed, name: &str) -> [String; 2] {
    let runs = [format!("{name}-a"), format!("{name}-b")];
    assert_ne!(bed.owner(&runs[0]).0, bed.owner(&runs[1]).0);
    runs
}

#[test]
fn documents_of_one_slot_are_one_step_and_others_are_refused_before_anything_is_written() {
    on_every_server(|bed| {
        let store = store(bed, CrossSlot::Refuse);
        let [one, two] = runs(bed, "refuse");
        let (a, b) = (
            document(&store, &one, "climate"),
            document(&store, &one, "soils"),
        );
        let elsewhere = document(&store, &two, "climate");
        let mut nodes = bed.nodes();
        nodes.run::<()>(&["SET", &key(&one, "wepp"), "derived"]);

        let mut both = store.transaction((&a, &b)).expect("locked");
        (both.0.years, both.1.years) = (2, 2);
        // The map of the run is in another slot.
        let refused = both.commit(["draw"]).expect_err("the map is elsewhere");
        assert!(refused.error().is_cross_slot(), "{refused}");
        assert_eq!(bed.file(&one, "climate").years, 1);
        let outcome = refused.into_transaction().commit(cachetx::NO_TASKS);
        let outcome = outcome.expect("the guard came back");
        assert_eq!((committed(&outcome), outcome.reach), (1, Reach::Atomic));
        let years = |controller| bed.file(&one, controller).years;
        assert_eq!((years("climate"), years("soils")), (2, 2));

        let refused = store.transaction((&a, &elsewhere)).map(drop);
        assert!(refused.expect_err("two slots").is_cross_slot());
        drop(a.try_lock().expect("nothing is locked"));
    });
}

#[test]
fn a_split_one_sets_and_deletes_in_every_slot() {
    on_every_server(|bed| {
        let store = store(bed, CrossSlot::Split);
        for guarantee in [Guarantee::BestEffort, Guarantee::CrashSafe] {
            let [one, two] = runs(bed, &format!("split-{guarantee:?}"));
            let (a, b) = (
                document(&store, &one, "climate"),
                document(&store, &two, "soils"),
            );
            let dependents = [
                key(&one, "wepp"),
                key(&two, "wepp"),
                format!("nodb_cache:{one}:map"),
                format!("nodb_cache:{two}:map"),
            ];
            let mut nodes = bed.nodes();
            for key in &dependents {
                nodes.run::<()>(&["SET", key, "derived"]);
            }
            let mut both = store.transaction((&a, &b)).expect("locked");
            (both.0.years, both.1.years) = (2, 3);
            let save = Save::new().tasks(["draw"]).guarantee(guarantee);
            let outcome = both.commit_with(save).expect("committed");
            assert!(
                matches!(outcome.cache, CacheOutcome::Committed { .. }),
                "{outcome:?}"
            );
            assert_eq!(outcome.reach, Reach::Split);
            for key in &dependents {
                assert_eq!(nodes.run::<u32>(&["EXISTS", key]), 0, "{key}");
            }
            for (document, years) in [(&a, 2), (&b, 3)] {
                let own: Vec<u8> = nodes.run(&["GET", document.cache_key()]);
                assert_eq!(own, Climate::of(years).bytes());
                drop(document.try_lock().expect("released"));
            }
        }
    });
}

#[test]
fn one_that_dies_in_the_middle_is_finished_in_every_slot() {
    on_every_server(|bed| {
        let whole = store(bed, CrossSlot::Split);
        let [one, two] = runs(bed, "dies");
        document(&whole, &one, "climate");
        document(&whole, &two, "soils");
        let dying = Store::builder(whole.cache())
            .root(bed.root.path())
            .trace(|step| assert_ne!(step, "server.Commit", "this one dies here"))
            .open()
            .expect("a store");
        let a: Document<Climate> = dying.document(&one, "climate").expect("a document");
        let b: Document<Climate> = dying.document(&two, "soils").expect("a document");
        let maps = [
            format!("nodb_cache:{one}:map"),
            format!("nodb_cache:{two}:map"),
        ];
        let mut nodes = bed.nodes();
        for map in &maps {
            nodes.run::<()>(&["SET", map, "derived"]);
        }
        let mut both = dying.transaction((&a, &b)).expect("locked");
        (both.0.years, both.1.years) = (2, 2);
        let died = catch_unwind(AssertUnwindSafe(|| both.commit(["draw"]).map(drop)));
        assert!(died.is_err());
        // Read by a store that did not see it.
        let read: Document<Climate> = whole.document(&two, "soils").expect("a document");
        assert_eq!(read.read().expect("read").years, 2);
        for map in &maps {
            assert_eq!(nodes.run::<u32>(&["EXISTS", map]), 0, "{map}");
        }
        let left = std::fs::read_dir(bed.root.path().join(".cachetx-journal"));
        assert_eq!(left.expect("the folder").count(), 0);
    });
}
