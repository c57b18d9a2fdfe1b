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

/// What a reader does if somebody else is loading the entry, or is about to change it.
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
    /// Waits for up to this long, then loads without filling. A value that was loaded across a
    /// commit or an invalidation is not used: it is not filled, and this reader loads itself.
    Wait(Duration),
    /// Loads at once, without filling.
    LoadWithoutFilling,
}

/// The result of a [`Cache::put`].
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
    /// The value was set.
    Set,
    /// The old value was deleted and the new one was not set, as far as is known: somebody else is
    /// loading or changing the entry, or the server became unreachable in between.
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

/// An entry, and its TTL in the rules.
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
    /// Returns the value, if the server has one that this library filled. It is not compared with
    /// any file; for documents, use [`Document::read`](crate::Document::read).
    ///
    /// # Errors
    ///
    /// An unknown controller, a param that is missing or not allowed in a key, or an unreachable
    /// server.
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

    /// Returns the value. If the server has none, `load` makes it, and it is filled for the next
    /// reader.
    ///
    /// One reader loads at a time, under a lease; others follow
    /// [`CacheBuilder::on_busy`](crate::CacheBuilder::on_busy). A commit or an invalidation
    /// meanwhile drops the lease: this call then returns what it loaded, but does not fill it.
    /// While the server is unreachable, the value is loaded and not filled. An entry that is about
    /// to expire can be loaded by one reader while the others still use it:
    /// [`CacheBuilder::early_refresh`](crate::CacheBuilder::early_refresh).
    ///
    /// `load` must start its reads after it was called, must read where writes go (not a replica,
    /// which may lag behind), and must not use a database snapshot that is older than the call. A
    /// commit may have changed what was read before that without dropping this lease.
    ///
    /// # Errors
    ///
    /// The closure's own error, returned through [`Error::caller`]; the lease is given back, as it
    /// is after a panic. (If an early refresh fails while the entry exists, that is not an error.)
    /// An unknown controller, or a param that is missing or not allowed in a key. An unreachable
    /// server is not an error.
    ///
    /// [`Error::is_nested`] if `load`, in the same thread, asks the same cache for the same entry,
    /// and so would wait for itself.
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
        let (is_early, held) = match self
            .while_wanted(net, self.clone().begin(net, claim))
            .await?
        {
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
            // A task may continue in another thread, so only the first part of its loader is
            // watched.
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

    /// Holds a lease as soon as it is granted: if the caller no longer waits for it, it is given
    /// back.
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

    /// Reads the entry again after its refresh failed. The value found before the load may since
    /// have been deleted or have expired.
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

    /// Sets the value, whatever was there: for a value that is right *now*, such as one that its
    /// only writer has just computed. For a value loaded from a source that others change, use
    /// [`get_or_load`](Self::get_or_load), which detects changes during the load.
    ///
    /// # Errors
    ///
    /// An unknown controller, a param that is missing or not allowed in a key, or a server that is
    /// unreachable or refuses.
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
        // Readers that are loading an older value must not fill it later.
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
    /// As [`get`](Self::get), and a value that is not JSON or not a `T`.
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

    /// [`get_or_load`](Self::get_or_load) of a value that is JSON. An entry that is not JSON or not
    /// a `T`, because another version of the program made it, is deleted and loaded again; that is
    /// logged as a warning.
    ///
    /// # Errors
    ///
    /// As [`get_or_load`](Self::get_or_load), and a loaded value that JSON cannot represent
    /// (`NaN`).
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

    /// The loader's value, if it was called, and the entry's bytes.
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
    /// As [`put`](Self::put), and a value that JSON cannot represent (`NaN`).
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
