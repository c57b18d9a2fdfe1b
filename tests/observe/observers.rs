//! How observers are called.

use crate::{
    bed::{BOTH, Bed, Told},
    support::rules,
};
use cachetx::{Cache, observe::Event};

#[test]
fn one_that_panics_is_told_of_all_and_takes_no_other_along() {
    for way in BOTH {
        let before = Told::default();
        let first = before.clone();
        let panics = move |event: &Event<'_>| {
            first.add(event);
            panic!("an observer that is broken")
        };
        let bed = Bed::with(way, |cache| cache.observer(panics), |store| store).made();
        bed.save(|| {}).expect("saved");
        let told = bed.told.take();
        assert_eq!(told.len(), 2);
        assert!(before.take().ends_with(&told));
    }
}

#[test]
fn all_clones_of_a_cache_tell() {
    let told = Told::default();
    let hears = told.clone();
    let cache = Cache::builder(rules())
        .in_memory()
        .observer(move |event: &Event<'_>| hears.add(event))
        .open()
        .expect("a cache");
    let clone = cache.clone();
    drop(cache);
    let params = crate::bed::run();
    clone
        .invalidate(["build_climate"], &params)
        .expect("no mistake");
    assert_eq!(told.take(), ["invalidation [build_climate] invalidated"]);
}
