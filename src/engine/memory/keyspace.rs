//! Keys with strings, hashes and expiry: the part of a server that the operations need.

use crate::model::Bytes;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// The number of keys at which the first sweep runs.
const FIRST_SWEEP: usize = 64;

/// What is stored under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Text(Bytes),
    /// Never empty: a hash is removed with its last field.
    Hash(BTreeMap<String, Bytes>),
}

#[derive(Clone, Debug)]
struct Item {
    content: Content,
    /// By the server's clock; `None` never expires.
    expires_ms: Option<u64>,
}

/// A key holds another type than was requested.
#[derive(Debug)]
pub(super) struct WrongType {
    pub(super) key: String,
}

/// All keys. Time stands still while an operation runs, as on a server while a script runs.
#[derive(Clone, Debug)]
pub(crate) struct Keyspace {
    items: HashMap<String, Item>,
    now_ms: u64,
    /// At this number of keys the expired ones are swept. It grows with the number of live keys, so
    /// that sweeping costs each new key the same.
    sweep_at: usize,
    /// Channels that an operation has a message for.
    messages: Vec<String>,
}

impl Default for Keyspace {
    fn default() -> Self {
        Self {
            items: HashMap::new(),
            now_ms: 0,
            sweep_at: FIRST_SWEEP,
            messages: Vec::new(),
        }
    }
}

impl Keyspace {
    /// Advances the time to `now_ms`.
    pub(super) fn go_on_to(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    fn item(&self, key: &str) -> Option<&Item> {
        let alive = |item: &&Item| item.expires_ms.is_none_or(|end| end > self.now_ms);
        self.items.get(key).filter(alive)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&Bytes>, WrongType> {
        match self.item(key).map(|item| &item.content) {
            None => Ok(None),
            Some(Content::Text(text)) => Ok(Some(text)),
            Some(Content::Hash(_)) => Err(WrongType {
                key: key.to_owned(),
            }),
        }
    }

    pub(super) fn field(&self, key: &str, field: &str) -> Result<Option<&Bytes>, WrongType> {
        match self.item(key).map(|item| &item.content) {
            None => Ok(None),
            Some(Content::Hash(fields)) => Ok(fields.get(field)),
            Some(Content::Text(_)) => Err(WrongType {
                key: key.to_owned(),
            }),
        }
    }

    /// How much longer the key lives. The outer `None`: it does not exist. The inner `None`: it
    /// never expires.
    pub(crate) fn left_ms(&self, key: &str) -> Option<Option<u64>> {
        let item = self.item(key)?;
        Some(item.expires_ms.map(|end| end - self.now_ms))
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.item(key).is_some()
    }

    /// Sets a string, over anything that was there.
    pub(crate) fn set(&mut self, key: &str, text: Bytes, life_ms: Option<u64>) {
        self.put(key, Content::Text(text), life_ms);
    }

    fn put(&mut self, key: &str, content: Content, life_ms: Option<u64>) {
        if self.items.len() >= self.sweep_at {
            let now = self.now_ms;
            self.items
                .retain(|_, item| item.expires_ms.is_none_or(|end| end > now));
            self.sweep_at = FIRST_SWEEP.max(2 * self.items.len());
        }
        let expires_ms = life_ms.map(|life| self.now_ms.saturating_add(life));
        let item = Item {
            content,
            expires_ms,
        };
        self.items.insert(key.to_owned(), item);
    }

    /// Changes a key's life; does nothing if it does not exist.
    pub(crate) fn live_for(&mut self, key: &str, life_ms: u64) {
        if self.item(key).is_some()
            && let Some(item) = self.items.get_mut(key)
        {
            item.expires_ms = Some(self.now_ms.saturating_add(life_ms));
        }
    }

    /// Returns whether it existed.
    pub(crate) fn remove(&mut self, key: &str) -> bool {
        let there = self.item(key).is_some();
        self.items.remove(key);
        there
    }

    /// Notifies the channel's listeners, once the operation is done.
    pub(super) fn tell(&mut self, channel: String) {
        self.messages.push(channel);
    }

    pub(super) fn take_messages(&mut self) -> Vec<String> {
        std::mem::take(&mut self.messages)
    }

    pub(super) fn remove_field(&mut self, key: &str, field: &str) {
        let Some(item) = self.items.get_mut(key) else {
            return;
        };
        if let Content::Hash(fields) = &mut item.content {
            fields.remove(field);
            if fields.is_empty() {
                self.items.remove(key);
            }
        }
    }

    /// Sets a field of a hash, which is created if missing; does nothing to a string.
    pub(crate) fn set_field(&mut self, key: &str, field: &str, text: Bytes) {
        if self.item(key).is_none() {
            self.put(key, Content::Hash(BTreeMap::new()), None);
        }
        if let Some(item) = self.items.get_mut(key)
            && let Content::Hash(fields) = &mut item.content
        {
            fields.insert(field.to_owned(), text);
        }
    }

    /// Every live key, with how much longer it lives.
    #[cfg(test)]
    pub(crate) fn dump(&self) -> BTreeMap<String, (Content, Option<u64>)> {
        let keys = self.items.keys();
        keys.filter_map(|key| {
            let left = self.left_ms(key)?;
            let content = self.item(key)?.content.clone();
            Some((key.clone(), (content, left)))
        })
        .collect()
    }

    #[cfg(test)]
    pub(super) fn stored(&self) -> usize {
        self.items.len()
    }
}

/// The number, if `text` is one as a server's counter writes it.
pub(super) fn counter(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let number: u64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A string's content.
pub(crate) fn bytes(text: &str) -> Bytes {
    Arc::from(text.as_bytes())
}
