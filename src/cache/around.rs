//! Invalidating around a change of any other source of truth.

use super::{Cache, Task};
use crate::{
    engine::{Net, at_once},
    model::{BoxError, Error, Result, error::Kind, token},
    protocol::{CacheOutcome, Intent, Scope, around},
    rules::{KeyList, Params},
};
use std::sync::{Arc, Mutex, PoisonError};

impl Cache {
    /// Changes a source of truth that is no document of a store (a database, say), and deletes what the tasks make out of
    /// date: before `change`, so that a process which dies in the middle leaves nothing stale, and after it.
    ///
    /// While `change` runs, nobody is let fill these entries: [`get_or_load`](Self::get_or_load) waits, or loads without
    /// filling ([`CacheBuilder::on_busy`](crate::CacheBuilder::on_busy)). They are deleted again once it has returned, and
    /// also where it fails or panics, since an error is no proof that nothing was changed. What is to be deleted is recorded
    /// in the outbox first, synced: should this process die, another one does it.
    ///
    /// Inside of `change` that waits in vain, so read from the source itself there.
    ///
    /// `change` has to have committed when it returns: what others can only read later, they may cache too early.
    ///
    /// Two round trips for each step, and one more each third of a mark's life
    /// ([`CacheBuilder::mark_ttl`](crate::CacheBuilder::mark_ttl)) that `change` takes. A server that is away is no error: it
    /// is put off, as [`CacheOutcome::Deferred`] says, and readers may find old entries until then.
    ///
    /// # Errors
    ///
    /// Before `change` is called: an unknown task, a param that is missing or may not stand in a key, keys that a Cluster has
    /// in several hash slots, or an outbox that cannot record it ([`Error::is_outbox`]: give
    /// [`CacheBuilder::outbox`](crate::CacheBuilder::outbox) a folder). After it: its own error, handed back through
    /// [`Error::caller`]; the entries are deleted then too.
    ///
    /// # Examples
    ///
    /// ```
    /// use cachetx::{Cache, Params, Rules};
    ///
    /// let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).in_memory().open()?;
    /// let params = Params::new().with("run_id", "copacetic-sled");
    /// let mut database = vec!["sand"];
    /// cache.get_or_load("wepp", &params, || Ok("computed from sand".as_bytes()))?;
    ///
    /// let (rows, outcome) = cache.invalidate_around(["build_soils"], &params, || {
    ///     database.push("clay");
    ///     Ok(database.len())
    /// })?;
    /// assert!(rows == 2 && outcome.is_settled());
    /// assert_eq!(cache.get("wepp", &params)?, None);
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn invalidate_around<R>(
        &self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        params: &Params,
        change: impl FnOnce() -> Result<R, BoxError>,
    ) -> Result<(R, CacheOutcome)> {
        let mut names = Vec::new();
        let keys = self.rules().expand(self.named(tasks, &mut names), params)?;
        let change = || std::future::ready(change());
        at_once(self.invalidate_around_by(Net::Threads, names, &keys, params, change))
    }

    pub(crate) async fn invalidate_around_by<R, F: Future<Output = Result<R, BoxError>>>(
        &self,
        net: Net,
        tasks: Vec<String>,
        keys: &KeyList,
        params: &Params,
        change: impl FnOnce() -> F,
    ) -> Result<(R, CacheOutcome)> {
        let scope = Scope {
            what: "an invalidation around a change".to_owned(),
            steps: self.steps(self.entries(keys))?,
            raises: Vec::new(),
            lock: None,
            release: false,
            params: params.clone(),
            token: token::hex_128()?,
            mark_ttl: self.mark_ttl(),
        };
        let cache = self.clone();
        let around = net
            .aside(move || Around::begin(cache, net, tasks, scope))
            .await?;
        // Should it panic, or never come to its end, dropping `around` ends it.
        let changed = change().await;
        let outcome = net.aside(|| around.end()).await?;
        match changed {
            Ok(result) => Ok((result, outcome)),
            Err(e) => Err(Error::new(Kind::Caller(e))),
        }
    }
}

/// What is marked while the caller changes its truth. It ends when this is dropped, at the latest.
struct Around {
    cache: Cache,
    net: Net,
    /// `None` once it is ended.
    ending: Option<Ending>,
}

struct Ending {
    tasks: Vec<String>,
    /// `None` once it has ended. A renewal holds it while it marks, so that none comes after the end.
    intent: Arc<Mutex<Option<Intent>>>,
    renewal: Task,
}

impl Around {
    fn begin(cache: Cache, net: Net, tasks: Vec<String>, scope: Scope) -> Result<Self> {
        let begun = cache.drive(around::begin(scope))?;
        let intent = Arc::new(Mutex::new(Some(begun)));
        let shared = Arc::clone(&intent);
        // Weak, so that a job that waits keeps nothing alive.
        let inner = Arc::downgrade(&cache.0);
        let pause = cache.mark_ttl() / 3;
        let renewal = cache.timer().start(pause, move |_| {
            let cache = Cache(inner.upgrade()?);
            let intent = shared.lock().unwrap_or_else(PoisonError::into_inner);
            cache.drive(around::renew(intent.clone()?)).ok()?;
            Some(pause)
        });
        Ok(Self {
            cache,
            net,
            ending: Some(Ending {
                tasks,
                intent,
                renewal,
            }),
        })
    }

    fn end(mut self) -> Result<CacheOutcome> {
        match self.ending.take() {
            Some(ending) => ending.end(&self.cache),
            None => Ok(CacheOutcome::Invalidated { removed: 0 }),
        }
    }
}

impl Ending {
    /// Ends the renewals, and what they renew once the last one is over.
    fn end(self, cache: &Cache) -> Result<CacheOutcome> {
        self.renewal.cancel();
        let mut intent = self.intent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(intent) = intent.take() else {
            return Ok(CacheOutcome::Invalidated { removed: 0 });
        };
        let what = intent.scope().what.clone();
        let began = cache.observers().begin();
        let outcome = cache.drive(around::end(intent))?;
        cache.invalidated(&what, &self.tasks, began, &outcome);
        Ok(outcome)
    }
}

impl Drop for Around {
    fn drop(&mut self) {
        let Some(ending) = self.ending.take() else {
            return;
        };
        let cache = self.cache.clone();
        let end = move || {
            if let Err(e) = ending.end(&cache) {
                log::error!("an invalidation around a change: {e}");
            }
        };
        match self.net {
            Net::Threads => end(),
            #[cfg(feature = "tokio")]
            Net::Tasks => self.cache.timer().once(end),
        }
    }
}
