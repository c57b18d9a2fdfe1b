//! The location of a document.

use std::sync::Arc;

/// The location of a document below the root: two validated path components.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) folder: Arc<str>,
    pub(crate) file: Arc<str>,
}

impl Place {
    /// The path relative to the root.
    pub(crate) fn path(&self) -> String {
        [&*self.folder, "/", &*self.file].concat()
    }
}
