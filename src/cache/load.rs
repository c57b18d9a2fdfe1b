//! Values that are loaded on a miss, under a lease.

use super::{Cache, now};
use crate::{
    BoxError, Error, JsonStyle, Params, Result,
    error::Kind,
    json,
    op::{Bytes, Entry, Invalidate, keys},
    protocol::{Action, Answer, Run, Step, load, mismatch},
    token,
};
use scheduled_thread_pool::{JobHandle, ScheduledThreadPool};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

/// What a reader does about an entry that somebody else is loading, or is about to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnBusy {
    /// Waits for it so long, then loads without filling. It never takes what was loaded over a commit or an invalidation:
    /// that is not filled, and the reader loads itself.
    Wait(Duration),
    /// Loads at once, and does not fill.
    LoadWithoutFilling,
}

/// What became of a [`Cache::put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutOutcome {
    /// The value is set.
    Set,
    /// The old one is gone and the new one is not set, as far as is known: somebody else loads or changes the entry just
    /// now, or the server went away in between.
    Refused,
}

/// Where an entry is, and how long it lives.
struct Place {
    entry: Entry,
    ttl: Duration,
}

/// A lease that this reader has. It goes back when this is dropped without a fill: the loader failed or panicked.
struct Held<'a> {
    cache: &'a Cache,
    entry: Entry,
    token: String,
    renewal: JobHandle,
    filled: bool,
}

impl Cache {
    /// The value, where the server has one that was filled by this library. It is not compared with any file: for documents
    /// there is [`Document::read`](crate::Document::read).
    ///
    /// # Errors
    ///
    /// A controller that the rules do not have, a param that is missing or may not stand in a key, or a server that is away.
    pub fn get(&self, controller: &str, params: &Params) -> Result<Option<Arc<[u8]>>> {
        let place = self.place(controller, params)?;
        self.drive(load::get(place.entry))
    }

    /// The value; where the server has none, `load` makes it, and it is filled for the next reader.
    ///
    /// One reader loads at a time, under a lease; others do what [`CacheBuilder::on_busy`](crate::CacheBuilder::on_busy)
    /// says. A commit or an invalidation meanwhile drops the lease: then this call returns what it loaded, and nobody else
    /// gets it. While the server is away the value is loaded and not filled.
    ///
    /// `load` has to start its reads after it was called, at the place where writes go (no replica that lags behind), and
    /// outside of a database snapshot that is older than the call. What it read before that, a commit may have changed
    /// without the lease knowing.
    ///
    /// # Errors
    ///
    /// The closure's own error, handed back through [`Error::caller`]; it gives the lease back, as a panic does. A
    /// controller that the rules do not have, or a param that is missing or may not stand in a key. A server that is away
    /// is none.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::{Cache, Params, Rules};
    ///
    /// let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).in_memory().open()?;
    /// let params = Params::new().with("run_id", "copacetic-sled");
    /// let loaded = cache.get_or_load("wepp", &params, || Ok("computed".as_bytes()))?;
    /// let again = cache.get_or_load("wepp", &params, || Ok("not called".as_bytes()))?;
    /// assert_eq!(loaded, again);
    /// cache.invalidate(["build_climate"], &params)?;
    /// assert_eq!(cache.get("wepp", &params)?, None);
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn get_or_load<B: Into<Arc<[u8]>>>(
        &self,
        controller: &str,
        params: &Params,
        load: impl FnOnce() -> Result<B, BoxError>,
    ) -> Result<Arc<[u8]>> {
        let place = self.place(controller, params)?;
        let wait = match self.0.on_busy {
            OnBusy::Wait(wait) => wait,
            OnBusy::LoadWithoutFilling => Duration::ZERO,
        };
        let claim = self.claim(place.entry.clone(), wait)?;
        let token = claim.token.clone();
        let held = match self.drive(load::begin(claim))? {
            load::Begun::Found(value) => {
                self.counters().hits.add();
                return Ok(value);
            }
            load::Begun::Leased => Some(Held::new(self, place.entry, token)),
            load::Begun::Unleased => None,
        };
        self.counters().loads.add();
        let value = load().map_err(|e| Error::new(Kind::Caller(e)))?.into();
        if let Some(held) = held {
            held.fill(&value, place.ttl)?;
        }
        Ok(value)
    }

    /// Sets the value, whatever was there: for one that is right *now*, such as what its only writer has just computed.
    /// What is loaded from a source that others change belongs into [`get_or_load`](Self::get_or_load), which notices when
    /// it is late.
    ///
    /// # Errors
    ///
    /// A controller that the rules do not have, a param that is missing or may not stand in a key, or a server that is away
    /// or refuses.
    pub fn put(
        &self,
        controller: &str,
        params: &Params,
        value: impl Into<Arc<[u8]>>,
    ) -> Result<PutOutcome> {
        let place = self.place(controller, params)?;
        // Those who load an older one must not fill it later.
        let gone = Invalidate {
            entries: vec![place.entry.clone()],
            release: None,
        };
        self.ask(gone).map_err(crate::op::Fault::into_error)?;
        let claim = self.claim(place.entry.clone(), Duration::ZERO)?;
        let token = claim.token.clone();
        if self.drive(load::take(claim))? != load::Begun::Leased {
            return Ok(PutOutcome::Refused);
        }
        let held = Held::new(self, place.entry, token);
        Ok(match held.fill(&value.into(), place.ttl)? {
            load::Filled::Set => PutOutcome::Set,
            load::Filled::Refused | load::Filled::Unknown => PutOutcome::Refused,
        })
    }

    /// [`get`](Self::get) of a value that is JSON.
    ///
    /// # Errors
    ///
    /// As there, and a value that is not JSON or not a `T`.
    pub fn get_json<T: DeserializeOwned>(
        &self,
        controller: &str,
        params: &Params,
    ) -> Result<Option<T>> {
        let bytes = self.get(controller, params)?;
        bytes
            .map(|bytes| json::parse(controller, &bytes))
            .transpose()
    }

    /// [`get_or_load`](Self::get_or_load) of a value that is JSON.
    ///
    /// # Errors
    ///
    /// As there; a value on the server that is not JSON or not a `T`; a loaded one that JSON cannot hold (`NaN`).
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::{Cache, Params, Rules};
    ///
    /// let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).in_memory().open()?;
    /// let params = Params::new().with("run_id", "copacetic-sled");
    /// let years: Vec<u32> = cache.get_or_load_json("wepp", &params, || Ok(vec![1, 2]))?;
    /// assert_eq!(cache.get_json("wepp", &params)?, Some(years));
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn get_or_load_json<T: Serialize + DeserializeOwned>(
        &self,
        controller: &str,
        params: &Params,
        load: impl FnOnce() -> Result<T, BoxError>,
    ) -> Result<T> {
        let mut loaded = None;
        let bytes = self.get_or_load(controller, params, || {
            let value = load()?;
            let bytes = json::to_bytes(controller, &value, JsonStyle::Compact, None)?;
            loaded = Some(value);
            Ok(bytes)
        })?;
        match loaded {
            Some(value) => Ok(value),
            None => json::parse(controller, &bytes),
        }
    }

    /// [`put`](Self::put) of a value as JSON.
    ///
    /// # Errors
    ///
    /// As there, and a value that JSON cannot hold (`NaN`).
    pub fn put_json<T: Serialize + ?Sized>(
        &self,
        controller: &str,
        params: &Params,
        value: &T,
    ) -> Result<PutOutcome> {
        let bytes = json::to_bytes(controller, value, JsonStyle::Compact, None)?;
        self.put(controller, params, bytes)
    }

    fn place(&self, controller: &str, params: &Params) -> Result<Place> {
        let rules = self.rules();
        let value = rules.key(controller, params)?;
        let placeholders = rules.placeholders(controller)?;
        let first = placeholders.first().and_then(|name| params.get(name));
        let first = first.and_then(|value| value.values().first());
        let leases = keys::leases(&value, first.map(String::as_str)).into();
        Ok(Place {
            entry: self.space().place_one(Entry { value, leases }),
            ttl: rules.ttl(controller)?,
        })
    }

    fn claim(&self, entry: Entry, wait: Duration) -> Result<load::Claim> {
        Ok(load::Claim {
            entry,
            seed: token::seed(),
            token: token::hex_128()?,
            ttl: self.0.lease_ttl,
            wait,
        })
    }

    /// The blocking driver of runs that touch no file.
    pub(super) fn drive<D>(&self, mut run: Run<D>) -> Result<D> {
        let mut answer = None;
        loop {
            answer = Some(match run.resume(answer.take(), now()) {
                Step::Done(done) => return done,
                Step::Do(Action::Server(op)) => Answer::Server(self.perform(op)),
                Step::Do(Action::Disk(..)) => Answer::Disk(Err(mismatch("a run without files"))),
                Step::Do(Action::Outbox(action)) => Answer::Outbox(self.keep(&action)),
                Step::Do(Action::Sleep(pause)) => {
                    thread::sleep(pause);
                    Answer::Slept
                }
            });
        }
    }
}

impl<'a> Held<'a> {
    /// Renews the lease from now on, three times in its life, until it turns out to be lost.
    fn new(cache: &'a Cache, entry: Entry, token: String) -> Self {
        let ttl = cache.0.lease_ttl;
        let extended = (entry.clone(), token.clone());
        // Weak, so that a job that waits keeps nothing alive.
        let inner = Arc::downgrade(&cache.0);
        let renewal = cache
            .0
            .renewals
            .get()
            .execute_with_dynamic_delay(ttl / 3, move || {
                let cache = Cache(inner.upgrade()?);
                let (entry, token) = extended.clone();
                let still_held = cache.drive(load::extend(entry, token, ttl)).ok()?;
                still_held.then_some(ttl / 3)
            });
        Self {
            cache,
            entry,
            token,
            renewal,
            filled: false,
        }
    }

    fn fill(mut self, value: &Bytes, ttl: Duration) -> Result<load::Filled> {
        self.renewal.cancel();
        self.filled = true;
        let (entry, token) = (self.entry.clone(), self.token.clone());
        let filled = load::finish(entry, token, value.clone(), ttl);
        let filled = self.cache.drive(filled)?;
        let counters = self.cache.counters();
        match filled {
            load::Filled::Set => counters.fills.add(),
            load::Filled::Refused => counters.fills_refused.add(),
            load::Filled::Unknown => {}
        }
        Ok(filled)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.renewal.cancel();
        if !self.filled {
            let (entry, token) = (self.entry.clone(), self.token.clone());
            // It says itself what went wrong.
            let _ = self.cache.drive(load::give_back(entry, token));
        }
    }
}

/// The one thread that renews leases and marks, started with the first of them.
#[derive(Default)]
pub(super) struct Renewals(OnceLock<ScheduledThreadPool>);

impl Renewals {
    pub(super) fn get(&self) -> &ScheduledThreadPool {
        self.0.get_or_init(|| {
            ScheduledThreadPool::builder()
                .num_threads(1)
                .thread_name_pattern("cachetx-leases-{}")
                .build()
        })
    }
}
