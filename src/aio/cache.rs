use super::to_its_end;
use crate::{
    cache::PutOutcome,
    engine::Net,
    model::{BoxError, Result},
    protocol::CacheOutcome,
    rules::Params,
};
use std::sync::Arc;

/// A [`crate::Cache`] for tasks. Cheap to clone.
///
/// | method | what a future that is dropped leaves |
/// | --- | --- |
/// | [`get`](Self::get) | nothing |
/// | [`put`](Self::put), [`invalidate`](Self::invalidate) | it goes on to its end |
/// | [`get_or_load`](Self::get_or_load) | the loader is dropped, and its lease given back |
/// | [`invalidate_around`](Self::invalidate_around) | the change is dropped, and what it may have made out of date is deleted, as after a panic |
#[derive(Clone, Debug)]
pub struct Cache(crate::Cache);

impl Cache {
    /// As [`crate::Cache::get`].
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn get(&self, controller: &str, params: &Params) -> Result<Option<Arc<[u8]>>> {
        self.0.get_by(Net::Tasks, controller, params).await
    }

    /// As [`crate::Cache::get_or_load`], with a loader that may wait; it runs in the caller's task. One that asks for its own entry waits
    /// as long as [`CacheBuilder::on_busy`](crate::CacheBuilder::on_busy) says.
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
        to_its_end(async move { cache.put_by(Net::Tasks, &controller, &params, value).await }).await
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
        let keys = self.0.rules().expand(tasks, params)?;
        let (cache, params) = (self.0.clone(), params.clone());
        to_its_end(async move { cache.invalidate_by(Net::Tasks, &keys, &params).await }).await
    }

    /// As [`crate::Cache::invalidate_around`], with a change that may wait; it runs in the caller's task.
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
        let keys = self.0.rules().expand(tasks, params)?;
        let around = self
            .0
            .invalidate_around_by(Net::Tasks, &keys, params, change);
        around.await
    }
}

impl From<crate::Cache> for Cache {
    fn from(cache: crate::Cache) -> Self {
        Self(cache)
    }
}

impl From<Cache> for crate::Cache {
    fn from(cache: Cache) -> Self {
        cache.0
    }
}
