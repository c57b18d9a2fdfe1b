//! What can change in a history.

use crate::rules::Rules;

/// Rules, and the possible changes.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) rules: Rules,
    pub(super) changes: Vec<Change>,
    /// The maximum number of steps of a history.
    pub(super) steps: usize,
}

/// Something that can change, and what the program then invalidates.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) name: String,
    /// The params that distinguish its instances.
    pub(super) params: Vec<String>,
    pub(super) tasks: Vec<String>,
    pub(super) is_document: bool,
}
