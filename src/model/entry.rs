//! A cache entry, and the bytes in it.

use arcstr::Substr;
use std::sync::Arc;

/// A document's bytes, shared between the file write and the commit.
pub(crate) type Bytes = Arc<[u8]>;

/// An entry's value key and the hash that holds what is in flight for it. To clone it copies no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) value: Substr,
    /// `leases(V)`; entries of one run share it.
    pub(crate) leases: Arc<str>,
}
