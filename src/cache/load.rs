//! Values that are loaded on a miss, under a lease.

use super::{
    Cache,
    held::Held,
    observe::{Event, LoadOutcome},
};
use crate::{
    drive::nested::{self, Load},
    engine::{Net, at_once},
    json::{self, Style as JsonStyle},
    model::{BoxError, Bytes, Entry, Error, Result, Span, error::Kind, token},
    op::{Invalidate, keys},
    protocol::load,
    rules::Params,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{any::TypeId, fmt, sync::Arc, time::Duration};

/// What a reader does about an entry that somebody else is loading, or is about to change.
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, OnBusy, Rules};
/// use std::time::Duration;
///
/// let rules = Rules::from_path("rules/shop.json")?;
/// let patient = OnBusy::Wait(Duration::from_secs(2));
/// let cache = Cache::builder(rules).in_memory().on_busy(patient).open()?;
/// # drop(cache);
/// # Ok::<(), cachetx::Error>(())
/// ```
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
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// use cachetx::PutOutcome;
///
/// let shop = Params::new().with("shop_id", "main-street");
/// let put = cache.put_json("best_sellers", &shop, &["tea"])?;
/// assert_eq!(put, PutOutcome::Set);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PutOutcome {
    /// The value is set.
    Set,
    /// The old one is gone and the new one is not set, as far as is known: somebody else loads or changes the entry just
    /// now, or the server went away in between.
    Refused,
}

impl fmt::Display for PutOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set => "set",
            Self::Refused => "refused: the entry is being loaded or changed",
        })
    }
}

/// Where an entry is, and how long it lives by the rules.
struct Target {
    entry: Entry,
    ttl: Duration,
}

/// How a load begins.
enum Begun {
    Found(Arc<[u8]>),
    Leased { early: bool, held: Held },
    Unleased,
}

impl Cache {
    /// The value, where the server has one that was filled by this library. It is not compared with any file: for documents
    /// there is [`Document::read`](crate::Document::read).
    ///
    /// # Errors
    ///
    /// A controller that the rules do not have, a param that is missing or may not stand in a key, or a server that is away.
    pub fn get(&self, controller: &str, params: &Params) -> Result<Option<Arc<[u8]>>> {
        at_once(self.get_by(Net::Threads, controller, params))
    }

    pub(crate) async fn get_by(
        &self,
        net: Net,
        controller: &str,
        params: &Params,
    ) -> Result<Option<Arc<[u8]>>> {
        let target = self.target(controller, params)?;
        self.drive_by(net, load::get(target.entry)).await
    }

    /// The value; where the server has none, `load` makes it, and it is filled for the next reader.
    ///
    /// One reader loads at a time, under a lease; others do what [`CacheBuilder::on_busy`](crate::CacheBuilder::on_busy)
    /// says. A commit or an invalidation meanwhile drops the lease: then this call returns what it loaded, and nobody else
    /// gets it. While the server is away the value is loaded and not filled. An entry whose end is near can be loaded anew by
    /// one reader while the others have it: [`CacheBuilder::early_refresh`](crate::CacheBuilder::early_refresh).
    ///
    /// `load` has to start its reads after it was called, at the place where writes go (no replica that lags behind), and
    /// outside of a database snapshot that is older than the call. What it read before that, a commit may have changed
    /// without the lease knowing.
    ///
    /// # Errors
    ///
    /// The closure's own error, handed back through [`Error::caller`]; it gives the lease back, as a panic does (an early
    /// refresh that fails is none while the entry is there). A controller that the rules do not have, or a param that is
    /// missing or may not stand in a key. A server that is away is none.
    ///
    /// [`Error::is_nested`] where `load`, in the same thread, asks the same cache for the same entry, and would wait for itself.
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
        let load = || std::future::ready(load());
        at_once(self.get_or_load_by(Net::Threads, controller, params, load))
    }

    pub(crate) async fn get_or_load_by<B: Into<Arc<[u8]>>, F>(
        &self,
        net: Net,
        controller: &str,
        params: &Params,
        load: impl FnOnce() -> F,
    ) -> Result<Arc<[u8]>>
    where
        F: Future<Output = Result<B, BoxError>>,
    {
        let target = self.target(controller, params)?;
        let (began, key) = (self.observers().begin(), target.entry.value.clone());
        let span = Span::load(controller, &key);
        let loaded = span.around(self.load_target(net, target, load)).await;
        let outcome = loaded
            .as_ref()
            .map_or(LoadOutcome::Failed, |loaded| loaded.1);
        span.outcome(outcome.as_str());
        if let Some(duration) = began.took() {
            self.observers().tell(&Event::Load {
                controller,
                key: &key,
                duration,
                outcome,
            });
        }
        loaded.map(|(value, _)| value)
    }

    async fn load_target<B: Into<Arc<[u8]>>, F>(
        &self,
        net: Net,
        target: Target,
        load: impl FnOnce() -> F,
    ) -> Result<(Arc<[u8]>, LoadOutcome)>
    where
        F: Future<Output = Result<B, BoxError>>,
    {
        let (owner, kind) = (Arc::as_ptr(&self.0) as usize, TypeId::of::<Self>());
        let would_wait = matches!(self.0.on_busy, OnBusy::Wait(_));
        let for_itself = would_wait && Load::is_under_way(owner, kind, &target.entry.value);
        let wait = match self.0.on_busy {
            OnBusy::Wait(wait) if !for_itself => wait,
            OnBusy::Wait(_) | OnBusy::LoadWithoutFilling => Duration::ZERO,
        };
        let early = self.0.lives.early(target.ttl);
        let claim = self.claim(target.entry.clone(), wait, early)?;
        let (is_early, held) = match net.to_its_end(self.clone().begin(net, claim)).await? {
            Begun::Found(value) => {
                self.counters().hits.add();
                return Ok((value, LoadOutcome::Hit));
            }
            Begun::Leased { early, held } => (early, Some(held)),
            Begun::Unleased if for_itself => {
                return Err(nested::refused(&target.entry.value));
            }
            Begun::Unleased => (false, None),
        };
        self.counters().loads.add();
        let name = target.entry.value.to_string();
        let loaded = {
            // A task may go on in another thread: there it is the first part of its loader only that is watched.
            let begun = Load { owner, kind, name }.begin();
            let loading = load();
            drop(begun);
            loading.await
        };
        let value = match loaded {
            Ok(value) => value.into(),
            Err(e) => {
                drop(held);
                let failed = Error::new(Kind::Caller(e));
                return if is_early {
                    let present = self.present(net, target.entry, failed).await?;
                    Ok((present, LoadOutcome::Hit))
                } else {
                    Err(failed)
                };
            }
        };
        let outcome = match held {
            Some(held) => match held.fill(&value, self.entry_life(target.ttl)).await? {
                load::Filled::Set => LoadOutcome::Filled,
                load::Filled::Refused => LoadOutcome::FillRefused,
                load::Filled::Unknown => LoadOutcome::NotFilled,
            },
            None => LoadOutcome::NotFilled,
        };
        Ok((value, outcome))
    }

    /// A lease that comes is held from then on: where nobody waits for it any more, it is given back.
    async fn begin(self, net: Net, claim: load::Claim) -> Result<Begun> {
        let entry = claim.entry.clone();
        let begun = self.drive_by(net, load::begin(claim)).await?;
        let early = matches!(begun, load::Begun::Early(_));
        Ok(match begun {
            load::Begun::Found(value) => Begun::Found(value),
            load::Begun::Leased(token) | load::Begun::Early(token) => Begun::Leased {
                early,
                held: Held::new(self, net, entry, token),
            },
            load::Begun::Unleased => Begun::Unleased,
        })
    }

    /// The entry that could not be loaded anew, where it is still there. Not what was found before the load, which may have
    /// been deleted, or have come to its end, since.
    async fn present(&self, net: Net, entry: Entry, failed: Error) -> Result<Arc<[u8]>> {
        let key = entry.value.clone();
        match self.drive_by(net, load::get(entry)).await {
            Ok(Some(value)) => {
                log::warn!("{key}: not loaded anew before its end: {failed}");
                Ok(value)
            }
            _ => Err(failed),
        }
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
        at_once(self.put_by(Net::Threads, controller, params, value.into()))
    }

    pub(crate) async fn put_by(
        &self,
        net: Net,
        controller: &str,
        params: &Params,
        value: Bytes,
    ) -> Result<PutOutcome> {
        let target = self.target(controller, params)?;
        // Those who load an older one must not fill it later.
        let gone = Invalidate {
            entries: vec![target.entry.clone()],
            raises: Vec::new(),
            token: String::new(),
            release: None,
        };
        let asked = self.ask_by(net, gone).await;
        asked.map_err(crate::op::Fault::into_error)?;
        let claim = self.claim(target.entry.clone(), Duration::ZERO, Duration::ZERO)?;
        let load::Begun::Leased(token) = self.drive_by(net, load::take(claim)).await? else {
            return Ok(PutOutcome::Refused);
        };
        let held = Held::new(self.clone(), net, target.entry, token);
        let filled = held.fill(&value, self.entry_life(target.ttl)).await?;
        Ok(match filled {
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

    /// [`get_or_load`](Self::get_or_load) of a value that is JSON. An entry that is not JSON or not a `T`, since another version of the program has made it,
    /// is deleted and loaded anew; that is logged as a warning.
    ///
    /// # Errors
    ///
    /// As there, and a loaded value that JSON cannot hold (`NaN`).
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
        let load = || std::future::ready(load());
        at_once(self.get_or_load_json_by(Net::Threads, controller, params, load))
    }

    pub(crate) async fn get_or_load_json_by<T: Serialize + DeserializeOwned, F>(
        &self,
        net: Net,
        controller: &str,
        params: &Params,
        load: impl FnOnce() -> F,
    ) -> Result<T>
    where
        F: Future<Output = Result<T, BoxError>>,
    {
        let mut load = Some(load);
        let (loaded, bytes) = self.load_json(net, controller, params, &mut load).await?;
        let why = match loaded.map_or_else(|| json::parse(controller, &bytes), Ok) {
            Ok(value) => return Ok(value),
            Err(why) => why,
        };
        // Another version of the program may have made it.
        log::warn!("an entry that cannot be read is deleted and loaded anew: {why}");
        let asked = Invalidate {
            entries: vec![self.target(controller, params)?.entry],
            raises: Vec::new(),
            token: String::new(),
            release: None,
        };
        if self.ask_by(net, asked).await.is_err() {
            return Err(why);
        }
        let (loaded, bytes) = self.load_json(net, controller, params, &mut load).await?;
        loaded.map_or_else(|| json::parse(controller, &bytes), Ok)
    }

    /// What the loader gave, where it was called, and the entry's bytes.
    async fn load_json<T: Serialize, F: Future<Output = Result<T, BoxError>>>(
        &self,
        net: Net,
        controller: &str,
        params: &Params,
        load: &mut Option<impl FnOnce() -> F>,
    ) -> Result<(Option<T>, Arc<[u8]>)> {
        let mut loaded = None;
        let kept = &mut loaded;
        let load = || {
            let loading = load.take().map(|load| load());
            async move {
                let value = loading.ok_or("it was loaded before")?.await?;
                let bytes = json::to_bytes(controller, &value, JsonStyle::Compact, None)?;
                *kept = Some(value);
                Ok(bytes)
            }
        };
        let bytes = self.get_or_load_by(net, controller, params, load).await?;
        Ok((loaded, bytes))
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

    fn target(&self, controller: &str, params: &Params) -> Result<Target> {
        let rules = self.rules();
        let value = rules.key(controller, params)?;
        let placeholders = rules.placeholders(controller)?;
        let first = placeholders.first().and_then(|name| params.get(name));
        let first = first.and_then(|value| value.values().first());
        let leases = keys::leases(&value, first.map(String::as_str)).into();
        Ok(Target {
            entry: self.space().place_one(Entry {
                value: value.into(),
                leases,
            }),
            ttl: rules.ttl(controller)?,
        })
    }

    fn claim(&self, entry: Entry, wait: Duration, early: Duration) -> Result<load::Claim> {
        Ok(load::Claim {
            entry,
            seed: token::seed(),
            token: token::hex_128()?,
            ttl: self.0.lease_ttl,
            wait,
            early,
            patience: self.response_timeout(),
        })
    }
}
