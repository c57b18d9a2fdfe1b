//! The functions that the targets in `fuzz/` run: each accepts any bytes, and panics only if the
//! library is at fault.
//!
//! ```text
//! mod        the targets
//! rules      rules files and expansions
//! documents  JSON documents and raw objects
//! bytes      bytes as texts, choices and params
//! ```
//! The targets for replies are in `engine/fuzz.rs`, those for outboxes, journals and sidecars in
//! `disk/fuzz.rs`.

mod bytes;
mod documents;
mod rules;

use crate::rules::Rules;

/// A rules file: it compiles, or has problems with places in it.
pub fn rules_text(bytes: &[u8]) {
    rules::text(bytes);
}

/// Expansions of built-in rules with hostile params.
pub fn expansion(bytes: &[u8]) {
    rules::expansion(bytes);
}

/// Expansions of a user's own rules with hostile params.
pub fn own_rules(rules: &Rules, bytes: &[u8]) {
    rules::expansions_of(rules, bytes);
}

/// A server's reply to each operation and to each query of a boot.
pub fn reply(bytes: &[u8]) {
    crate::engine::fuzz::reply(bytes);
}

/// An outbox, a journal and a sidecar, as a crash or a damaged disk may leave them.
pub fn recovery(bytes: &[u8]) {
    crate::disk::fuzz::recovery(bytes);
}

/// A dead process's outbox, taken over from a folder for temporary files.
pub fn take_over(bytes: &[u8]) {
    crate::disk::fuzz::take_over(bytes);
}

/// A document's file, read as several types and written again.
pub fn document(bytes: &[u8]) {
    documents::document(bytes);
}

/// A raw object and changes of its members.
pub fn raw_object(bytes: &[u8]) {
    documents::raw_object(bytes);
}
