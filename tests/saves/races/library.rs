//! The library's way.

use super::{
    Instance, Process, Trace,
    support::{Climate, RUN, World, cache_of, rules},
};
use cachetx::{Document, Locked, Store};
use std::{sync::Arc, time::Duration};

/// Far longer than a test takes on a busy machine.
const LOCK_WAIT: Duration = Duration::from_secs(60);

pub fn start(world: &World, url: &str, trace: Trace) -> Box<dyn Process> {
    let cache = cache_of(rules())
        .url(url)
        // Every call must reach the server here; tests/away/breaker.rs tests the breaker.
        .circuit_breaker(Duration::ZERO)
        .open()
        .expect("the cache opens");
    let store = Store::builder(cache)
        .root(world.root.path())
        .lock_wait(LOCK_WAIT)
        .trace(move |step| trace(step))
        .open()
        .expect("the store opens");
    Box::new(Library(store))
}

struct Library(Store);

impl Process for Library {
    fn open(&self) -> Result<Box<dyn Instance>, String> {
        let document: Document<Climate> = self.0.document(RUN, "climate").map_err(text)?;
        let seen = document.read().map_err(text)?;
        Ok(Box::new(Opened {
            document,
            seen,
            held: None,
        }))
    }

    fn clear_locks(&self) {
        self.0.clear_locks(RUN).expect("the server is there");
    }

    fn catch_up(&self) {
        let replayed = self.0.cache().replay_outbox().expect("no bug");
        assert_eq!(replayed.left, 0, "{replayed:?}");
    }
}

struct Opened {
    document: Document<Climate>,
    seen: Arc<Climate>,
    held: Option<Locked<Climate>>,
}

impl Instance for Opened {
    fn years(&self) -> u64 {
        self.seen.years
    }

    fn address(&self) -> usize {
        Arc::as_ptr(&self.seen).addr()
    }

    fn lock(&mut self) -> Result<(), String> {
        self.held = Some(self.document.lock().map_err(text)?);
        Ok(())
    }

    fn add(&mut self, years: u64) {
        self.held.as_mut().expect("it is locked").years += years;
    }

    fn renew(&mut self) -> Result<(), String> {
        Locked::renew(self.held.as_mut().expect("it is locked")).map_err(text)
    }

    fn dump_and_unlock(&mut self) -> Result<(), String> {
        let held = self.held.take().expect("it is locked");
        let saved = held.dump_and_unlock_with_transaction(["build_climate"]);
        saved.map(drop).map_err(|e| text(e.into()))
    }

    fn unlock(&mut self) {
        self.held = None;
    }
}

fn text(error: cachetx::Error) -> String {
    error.to_string()
}
