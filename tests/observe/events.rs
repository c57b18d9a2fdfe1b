//! Each event of a server that is there.

use crate::{
    bed::{BOTH, Bed, Way, add, by, run},
    support::{Climate, RUN, until},
};
use cachetx::KeepAlive;
use std::{fs, time::Duration};

fn on_both(test: impl Fn(Bed)) {
    BOTH.into_iter().for_each(|way| test(Bed::new(way)));
}

#[test]
fn locks_saves_updates_and_deletions_are_told() {
    on_both(|bed| {
        bed.create("climate").expect("made");
        let made = [
            "lock climate acquired",
            "save climate [] committed, 1 trips, 0 conflicts",
        ];
        assert_eq!(bed.told.take(), made);
        bed.save(|| {}).expect("saved");
        let saved = [
            "lock climate acquired",
            "save climate [build_climate] committed, 1 trips, 0 conflicts",
        ];
        assert_eq!(bed.told.take(), saved);
        bed.update(add).expect("updated");
        let updated = ["update climate [build_climate] committed, 2 trips, 0 conflicts"];
        assert_eq!(bed.told.take(), updated);
        bed.delete(&["build_climate"]).expect("deleted");
        let deleted = [
            "lock climate acquired",
            "delete climate [build_climate] committed, 1 trips, 0 conflicts",
        ];
        assert_eq!(
            bed.told
                .take()
                .join("\n")
                .replace("invalidated", "committed"),
            deleted.join("\n")
        );
        let stats = bed.cache().stats();
        assert_eq!(
            (stats.locks, stats.saves_refused, stats.conflicts),
            (3, 0, 0)
        );
    });
}

#[test]
fn a_transaction_tells_of_each_lock_and_of_all_documents() {
    on_both(|bed| {
        let bed = bed.made();
        bed.create("soils").expect("made");
        bed.told.take();
        by!(
            bed,
            {
                let (a, b) = (bed.document("climate"), bed.document("soils"));
                let both = bed.store.transaction((&a, &b)).expect("locked");
                both.commit(["build_climate"]).expect("saved")
            },
            async {
                let store = cachetx::aio::Store::from(bed.store.clone());
                let (a, b) = (bed.tasks_document("climate"), bed.tasks_document("soils"));
                let both = store.transaction((&a, &b)).await.expect("locked");
                both.commit(["build_climate"]).await.expect("saved")
            }
        );
        let told = [
            "lock climate acquired",
            "lock soils acquired",
            "transaction climate+soils [build_climate] committed, 1 trips, 0 conflicts",
        ];
        assert_eq!(bed.told.take(), told);
    });
}

#[test]
fn what_is_refused_is_told_with_the_reason() {
    on_both(|bed| {
        let bed = bed.made();
        let file = bed.world.file();
        // Under the guard's eyes.
        let foreign = || {
            bed.world.settle();
            fs::write(&file, Climate::of(7).bytes()).expect("written");
        };
        assert!(bed.save(foreign).is_err_and(|e| e.is_conflict()));
        let told = [
            "lock climate acquired",
            "save climate [build_climate] refused: conflict, 1 conflicts",
        ];
        assert_eq!(bed.told.take(), told);

        bed.world.settle();
        let (mut first, changed) = (true, file.clone());
        let overtaken = move |climate: &mut Climate| {
            if std::mem::take(&mut first) {
                fs::write(&changed, Climate::of(8).bytes())?;
            }
            add(climate)
        };
        bed.update(overtaken).expect("updated at the second try");
        let told = bed.told.take();
        assert!(
            told.len() == 1 && told[0].ends_with("1 conflicts") && !told[0].contains("refused"),
            "{told:?}"
        );

        let marker = file.with_file_name("READONLY");
        let marked = || fs::write(&marker, "").expect("marked");
        assert!(bed.save(marked).is_err_and(|e| e.is_read_only()));
        assert!(bed.try_lock().is_err_and(|e| e.is_read_only()));
        let told = [
            "lock climate acquired",
            "save climate [build_climate] refused: read_only, 0 conflicts",
            "lock climate refused: read_only",
        ];
        assert_eq!(bed.told.take(), told);
        let stats = bed.cache().stats();
        assert_eq!((stats.saves_refused, stats.conflicts), (2, 2));
    });
}

/// The caller's own error is nobody's refusal.
#[test]
fn a_closure_that_fails_tells_nothing() {
    on_both(|bed| {
        let bed = bed.made();
        let failed = bed.update(|_| Err("no".into()));
        assert!(failed.is_err_and(|e| e.caller().is_some()));
        assert!(bed.told.take().is_empty());
        assert_eq!(bed.cache().stats().saves_refused, 0);
    });
}

#[test]
fn a_lock_that_is_held_is_told_as_timed_out_and_one_that_is_waited_for_is_counted() {
    on_both(|bed| {
        let bed = bed.made();
        let other = bed.world.store();
        let held = bed.world.climate(&other).lock().expect("locked");
        assert!(bed.try_lock().is_err_and(|e| e.is_lock_held()));
        assert_eq!(bed.told.take(), ["lock climate timed_out: lock_held"]);
        assert_eq!(bed.cache().stats().lock_timeouts, 1);
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| bed.save(|| {}));
            // It has been refused once.
            until("it waits", || {
                bed.cache().stats().round_trips > 0
                    && crate::support::calls(&mut bed.world.redis(), "subscribe") > 0
            });
            drop(held);
            waiter.join().expect("no panic").expect("saved");
        });
        assert_eq!(bed.told.take()[0], "lock climate acquired");
        assert_eq!(bed.cache().stats().lock_waits, 1);
    });
}

/// It asks for the lock itself then; that is no save of its own.
#[test]
fn an_update_that_waits_for_the_lock_is_told_once() {
    on_both(|bed| {
        let bed = bed.made();
        let other = bed.world.store();
        let held = bed.world.climate(&other).lock().expect("locked");
        std::thread::scope(|scope| {
            let updater = scope.spawn(|| bed.update(add));
            until("it waits", || {
                crate::support::calls(&mut bed.world.redis(), "subscribe") > 0
            });
            drop(held);
            updater.join().expect("no panic").expect("updated");
        });
        let told = bed.told.take();
        assert_eq!(told[0], "lock climate acquired");
        let update = "update climate [build_climate] committed, ";
        assert!(told.len() == 2 && told[1].starts_with(update), "{told:?}");
    });
}

#[test]
fn a_lock_that_nobody_waits_for_any_more_is_told_as_abandoned() {
    let bed = Bed::new(Way::Tasks).made();
    let other = bed.world.store();
    let _held = bed.world.climate(&other).lock().expect("locked");
    let document = bed.tasks_document("climate");
    bed.runtime.block_on(async {
        let lock = document.lock();
        let waited = tokio::time::timeout(Duration::from_millis(50), lock).await;
        assert!(waited.is_err());
    });
    until("it is told", || bed.told.has("lock climate abandoned"));
    assert_eq!(bed.cache().stats().lock_timeouts, 0);
}

#[test]
fn a_lock_that_is_cleared_is_told_as_lost() {
    on_both(|bed| {
        let bed = bed.made();
        let lost = || {
            bed.world.store().clear_locks(RUN).expect("cleared");
            let line = "lost copacetic-sled/climate: it ran out or was cleared";
            until("it is told", || bed.told.has(line));
        };
        assert!(bed.save(lost).is_err_and(|e| e.is_lock_lost()));
        assert_eq!(bed.cache().stats().locks_lost, 1);
    });
}

/// Nobody looks until it is saved.
#[test]
fn a_lock_that_the_save_finds_lost_is_told() {
    for way in BOTH {
        let bed = Bed::with(way, |cache| cache, |store| store.keep_alive(KeepAlive::Off)).made();
        let clear = || assert_eq!(bed.world.store().clear_locks(RUN).expect("cleared"), 1);
        let saved = bed.save(clear).expect("the file is the one that was read");
        assert!(saved.cache.is_settled());
        let told = [
            "lock climate acquired",
            "lost copacetic-sled/climate: it was lost when it was committed",
            "save climate [build_climate] invalidated, 1 trips, 0 conflicts",
        ];
        assert_eq!(bed.told.take(), told);
    }
}

#[test]
fn invalidations_are_told_with_their_tasks() {
    on_both(|bed| {
        bed.invalidate();
        assert_eq!(
            bed.told.take(),
            ["invalidation [build_climate] invalidated"]
        );
        by!(
            bed,
            bed.cache()
                .invalidate_around(["build_climate"], &run(), || Ok(())),
            async {
                let cache = bed.tasks_cache();
                let change = || async { Ok(()) };
                cache
                    .invalidate_around(["build_climate"], &run(), change)
                    .await
            }
        )
        .expect("changed");
        assert_eq!(
            bed.told.take(),
            ["invalidation [build_climate] invalidated"]
        );
    });
}

#[test]
fn loads_are_told_with_what_came_of_them() {
    on_both(|bed| {
        let value = || Ok(b"computed".to_vec());
        bed.load(value).expect("loaded");
        bed.load(value).expect("found");
        assert_eq!(bed.told.take(), ["load wepp filled", "load wepp hit"]);

        let gone = || {
            let mut redis = bed.world.redis();
            redis::cmd("DEL")
                .arg(crate::support::key("wepp"))
                .exec(&mut redis)
                .expect("gone");
        };
        gone();
        assert!(bed.load(|| Err("no".into())).is_err());
        // A save of the climate, which it is derived from, comes in between.
        let other = bed.world.climate(&bed.world.store());
        let changed = || {
            let made = other.create(&Climate::of(1));
            made.map(|_| b"of before".to_vec()).map_err(Into::into)
        };
        bed.load(changed).expect("loaded");
        assert_eq!(
            bed.told.take(),
            ["load wepp failed", "load wepp fill_refused"]
        );
    });
}

#[test]
fn rules_are_told() {
    let other = crate::support::RULES.replace("[\"ash\", \"soils\"]", "[\"ash\"]");
    let foreign = crate::support::RULES.replace("soils", "sand");
    on_both(|bed| {
        assert!(bed.replace_rules(&other).expect("replaced"));
        assert!(!bed.replace_rules(&other).expect("the same"));
        assert!(bed.replace_rules(&foreign).is_err_and(|e| e.is_config()));
        assert_eq!(bed.told.take(), ["rules true", "rules false"]);
    });
}
