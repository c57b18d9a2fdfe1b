use crate::model::{Error, Result};
use std::fmt;

/// A save that failed before it changed anything: the error, and the guard `G`. Its locks are still
/// held, so the data is not lost and the save may be retried. Dropping it, or turning it into an
/// [`Error`] with `?`, releases them.
///
/// Without a guard, the runtime shut down during the save, and [`Error::effect`] says that it may
/// have been made.
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
/// let mut held = tea.lock().await?;
/// held["cents"] = 500.into();
/// if let Err(failed) = held.dump_and_unlock().await {
///     eprintln!("not saved: {failed}");
///     let held = failed.into_guard(); // with its data; to retry
/// #   drop(held);
/// }
/// # Ok(()) }
/// ```
pub struct Unsaved<G>(Box<(Error, Option<G>)>);

impl<G> Unsaved<G> {
    /// Converts the result of a task.
    pub(super) fn or<R, E>(
        done: Result<Result<R, E>>,
        into_parts: impl FnOnce(E) -> (Error, G),
    ) -> Result<R, Self> {
        let (error, guard) = match done {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(failed)) => {
                let (error, guard) = into_parts(failed);
                (error, Some(guard))
            }
            Err(gone) => (gone, None),
        };
        Err(Self(Box::new((error, guard))))
    }

    /// Why it failed.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0.0
    }

    /// The guard, to retry; `None` if the runtime shut down meanwhile.
    pub fn into_guard(self) -> Option<G> {
        self.0.1
    }

    /// The error, and the guard as [`into_guard`](Self::into_guard) gives it.
    pub fn into_parts(self) -> (Error, Option<G>) {
        *self.0
    }
}

impl<G> fmt::Debug for Unsaved<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.error(), f)
    }
}

impl<G> fmt::Display for Unsaved<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.error(), f)
    }
}

impl<G> std::error::Error for Unsaved<G> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error().source()
    }
}

/// Keeps the error and releases the locks.
impl<G> From<Unsaved<G>> for Error {
    fn from(failed: Unsaved<G>) -> Self {
        failed.0.0
    }
}
