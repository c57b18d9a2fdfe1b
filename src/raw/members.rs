//! The positions of an object's members in its text.
//!
//! serde_json does the parsing: it returns each name and value as a slice of the text, and the
//! slice's address gives its position.

use crate::json;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::{fmt, ops::Range};

/// The members in text order, and an index by name.
#[derive(Clone, Default)]
pub(super) struct Members {
    list: Vec<Member>,
    /// Indexes into `list`, sorted by name. A hash map would have to store each name again.
    by_name: Vec<usize>,
}

#[derive(Clone)]
pub(super) struct Member {
    /// Decoded.
    pub(super) name: Box<str>,
    /// Range in the text, including the quotes.
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

impl Members {
    /// Finds the members of `text`, which must be JSON. The error says why it cannot be a
    /// `RawObject`.
    pub(super) fn of(text: &str) -> Result<Self, String> {
        if !text.starts_with('{') {
            return Err("this is JSON, but not an object".to_owned());
        }
        let list = serde_json::Deserializer::from_str(text)
            .deserialize_map(Finder { text })
            .map_err(|e| json::without_place(&e))?;
        let mut by_name: Vec<usize> = (0..list.len()).collect();
        // A stable sort, so of two equal names the first in the text comes first here.
        by_name.sort_by(|&a, &b| list[a].name.cmp(&list[b].name));
        for pair in by_name.windows(2) {
            let (first, second) = (&list[pair[0]], &list[pair[1]]);
            if first.name == second.name {
                // Quoted as written, since a decoded name may contain line breaks.
                let name = &text[first.key.clone()];
                let (first, second) = (first.key.start, second.key.start);
                return Err(format!(
                    "the object has two members {name}, at its bytes {first} and {second}; parsers \
                     disagree about which one counts: remove or rename one"
                ));
            }
        }
        Ok(Self { list, by_name })
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Member> {
        self.list.iter()
    }

    pub(super) fn last(&self) -> Option<&Member> {
        self.list.last()
    }

    /// The index of the member with this name.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.search(name).ok().map(|found| self.by_name[found])
    }

    /// Call it after the text of one value was replaced by `len` bytes.
    pub(super) fn resize_value(&mut self, at: usize, len: usize) {
        let value = &mut self.list[at].value;
        let removed = value.len();
        value.end = value.start + len;
        for later in &mut self.list[at + 1..] {
            later.shift(len, removed);
        }
    }

    /// Call it after a member with a new name was appended.
    pub(super) fn push(&mut self, member: Member) {
        let (Ok(at) | Err(at)) = self.search(&member.name);
        self.by_name.insert(at, self.list.len());
        self.list.push(member);
    }

    /// Call it after a member was removed, and with it `removed` bytes of the text.
    pub(super) fn remove(&mut self, at: usize, removed: usize) {
        self.list.remove(at);
        self.by_name.retain(|&place| place != at);
        for place in &mut self.by_name {
            *place -= usize::from(*place > at);
        }
        for later in &mut self.list[at..] {
            later.shift(0, removed);
        }
    }

    fn search(&self, name: &str) -> Result<usize, usize> {
        self.by_name
            .binary_search_by(|&at| (*self.list[at].name).cmp(name))
    }
}

impl std::ops::Index<usize> for Members {
    type Output = Member;

    fn index(&self, at: usize) -> &Member {
        &self.list[at]
    }
}

impl Member {
    /// Moves its ranges after `removed` bytes before this member were replaced by `added` bytes.
    fn shift(&mut self, added: usize, removed: usize) {
        for range in [&mut self.key, &mut self.value] {
            *range = range.start + added - removed..range.end + added - removed;
        }
    }
}

struct Finder<'t> {
    text: &'t str,
}

impl Finder<'_> {
    /// The range of a slice in the text.
    fn span(&self, slice: &RawValue) -> Range<usize> {
        let start = slice.get().as_ptr().addr() - self.text.as_ptr().addr();
        start..start + slice.get().len()
    }
}

impl<'de> Visitor<'de> for Finder<'de> {
    type Value = Vec<Member>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some((key, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            list.push(Member {
                name: serde_json::from_str(key.get()).map_err(|e| undecodable(key, &e))?,
                key: self.span(key),
                value: self.span(value),
            });
        }
        Ok(list)
    }
}

/// For example `"\ud800"`, half a character: JSON's grammar allows it, but it stands for no text.
fn undecodable<E: serde::de::Error>(key: &RawValue, e: &serde_json::Error) -> E {
    let why = json::without_place(e);
    E::custom(format_args!("the name {key} stands for no text: {why}"))
}
