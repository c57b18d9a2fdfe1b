//! A document's name within its run.

use crate::rules::Params;
use std::fmt;

/// A document of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedDocument {
    /// Its controller.
    pub controller: String,
    /// What its key has beside the run, for [`Store::document_with`](crate::Store::document_with).
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
