//! A load that requests its own value, in the same thread, is refused at once.

use crate::support::{self, RUN, World};
use cachetx::{Cache, Document, Error, OnBusy, Params};
use serde::{Deserialize, Deserializer, de::Error as _};
use std::{
    cell::RefCell,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

const AGES: Duration = Duration::from_secs(3_600);

fn params() -> Params {
    Params::new().with("run_id", RUN)
}

fn cache() -> Cache {
    let builder = support::cache_builder().in_memory();
    builder
        .on_busy(OnBusy::Wait(AGES))
        .open()
        .expect("it opens")
}

#[test]
fn a_loader_that_loads_its_own_entry_is_told_so_and_gives_the_lease_back() {
    let (cache, params) = (cache(), params());
    let clone = cache.clone();
    let refused = cache.get_or_load("ash", &params, || {
        // Through another entry, too.
        let other = clone.get_or_load("soils", &params, || {
            let nested = clone.get_or_load("ash", &params, || Ok(vec![1]));
            Ok(nested?.to_vec())
        });
        Ok(other?.to_vec())
    });
    let refused = refused.expect_err("it would wait for itself");
    let inner = |error: &Error| -> Error {
        let caller = error.caller().expect("the closure's");
        caller
            .downcast_ref::<Error>()
            .expect("this crate's")
            .clone()
    };
    let nested = inner(&inner(&refused));
    assert!(nested.is_nested(), "{nested}");
    assert!(nested.to_string().contains(":ash"), "{nested}");
    for controller in ["ash", "soils"] {
        let loaded = cache.get_or_load(controller, &params, || Ok(vec![2]));
        assert_eq!(&*loaded.expect("nobody has the lease"), [2]);
    }
}

#[test]
fn other_entries_other_caches_and_what_comes_after_are_not_nested() {
    let (cache, another, params) = (cache(), cache(), params());
    let load = |cache: &Cache, value: u8| cache.get_or_load("ash", &params, || Ok(vec![value]));
    let loaded = cache.get_or_load("soils", &params, || {
        assert_eq!(&*load(&cache, 1)?, [1]);
        assert_eq!(&*load(&another, 2)?, [2]);
        Ok(vec![3])
    });
    assert_eq!(&*loaded.expect("loaded"), [3]);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let wepp = cache.get_or_load::<Vec<u8>>("wepp", &params, || panic!("expected"));
        drop(wepp);
    }));
    assert!(panicked.is_err());
    let again = cache.get_or_load("wepp", &params, || Ok(vec![4]));
    assert_eq!(&*again.expect("loaded"), [4]);
    // The inner call ends first, and both are settled.
    let around = cache.invalidate_around(["build_climate"], &params, || {
        let inner = cache.invalidate_around(["build_climate"], &params, || Ok(()));
        Ok(inner?.1.is_settled())
    });
    let (inner, outer) = around.expect("it goes through");
    assert!(inner && outer.is_settled());
}

thread_local! {
    static DOCUMENT: RefCell<Option<Document<Reading>>> = const { RefCell::new(None) };
}

/// Reads its own document while it is parsed.
#[derive(Debug)]
struct Reading;

impl<'de> Deserialize<'de> for Reading {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(from)?;
        let document = DOCUMENT.with_borrow(Clone::clone).expect("it is set");
        let read = document.read().map_err(D::Error::custom)?;
        drop(read);
        Ok(Self)
    }
}

#[test]
fn a_document_that_reads_itself_while_it_is_parsed_is_refused() {
    let world = World::start();
    let store = world.store();
    world
        .climate(&store)
        .create(&crate::support::Climate::of(1))
        .expect("created");
    let document: Document<Reading> = store.document(RUN, "climate").expect("a document");
    DOCUMENT.set(Some(document.clone()));
    let refused = document.read().expect_err("it would wait for itself");
    assert!(refused.is_document(), "{refused}");
    assert!(refused.to_string().contains("wait for itself"), "{refused}");
}
