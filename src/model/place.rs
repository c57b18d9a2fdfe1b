//! Where a document lives.

use std::sync::Arc;

/// Where a document lives below the root: two path components that were checked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) folder: Arc<str>,
    pub(crate) file: Arc<str>,
}

impl Place {
    /// Relative to the root.
    pub(crate) fn path(&self) -> String {
        [&*self.folder, "/", &*self.file].concat()
    }
}
