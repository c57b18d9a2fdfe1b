//! Keys that cannot meet in one step.

use crate::{bed::*, support::Climate};
use cachetx::{CacheOutcome, CrossSlot, Guarantee, Params, Reach, Rules, Save, Store};

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
fn a_crash_safe_save_marks_the_entries_of_every_slot_and_takes_its_marks_away() {
    on_every_server(|bed| {
        let rules = Rules::from_json(SPREAD).expect("rules");
        let store = bed.store_of(bed.builder(rules).cross_slot(CrossSlot::Split));
        let run = "marked";
        let document = climate(&store, run);
        document.create(&Climate::of(1)).expect("created");
        let plain = |controller: &str| format!("nodb_cache:{run}:{controller}");
        let keys = [key(run, "wepp"), plain("ash"), plain("soils")];
        let mut nodes = bed.nodes();
        let safe = || task().guarantee(Guarantee::CrashSafe);
        keys.iter()
            .for_each(|key| nodes.run::<()>(&["SET", key, "derived"]));
        let outcome = add_one(&document, safe()).expect("saved");
        assert!(
            matches!(outcome.cache, CacheOutcome::Committed { removed: 0 }),
            "all are gone before: {outcome:?}"
        );
        assert_eq!(outcome.reach, Reach::Split);
        let marked = [
            format!("{{{run}}}:cachetx:leases"),
            format!("{{{}}}:leases", plain("ash")),
            format!("{{{}}}:leases", plain("soils")),
        ];
        for gone in keys.iter().chain(&marked) {
            assert_eq!(nodes.run::<u32>(&["EXISTS", gone]), 0, "{gone}");
        }

        // The same entries, marked by somebody else too: those marks stay.
        let theirs = format!("w:theirs:{}", u64::MAX / 2);
        for (leases, key) in marked.iter().zip(&keys) {
            nodes.run::<()>(&["HSET", leases, key, &theirs]);
        }
        add_one(&document, safe()).expect("saved");
        for (leases, key) in marked.iter().zip(&keys) {
            let mark: String = nodes.run(&["HGET", leases, key]);
            assert_eq!(mark, theirs, "{leases}");
            nodes.run::<()>(&["DEL", leases]);
        }
    });
}
