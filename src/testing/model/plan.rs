//! What can change in a history.

use crate::rules::Rules;

/// Rules, and what changes.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) rules: Rules,
    pub(super) changes: Vec<Change>,
    /// Most steps of a history.
    pub(super) steps: usize,
}

/// Something that can change, and what the program tells the cache then.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) name: String,
    /// What tells one of its kind from another.
    pub(super) params: Vec<String>,
    pub(super) tasks: Vec<String>,
    pub(super) is_document: bool,
}
