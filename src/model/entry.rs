//! A cache entry, and a document's bytes.

use arcstr::Substr;
use std::sync::Arc;

/// A document's bytes, shared between the file write and the commit.
pub(crate) type Bytes = Arc<[u8]>;

/// An entry's value key, and the hash that holds what is in flight for it. A clone copies no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: Substr,
    /// `leases(V)`; shared by the entries of one run.
    pub(crate) leases: Arc<str>,
}
