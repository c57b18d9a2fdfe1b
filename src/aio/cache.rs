#[cfg(feature = "watch")]
use crate::cache::RulesWatch;
use crate::{
    cache::{CacheBuilder, PutOutcome, Stats},
    engine::{EngineReport, Net},
    json::{self, Style as JsonStyle},
    model::{BoxError, Result},
    protocol::{CacheOutcome, Replayed},
    rules::{Params, Rules},
};
use serde::{Serialize, de::DeserializeOwned};
#[cfg(feature = "watch")]
use std::path::Path;
use std::sync::Arc;

/// A [`crate::Cache`] for tasks. Cheap to clone.
///
/// | method | effect of dropping its future |
/// | --- | --- |
/// | [`get`](Self::get), [`get_json`](Self::get_json) | none |
/// | [`put`](Self::put), [`put_json`](Self::put_json), [`invalidate`](Self::invalidate), [`replay_outbox`](Self::replay_outbox), [`close`](Self::close) | the call runs to completion |
/// | [`get_or_load`](Self::get_or_load), [`get_or_load_json`](Self::get_or_load_json) | the loader is dropped, and its lease given back |
/// | [`invalidate_around`](Self::invalidate_around) | the change is dropped, and what it may have made out of date is deleted, as after a panic |
///
/// # Examples
///
/// ```
/// # use cachetx::{BoxError, Params, Rules, aio::{Cache, Document, Locked, Store}};
/// # #[tokio::main] async fn main() -> Result<(), BoxError> {
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open_async().await?;
/// # let store = Store::builder(cache.clone()).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open_async().await?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 })).await?;
/// let shop = Params::new().with("shop_id", "main-street");
/// let load = || async { Ok(tea.read().await?["cents"].clone()) };
/// let prices: serde_json::Value = cache.get_or_load_json("price_list", &shop, load).await?;
/// assert_eq!(prices, 400);
/// cache.invalidate(["sell"], &shop).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Cache(crate::Cache);

impl Cache {
    /// As [`crate::Cache::builder`]. Call [`CacheBuilder::open_async`].
    pub fn builder(rules: Rules) -> CacheBuilder {
        crate::Cache::builder(rules)
    }

    /// As [`crate::Cache::rules`].
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.0.rules()
    }

    /// As [`crate::Cache::replace_rules`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn replace_rules(&self, rules: Rules) -> Result<bool> {
        self.0.replace_rules(rules)
    }

    /// As [`crate::Cache::watch_rules`].
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg(feature = "watch")]
    #[cfg_attr(docsrs, doc(cfg(feature = "watch")))]
    pub fn watch_rules(&self, path: impl AsRef<Path>) -> Result<RulesWatch> {
        self.0.watch_rules(path)
    }

    /// As [`crate::Cache::report`].
    #[must_use]
    pub fn report(&self) -> Option<EngineReport> {
        self.0.report()
    }

    /// As [`crate::Cache::stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.0.stats()
    }

    /// As [`crate::Cache::get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get(&self, controller: &str, params: &Params) -> Result<Option<Arc<[u8]>>> {
        self.0.get_by(Net::Tasks, controller, params).await
    }

    /// As [`crate::Cache::get_or_load`], with an async loader, which runs in the caller's task. A
    /// loader that asks for its own entry waits as long as
    /// [`CacheBuilder::on_busy`](crate::CacheBuilder::on_busy) says.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_or_load<B: Into<Arc<[u8]>>, F: Future<Output = Result<B, BoxError>>>(
        &self,
        controller: &str,
        params: &Params,
        load: impl FnOnce() -> F,
    ) -> Result<Arc<[u8]>> {
        let loading = self.0.get_or_load_by(Net::Tasks, controller, params, load);
        loading.await
    }

    /// As [`crate::Cache::put`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn put(
        &self,
        controller: &str,
        params: &Params,
        value: impl Into<Arc<[u8]>>,
    ) -> Result<PutOutcome> {
        let (cache, value) = (self.0.clone(), value.into());
        let (controller, params) = (controller.to_owned(), params.clone());
        let put = async move { cache.put_by(Net::Tasks, &controller, &params, value).await };
        self.0.to_its_end(Net::Tasks, put).await
    }

    /// As [`crate::Cache::invalidate`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn invalidate(
        &self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        params: &Params,
    ) -> Result<CacheOutcome> {
        let mut names = Vec::new();
        let keys = self
            .0
            .rules()
            .expand(self.0.named(tasks, &mut names), params)?;
        let (cache, params) = (self.0.clone(), params.clone());
        let invalidating = async move {
            cache
                .invalidate_by(Net::Tasks, &names, &keys, &params)
                .await
        };
        self.0.to_its_end(Net::Tasks, invalidating).await
    }

    /// As [`crate::Cache::invalidate_around`], with an async change, which runs in the caller's
    /// task.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn invalidate_around<R, F: Future<Output = Result<R, BoxError>>>(
        &self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        params: &Params,
        change: impl FnOnce() -> F,
    ) -> Result<(R, CacheOutcome)> {
        let mut names = Vec::new();
        let keys = self
            .0
            .rules()
            .expand(self.0.named(tasks, &mut names), params)?;
        let around = self
            .0
            .invalidate_around_by(Net::Tasks, names, &keys, params, change);
        around.await
    }
}

impl Cache {
    /// As [`crate::Cache::get_json`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_json<T: DeserializeOwned>(
        &self,
        controller: &str,
        params: &Params,
    ) -> Result<Option<T>> {
        let bytes = self.get(controller, params).await?;
        bytes
            .map(|bytes| json::parse(controller, &bytes))
            .transpose()
    }

    /// As [`crate::Cache::get_or_load_json`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get_or_load_json<T, F>(
        &self,
        controller: &str,
        params: &Params,
        load: impl FnOnce() -> F,
    ) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Future<Output = Result<T, BoxError>>,
    {
        let loading = self
            .0
            .get_or_load_json_by(Net::Tasks, controller, params, load);
        loading.await
    }

    /// As [`crate::Cache::put_json`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn put_json<T: Serialize + ?Sized>(
        &self,
        controller: &str,
        params: &Params,
        value: &T,
    ) -> impl Future<Output = Result<PutOutcome>> {
        let bytes = json::to_bytes(controller, value, JsonStyle::Compact, None);
        async move { self.put(controller, params, bytes?).await }
    }

    /// As [`crate::Cache::replay_outbox`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn replay_outbox(&self) -> Result<Replayed> {
        let cache = self.0.clone();
        self.0.aside(move || cache.replay_outbox()).await
    }

    /// As [`crate::Cache::close`]. Await it before the runtime ends: it first waits, at most 10 s,
    /// for all calls that are under way, also those whose futures were dropped, and until what
    /// dropped guards had is given back.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn close(&self) -> Result<Replayed> {
        let cache = self.0.clone();
        cache.settled().await;
        Net::Tasks.aside(move || cache.close()).await
    }
}

impl CacheBuilder {
    /// As [`open`](Self::open), in a tokio task.
    ///
    /// # Errors
    ///
    /// As there.
    #[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
    pub async fn open_async(self) -> Result<Cache> {
        Net::Tasks.aside(move || self.open()).await.map(Cache)
    }
}

impl From<crate::Cache> for Cache {
    fn from(cache: crate::Cache) -> Self {
        Self(cache)
    }
}

impl From<&Cache> for crate::Cache {
    fn from(cache: &Cache) -> Self {
        cache.0.clone()
    }
}

impl From<Cache> for crate::Cache {
    fn from(cache: Cache) -> Self {
        cache.0
    }
}
