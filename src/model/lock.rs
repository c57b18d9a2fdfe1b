//! A lock and its holder.

use std::{fmt, time::Duration};

/// A lock's key, and the value that identifies its holder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lock {
    pub(crate) key: String,
    /// Compared as a whole.
    pub(crate) value: String,
}

/// The holder of a lock.
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
/// let held = tea.lock()?;
/// let error = tea.try_lock().expect_err("it is held");
/// let holder = error.lock_holder().ok_or("no holder")?;
/// assert!(holder.owner.ends_with(&std::process::id().to_string()));
/// # drop(held);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockHolder {
    /// `host:pid`, or the lock's whole value if it is not in the library's form.
    pub owner: String,
    /// Remaining life without renewal; [`Duration::MAX`] for a foreign lock that never expires.
    pub remaining: Duration,
    /// Whether `owner` is this process's own `host:pid`: then a guard of this process holds the
    /// lock, unless another host or container has the same name.
    pub is_this_process: bool,
}

impl LockHolder {
    /// The holder as the process `owner` sees it.
    pub(crate) fn seen_by(self, owner: &str) -> Self {
        Self {
            is_this_process: self.owner == owner,
            ..self
        }
    }
}

impl fmt::Display for LockHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.owner)?;
        if self.is_this_process {
            f.write_str(" (a guard of this process)")?;
        }
        match self.remaining {
            Duration::MAX => f.write_str(", and does not run out by itself"),
            left => write!(f, ", {:.1} s left", left.as_secs_f64()),
        }
    }
}
