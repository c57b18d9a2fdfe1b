//! Rules files with something wrong in them.

use super::rules;
use proptest::{
    prelude::*,
    sample::{Index, select},
};

/// Texts that begin as a rules file that compiles, and are then changed in a few places: cut, doubled, with text taken from
/// elsewhere in the file or with the tokens that are most likely to confuse a reader.
///
/// Most do not compile; those that do are rules like any other.
pub fn hostile_rules() -> impl Strategy<Value = String> {
    let changes = prop::collection::vec(change(), 1..=4);
    (rules(), changes).prop_map(|(file, changes)| {
        let text = file.to_json();
        changes.iter().fold(text, |text, change| change.on(&text))
    })
}

/// One change; the places are relative to whatever the text's length is then.
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
    /// A token of the file in place of another of its tokens: keeps it JSON more often than the others do.
    Swap {
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

/// What is put in anywhere. The names are those of the format's fields, and what the format gives a meaning.
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
        6 => (place(), place()).prop_map(|(from, to)| Change::Swap { from, to }),
        1 => place().prop_map(|at| Change::Truncate { at }),
        1 => (place(), 1..4_000_usize).prop_map(|(at, depth)| Change::Nest { at, depth }),
    ]
}

impl Change {
    fn on(&self, text: &str) -> String {
        let place = |index: &Index| text.floor_char_boundary(index.index(text.len() + 1));
        let end =
            |start: usize, bytes: usize| text.ceil_char_boundary((start + bytes).min(text.len()));
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
            Self::Swap { from, to } => {
                let strings: Vec<(usize, &str)> = strings(text);
                let (Some((_, from)), Some((at, to))) = (pick(&strings, from), pick(&strings, to))
                else {
                    return text.to_owned();
                };
                format!("{}{from}{}", &text[..*at], &text[at + to.len()..])
            }
            Self::Truncate { at } => text[..place(at)].to_owned(),
            Self::Nest { at, depth } => put(place(at), &"[".repeat(*depth)),
        }
    }
}

fn pick<'a, T>(list: &'a [T], index: &Index) -> Option<&'a T> {
    (!list.is_empty()).then(|| &list[index.index(list.len())])
}

/// The texts between quotes, roughly: escaped quotes are taken for quotes.
fn strings(text: &str) -> Vec<(usize, &str)> {
    let mut at = 0;
    let parts = text.split('"').map(|part| {
        let start = at;
        at += part.len() + 1;
        (start, part)
    });
    parts.skip(1).step_by(2).collect()
}
