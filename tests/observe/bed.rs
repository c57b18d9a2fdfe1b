//! A server, a store, and somebody who listens; by threads and by tasks.

use crate::support::{Climate, RUN, World, warnings};
use cachetx::{
    BoxError, Cache, CacheBuilder, CacheOutcome, Document, Error, NO_TASKS, Outcome, Params,
    Result, Store, StoreBuilder, aio,
    observe::{Event, LockOutcome, Reason},
};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

/// What was told, a line each.
#[derive(Clone, Default)]
pub struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    pub fn add(&self, event: &Event<'_>) {
        self.lines().push(shown(event));
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of it since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.lines())
    }

    pub fn has(&self, begin: &str) -> bool {
        self.lines().iter().any(|it| it.starts_with(begin))
    }

    pub fn ends(&self, end: &str) -> bool {
        self.lines().iter().any(|it| it.ends_with(end))
    }
}

/// Without what a clock says, but for whether it says anything.
fn shown(event: &Event<'_>) -> String {
    let took = |duration: Duration| assert!(!duration.is_zero(), "{event:?}");
    match *event {
        Event::Lock {
            document,
            waited,
            outcome,
            ..
        } => {
            took(waited);
            assert!(
                document
                    .name
                    .starts_with(&format!("{}/{}", document.run, document.controller))
            );
            let why = match outcome {
                LockOutcome::Refused(e) | LockOutcome::TimedOut(e) => {
                    format!(": {}", Reason::of(e).as_str())
                }
                _ => String::new(),
            };
            format!("lock {} {}{why}", document.controller, outcome.as_str())
        }
        Event::Save {
            kind,
            documents,
            tasks,
            duration,
            round_trips,
            conflicts,
            outcome,
            ..
        } => {
            took(duration);
            let names: Vec<_> = documents.iter().map(|it| it.controller).collect();
            let what = match outcome {
                Ok(done) => format!("{}, {round_trips} trips", done.cache.as_str()),
                Err(e) => format!("refused: {}", Reason::of(e).as_str()),
            };
            let (kind, names, tasks) = (kind.as_str(), names.join("+"), tasks.join("+"));
            format!("{kind} {names} [{tasks}] {what}, {conflicts} conflicts")
        }
        Event::Invalidation {
            tasks,
            duration,
            outcome,
            ..
        } => {
            took(duration);
            format!("invalidation [{}] {}", tasks.join("+"), outcome.as_str())
        }
        Event::Load {
            controller,
            key,
            duration,
            outcome,
            ..
        } => {
            took(duration);
            assert_eq!(key, crate::support::key(controller));
            format!("load {controller} {}", outcome.as_str())
        }
        Event::LockLost { document, why, .. } => format!("lost {document}: {why}"),
        Event::Replay {
            records,
            left,
            duration,
            cause,
            ..
        } => {
            took(duration);
            format!("replay {records}, {left} left, {}", cause.is_some())
        }
        Event::Breaker { state, .. } => format!("breaker {state:?}"),
        Event::Rules { outcome, .. } => format!("rules {}", outcome.is_ok()),
        Event::Echo { entries, locks, .. } => format!("echo {}", entries + locks > 0),
        ref other => panic!("{other:?}"),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Threads,
    Tasks,
}

pub const BOTH: [Way; 2] = [Way::Threads, Way::Tasks];

pub struct Bed {
    pub world: World,
    pub store: Store,
    pub told: Told,
    pub way: Way,
    pub runtime: Runtime,
}

/// Runs it where the bed's way says, and as that says.
macro_rules! by {
    ($bed:expr, $threads:expr, $task:expr $(,)?) => {
        match $bed.way {
            crate::bed::Way::Threads => $threads,
            crate::bed::Way::Tasks => $bed.runtime.block_on(async { $task.await }),
        }
    };
}
pub(crate) use by;

pub fn run() -> Params {
    Params::new().with("run_id", RUN)
}

pub fn add(climate: &mut Climate) -> Result<(), BoxError> {
    climate.years += 1;
    Ok(())
}

impl Bed {
    pub fn new(way: Way) -> Self {
        Self::with(way, |cache| cache, |store| store)
    }

    pub fn with(
        way: Way,
        cache: impl FnOnce(CacheBuilder) -> CacheBuilder,
        store: impl FnOnce(StoreBuilder) -> StoreBuilder,
    ) -> Self {
        eprintln!("by {way:?}");
        warnings::listen();
        let (world, told) = (World::start(), Told::default());
        let hears = told.clone();
        let builder =
            cache(world.cache_builder()).observer(move |event: &Event<'_>| hears.add(event));
        let opened = builder.open().expect("a cache");
        let builder = store(Store::builder(opened).root(world.root.path()));
        Self {
            store: builder.open().expect("a store"),
            world,
            told,
            way,
            runtime: Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime"),
        }
    }

    pub fn cache(&self) -> &Cache {
        self.store.cache()
    }

    pub fn tasks_cache(&self) -> aio::Cache {
        self.cache().clone().into()
    }

    pub fn document(&self, controller: &str) -> Document<Climate> {
        self.store.document(RUN, controller).expect("a document")
    }

    pub fn tasks_document(&self, controller: &str) -> aio::Document<Climate> {
        self.document(controller).into()
    }

    pub fn create(&self, controller: &str) -> Result<Outcome> {
        let value = Climate::of(1);
        by!(
            self,
            self.document(controller).create(&value),
            self.tasks_document(controller).create(&value)
        )
    }

    /// With a document that nobody has been told of yet.
    pub fn made(self) -> Self {
        self.create("climate").expect("made");
        self.told.take();
        self
    }

    /// Under the lock; `meanwhile` comes before the save.
    pub fn save(&self, meanwhile: impl FnOnce()) -> Result<Outcome> {
        match self.way {
            Way::Threads => {
                let mut held = self.document("climate").lock()?;
                held.years += 1;
                meanwhile();
                let saved = held.dump_and_unlock_with_transaction(["build_climate"]);
                saved.map_err(Error::from)
            }
            Way::Tasks => self.runtime.block_on(async {
                let mut held = self.tasks_document("climate").lock().await?;
                held.years += 1;
                meanwhile();
                let saved = held
                    .dump_and_unlock_with_transaction(["build_climate"])
                    .await;
                saved.map_err(Error::from)
            }),
        }
    }

    pub fn update(
        &self,
        change: impl FnMut(&mut Climate) -> Result<(), BoxError> + Send + 'static,
    ) -> Result<Outcome> {
        let updated = by!(
            self,
            self.document("climate").update(["build_climate"], change),
            self.tasks_document("climate")
                .update(["build_climate"], change)
        );
        updated.map(|((), outcome)| outcome)
    }

    pub fn delete(&self, tasks: &[&str]) -> Result<Outcome> {
        by!(
            self,
            self.document("climate").delete(tasks),
            self.tasks_document("climate").delete(tasks)
        )
    }

    pub fn try_lock(&self) -> Result<()> {
        by!(self, self.document("climate").try_lock().map(drop), async {
            self.tasks_document("climate").try_lock().await.map(drop)
        })
    }

    pub fn invalidate(&self) -> CacheOutcome {
        let invalidated = by!(
            self,
            self.cache().invalidate(["build_climate"], &run()),
            self.tasks_cache().invalidate(["build_climate"], &run())
        );
        invalidated.expect("no mistake")
    }

    /// Asks the server for nothing.
    pub fn ask(&self) -> CacheOutcome {
        let asked = self.cache().invalidate(NO_TASKS, &Params::new());
        asked.expect("no mistake")
    }

    pub fn load(&self, loader: impl FnOnce() -> Result<Vec<u8>, BoxError>) -> Result<()> {
        let loaded = by!(
            self,
            self.cache().get_or_load("wepp", &run(), loader),
            self.tasks_cache()
                .get_or_load("wepp", &run(), || std::future::ready(loader()))
        );
        loaded.map(drop)
    }

    pub fn replace_rules(&self, text: &str) -> Result<bool> {
        let new = cachetx::Rules::from_json(text).expect("they compile");
        match self.way {
            Way::Threads => self.cache().replace_rules(new),
            Way::Tasks => self.tasks_cache().replace_rules(new),
        }
    }

    pub fn replay(&self) {
        let replayed = by!(
            self,
            self.cache().replay_outbox(),
            self.tasks_cache().replay_outbox()
        );
        replayed.expect("no bug");
    }
}
