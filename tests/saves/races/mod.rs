//! The ten races of the platform that rules/nodb.json comes from, each in a few lines: on a real
//! server, with real files, through the public API. Each check also runs on the platform's own way,
//! where it must find the race.
//!
//! Gates enforce the order: the other side acts within a step, or a thread continues once another
//! one has reached a point.

mod by_hand;
mod files;
mod group;
mod library;
mod locks;
mod server;

use crate::support;
use crate::support::World;
use std::sync::Arc;

/// A process that works on the run's document `climate`.
trait Process: Send + Sync {
    /// The document as readers see it.
    fn open(&self) -> Result<Box<dyn Instance>, String>;
    /// An operator's command.
    fn clear_locks(&self);
    /// The server is back: does what was postponed until then.
    fn catch_up(&self);
}

/// A program's object for the document.
trait Instance: Send {
    fn years(&self) -> u64;
    /// Identifies the object in memory.
    fn address(&self) -> usize;
    fn lock(&mut self) -> Result<(), String>;
    /// Changes the locked document.
    fn add(&mut self, years: u64);
    fn renew(&mut self) -> Result<(), String>;
    /// Saves with the task `build_climate`.
    fn dump_and_unlock(&mut self) -> Result<(), String>;
    fn unlock(&mut self);
}

/// Gets the name of each step before it is taken. Both ways have `server.Acquire`, `disk.read` and
/// `server.Fill`.
type Trace = Arc<dyn Fn(&str) + Send + Sync>;

/// Starts a process that reaches the world's server by this URL.
type Start = fn(&World, &str, Trace) -> Box<dyn Process>;

/// The library, or the platform's own way.
#[derive(Clone, Copy)]
struct Way(Start);

impl Way {
    fn start(self, world: &World) -> Box<dyn Process> {
        self.traced(world, |_| {})
    }

    fn traced(
        self,
        world: &World,
        trace: impl Fn(&str) + Send + Sync + 'static,
    ) -> Box<dyn Process> {
        self.at(world, &world.server.url(), trace)
    }

    fn at(
        self,
        world: &World,
        url: &str,
        trace: impl Fn(&str) + Send + Sync + 'static,
    ) -> Box<dyn Process> {
        (self.0)(world, url, Arc::new(trace))
    }
}

/// What a check found wrong.
type Verdict = Result<(), String>;

/// The library passes the check, on every server; the naive way is `caught` by it.
fn only_the_library_passes(check: impl Fn(Way, &World) -> Verdict, caught: &str) {
    support::on_every_server(|world| {
        if let Err(why) = check(Way(library::start), world) {
            panic!("the library: {why}");
        }
    });
    let world = World::start();
    let why = check(Way(by_hand::start), &world).expect_err("the check catches the naive way");
    assert!(why.contains(caught), "{why}");
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}
