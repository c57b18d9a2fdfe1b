use super::{ListedDocument, Store};
use crate::{
    drive::now,
    model::{LockHolder, Result},
    op::{Holders, HoldersReply},
    protocol::value,
};
use std::{fmt, time::Duration};

/// A lock that is held.
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
/// let locks = store.locks("main-street")?;
/// assert_eq!(locks[0].document.to_string(), "product[sku=tea]");
/// println!("{}", locks[0]); // who holds it, for how long
/// # drop(held);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldLock {
    /// The locked document.
    pub document: ListedDocument,
    /// The holder, and the time that the lock has left.
    pub holder: LockHolder,
    /// The age of the lock, from the holder's clock then and this machine's now, to the
    /// millisecond, or to the second if the holder's program writes whole seconds; `None` if the
    /// lock's value has no time, or one in the future.
    pub age: Option<Duration>,
}

impl fmt::Display for HeldLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.document, self.holder)?;
        match self.age {
            Some(age) => write!(f, ", held for {:.1} s", age.as_secs_f64()),
            None => Ok(()),
        }
    }
}

impl Store {
    /// This process's name as the holder of a lock.
    pub(super) fn owner(&self) -> String {
        format!("{}:{}", self.0.host, std::process::id())
    }

    /// The locks of these that are held. In a Cluster each hash slot is asked separately.
    pub(super) fn holders(&self, locks: Vec<(ListedDocument, String)>) -> Result<Vec<HeldLock>> {
        let space = self.cache().space();
        let mut held = Vec::new();
        for part in space.divide(locks, |(_, lock)| lock) {
            let keys = part.iter().map(|(_, lock)| lock.clone());
            let asked = Holders {
                within: None,
                locks: keys.collect(),
            };
            let HoldersReply::Found(found) = self
                .cache()
                .ask(asked)
                .map_err(crate::op::Fault::into_error)?;
            let now_ns = now().wall_ns;
            for ((document, _), found) in part.into_iter().zip(found) {
                held.extend(found.map(|(value, left_ms)| HeldLock {
                    document,
                    holder: value::holder(&value, left_ms).seen_by(&self.owner()),
                    age: value::age(&value, now_ns),
                }));
            }
        }
        Ok(held)
    }
}
