//! The stamps of own entries: read in the look, raised in the transaction.

use super::attempt::{Seen, Stop};
use crate::{
    engine::wire::Packed,
    model::Stamp,
    op::{
        keys::sibling,
        voucher::{is_later, is_of, raised},
    },
};

pub(super) fn key(value: &str) -> String {
    sibling(value, "stamp")
}

/// Stamps as stored under their keys.
pub(super) struct Stored<'a> {
    keys: &'a [String],
    texts: Vec<Option<Vec<u8>>>,
}

impl<'a> Stored<'a> {
    /// Reads the reply to one MGET. If there are no keys, none was sent.
    pub(super) fn read(keys: &'a [String], seen: &mut Seen) -> Result<Self, Stop> {
        let texts = match keys.is_empty() {
            true => Vec::new(),
            false => seen.texts()?,
        };
        Ok(Self { keys, texts })
    }

    pub(super) fn texts(&self) -> impl Iterator<Item = Option<&[u8]>> {
        self.texts.iter().map(Option::as_deref)
    }

    /// Sets the stamp of a missing entry to that file's, unless it is of that file or a later one
    /// already.
    pub(super) fn raise(&self, index: usize, file: &Stamp, ttl_ms: u64, packed: &mut Packed) {
        let stays = |stored: &[u8]| is_later(stored, file) || is_of(stored, file);
        if self.texts[index].as_deref().is_some_and(stays) {
            return;
        }
        let (text, life) = (raised(file), ttl_ms.to_string());
        let key = self.keys[index].as_bytes();
        packed.request(&[b"SET", key, text.as_bytes(), b"PX", life.as_bytes()]);
    }
}
