//! Rules files with errors.

use super::rules;
use crate::model::text;
use proptest::{
    prelude::*,
    sample::{Index, select},
};
use std::ops::Range;

/// Texts of rules files that compile, changed in a few places. Half of the changed texts are mostly
/// still JSON, with strings exchanged; the rest are cut, doubled, mixed up, or get tokens that are
/// likely to confuse a parser.
///
/// Most do not compile; those that do are normal rules.
pub fn hostile_rules() -> impl Strategy<Value = String> {
    let changes = prop_oneof![
        prop::collection::vec(replace(), 1..=3),
        prop::collection::vec(change(), 1..=3),
    ];
    (rules(), changes).prop_map(|(file, changes)| {
        let text = file.to_json();
        changes.iter().fold(text, |text, change| change.on(&text))
    })
}

/// One change. Its places are relative to the text's length at that time.
#[derive(Clone, Debug)]
enum Change {
    Cut {
        at: Index,
        bytes: usize,
    },
    Double {
        at: Index,
        bytes: usize,
    },
    Move {
        from: Index,
        to: Index,
        bytes: usize,
    },
    Insert {
        at: Index,
        token: &'static str,
    },
    /// Replaces a quoted text by another: the result is mostly JSON.
    Replace {
        from: Index,
        to: Index,
    },
    Truncate {
        at: Index,
    },
    Nest {
        at: Index,
        depth: usize,
    },
}

/// Tokens to insert anywhere: the names of the format's fields, and what has a meaning in the
/// format.
const TOKENS: [&str; 34] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "\\",
    "{{",
    "}}",
    "{}",
    "[]",
    "\"\"",
    "\"*\"",
    "null",
    "true",
    "-1",
    "1e400",
    "99999999999999999999",
    "NaN",
    "\"\\ud800\"",
    "\\u0000",
    "\u{feff}",
    "é",
    "\0",
    "\n",
    "\"version\": \"1.0\",",
    "\"version\": \"2.0\",",
    "\"includes\": [\"*\"],",
    "\"except\": [],",
    "\"cascade\": 0,",
    "\"ttl_seconds\": 0,",
    "{a}{b}",
    "//",
];

fn change() -> impl Strategy<Value = Change> {
    let place = any::<Index>;
    prop_oneof![
        2 => (place(), 1..40_usize).prop_map(|(at, bytes)| Change::Cut { at, bytes }),
        2 => (place(), 1..40_usize).prop_map(|(at, bytes)| Change::Double { at, bytes }),
        2 => (place(), place(), 1..40_usize)
            .prop_map(|(from, to, bytes)| Change::Move { from, to, bytes }),
        4 => (place(), select(&TOKENS[..])).prop_map(|(at, token)| Change::Insert { at, token }),
        2 => replace(),
        1 => place().prop_map(|at| Change::Truncate { at }),
        1 => (place(), 1..4_000_usize).prop_map(|(at, depth)| Change::Nest { at, depth }),
    ]
}

fn replace() -> impl Strategy<Value = Change> {
    any::<(Index, Index)>().prop_map(|(from, to)| Change::Replace { from, to })
}

impl Change {
    fn on(&self, text: &str) -> String {
        let place = |index: &Index| text::floor(text, index.index(text.len() + 1));
        let end = |start: usize, bytes: usize| text::ceil(text, start + bytes);
        let put = |at: usize, what: &str| format!("{}{what}{}", &text[..at], &text[at..]);
        match self {
            Self::Cut { at, bytes } => {
                let at = place(at);
                format!("{}{}", &text[..at], &text[end(at, *bytes)..])
            }
            Self::Double { at, bytes } => {
                let at = place(at);
                put(at, &text[at..end(at, *bytes)])
            }
            Self::Move { from, to, bytes } => {
                let from = place(from);
                put(place(to), &text[from..end(from, *bytes)])
            }
            Self::Insert { at, token } => put(place(at), token),
            Self::Replace { from, to } => {
                let strings = strings(text);
                if strings.is_empty() {
                    return text.to_owned();
                }
                let (from, to) = (from.get(&strings), to.get(&strings));
                format!(
                    "{}{}{}",
                    &text[..to.start],
                    &text[from.clone()],
                    &text[to.end..]
                )
            }
            Self::Truncate { at } => text[..place(at)].to_owned(),
            Self::Nest { at, depth } => put(place(at), &"[".repeat(*depth)),
        }
    }
}

/// The places of the quoted texts.
fn strings(text: &str) -> Vec<Range<usize>> {
    let mut quotes = Vec::new();
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => quotes.push(at),
            _ => {}
        }
    }
    let pairs = quotes.chunks_exact(2);
    pairs.map(|pair| pair[0] + 1..pair[1]).collect()
}
