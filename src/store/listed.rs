//! A document's name within its run.

use crate::rules::Params;
use std::fmt;

/// A document of a run.
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
/// let documents = store.documents("main-street")?;
/// assert_eq!(documents[0].controller, "product");
/// assert_eq!(documents[0].to_string(), "product[sku=tea]");
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedDocument {
    /// Its controller.
    pub controller: String,
    /// The params of its key besides the run, for
    /// [`Store::document_with`](crate::Store::document_with).
    pub params: Params,
}

/// `product[sku=tea]`.
impl fmt::Display for ListedDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.controller)?;
        for (n, (name, value)) in self.params.iter().enumerate() {
            let before = if n == 0 { "[" } else { ", " };
            write!(f, "{before}{name}={}", value.values().join(","))?;
        }
        match self.params.iter().len() {
            0 => Ok(()),
            _ => f.write_str("]"),
        }
    }
}
