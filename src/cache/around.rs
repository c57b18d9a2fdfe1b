//! Invalidation around a change of any other source of truth.

use super::{Cache, Task};
use crate::{
    engine::{Net, at_once},
    model::{BoxError, Error, Result, error::Kind, token},
    protocol::{CacheOutcome, Intent, Scope, around},
    rules::{KeyList, Params},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

impl Cache {
    /// Changes a source of truth that is not a document of a store (a database, say), and deletes
    /// what the tasks make out of date: before `change`, so that a process that dies midway leaves
    /// nothing stale, and after it.
    ///
    /// While `change` runs, nobody can fill these entries: [`get_or_load`](Self::get_or_load)
    /// waits, or loads without filling ([`CacheBuilder::on_busy`](crate::CacheBuilder::on_busy)).
    /// They are deleted again after `change` returns, fails or panics, since an error does not
    /// prove that nothing was changed. What will be deleted is first recorded in the outbox,
    /// synced: if this process dies, another one deletes it.
    ///
    /// Inside `change`, [`get_or_load`](Self::get_or_load) of these entries would wait in vain:
    /// read from the source itself.
    ///
    /// `change` must have committed when it returns: what others can read only later, they may
    /// cache too early.
    ///
    /// It costs two round trips per step, and one more for each third of a mark's life
    /// ([`CacheBuilder::mark_ttl`](crate::CacheBuilder::mark_ttl)) that `change` takes. An
    /// unreachable server is not an error: the deletion is deferred ([`CacheOutcome::Deferred`]),
    /// and readers may find old entries until then.
    ///
    /// # Errors
    ///
    /// Before `change` is called: an unknown task, a param that is missing or not allowed in a key,
    /// keys in several hash slots of a Cluster, or an outbox that cannot record the invalidation
    /// ([`Error::is_outbox`]: set a folder with
    /// [`CacheBuilder::outbox`](crate::CacheBuilder::outbox)). After it: its own error, returned
    /// through [`Error::caller`]; the entries are deleted then too.
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
        let begin = async move { Around::begin(cache, net, tasks, scope).await };
        let around = self.to_its_end(net, begin).await?;
        // If it panics or never completes, dropping `around` ends it.
        let changed = change().await;
        let outcome = self.to_its_end(net, around.end()).await?;
        match changed {
            Ok(result) => Ok((result, outcome)),
            Err(e) => Err(Error::new(Kind::Caller(e))),
        }
    }
}

/// Marks on entries while the caller changes its source of truth. Dropping this ends them.
struct Around {
    cache: Cache,
    net: Net,
    /// `None` once it has ended.
    ending: Option<Ending>,
}

struct Ending {
    tasks: Vec<String>,
    intent: Intent,
    /// `None` once it ends. A renewal holds the lock while it marks, so that no renewal follows the
    /// end.
    renewed: Renewed,
    renewal: Task,
}

impl Around {
    async fn begin(cache: Cache, net: Net, tasks: Vec<String>, scope: Scope) -> Result<Self> {
        let begun = cache.drive_by(net, around::begin(scope)).await?;
        let renewed = Arc::new(Mutex::new(Some(begun.clone())));
        let shared = Arc::clone(&renewed);
        // Weak, so that a waiting job keeps nothing alive.
        let inner = Arc::downgrade(&cache.0);
        let pause = cache.mark_ttl() / 3;
        let renewal = cache.timer().start(pause, move |_| {
            let cache = Cache(inner.upgrade()?);
            let intent = lock(&shared);
            cache.drive(around::renew(intent.clone()?)).ok()?;
            Some(pause)
        });
        Ok(Self {
            cache,
            net,
            ending: Some(Ending {
                tasks,
                intent: begun,
                renewed,
                renewal,
            }),
        })
    }

    /// If this is dropped midway, dropping `self` ends it.
    async fn end(mut self) -> Result<CacheOutcome> {
        let Some(ending) = &self.ending else {
            return Ok(CacheOutcome::Invalidated { removed: 0 });
        };
        let outcome = ending.end(&self.cache, self.net).await?;
        self.ending = None;
        Ok(outcome)
    }
}

impl Ending {
    /// Ends the renewals, waits for the one that is running, then ends the marks.
    async fn end(&self, cache: &Cache, net: Net) -> Result<CacheOutcome> {
        self.renewal.cancel();
        let is_free = self.renewed.try_lock().map(|mut it| *it = None).is_ok();
        if !is_free {
            let renewed = Arc::clone(&self.renewed);
            let stop = move || {
                *lock(&renewed) = None;
                Ok(())
            };
            net.aside(stop).await?;
        }
        let intent = self.intent.clone();
        let what = intent.scope().what.clone();
        let began = cache.observers().begin();
        let outcome = cache.drive_by(net, around::end(intent)).await?;
        cache.invalidated(&what, &self.tasks, began, &outcome);
        Ok(outcome)
    }
}

type Renewed = Arc<Mutex<Option<Intent>>>;

fn lock(renewed: &Renewed) -> MutexGuard<'_, Option<Intent>> {
    renewed.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Around {
    fn drop(&mut self) {
        let Some(ending) = self.ending.take() else {
            return;
        };
        let cache = self.cache.clone();
        let end = move || {
            if let Err(e) = at_once(ending.end(&cache, Net::Threads)) {
                log::error!("an invalidation around a change: {e}");
            }
        };
        match self.net {
            Net::Threads => end(),
            #[cfg(feature = "tokio")]
            Net::Tasks => self.cache.later(end),
        }
    }
}
