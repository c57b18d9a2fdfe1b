//! JSON with byte positions, and with duplicate names still visible.
//!
//! serde_json parses. A visitor keeps every name and value as its raw slice of the source, so a
//! pointer difference gives its place. Nothing here recurses: only values that the rules' fixed
//! shape calls for are opened.

use super::report::Report;
use crate::model::text;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::{borrow::Cow, collections::HashMap, fmt, ops::Range};

/// One JSON value, not opened yet, and its place.
#[derive(Clone, Copy)]
pub(super) struct Node<'t> {
    raw: &'t str,
    start: usize,
    source: &'t str,
}

/// A string of the file and its place, quotes included.
#[derive(Clone)]
pub(super) struct Text<'t> {
    pub(super) text: Cow<'t, str>,
    pub(super) span: Range<usize>,
}

impl Text<'_> {
    /// The place of a part of the text, or the whole string's if an escape makes text and source
    /// differ.
    pub(super) fn part(&self, part: Range<usize>) -> Range<usize> {
        let inner = self.span.start + 1;
        match self.text {
            Cow::Borrowed(_) => inner + part.start..inner + part.end,
            Cow::Owned(_) => self.span.clone(),
        }
    }
}

/// The file's outermost value. Reports a syntax error at its place.
pub(super) fn parse<'t>(source: &'t str, report: &mut Report<'_>) -> Option<Node<'t>> {
    if source.trim().is_empty() {
        report.problem(
            0..0,
            "the file is empty",
            Some(r#"the least is {"version": "1.0", "cache_keys": {}, "rules": {}}"#.to_owned()),
        );
        return None;
    }
    match serde_json::from_str::<&RawValue>(source) {
        Ok(raw) => Some(Node::new(raw, source)),
        Err(error) => {
            let at = offset(source, error.line(), error.column());
            let end = text::ceil(source, at + 1);
            report.problem(
                at..end,
                format!("not JSON: {}", reason(&error)),
                hint(&source[..at], &source[at..]),
            );
            None
        }
    }
}

/// serde_json's message without the place, which it counts in bytes.
fn reason(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    match whole.rfind(" at line ") {
        Some(cut) => whole[..cut].to_owned(),
        None => whole,
    }
}

/// The byte offset of serde_json's line and column (in bytes, from 1).
fn offset(source: &str, line: usize, column: usize) -> usize {
    let start = match line.checked_sub(2) {
        None => 0,
        Some(newline) => source
            .match_indices('\n')
            .nth(newline)
            .map_or(source.len(), |(at, _)| at + 1),
    };
    text::floor(source, start + column.saturating_sub(1))
}

fn hint(before: &str, rest: &str) -> Option<String> {
    let rest = rest.trim_start_matches('-');
    if rest.starts_with('\u{feff}') {
        Some("save the file without a byte order mark".to_owned())
    } else if rest.starts_with("NaN") || rest.starts_with("Inf") {
        Some("JSON has no NaN and no Infinity".to_owned())
    } else if rest.starts_with("//") || rest.starts_with("/*") || rest.starts_with('#') {
        Some("JSON has no comments; version 1.1 has `description`".to_owned())
    } else if rest.starts_with('\'') {
        Some("JSON strings stand in double quotes".to_owned())
    } else if rest.starts_with(['}', ']']) && before.trim_end().ends_with(',') {
        Some("JSON has no comma after the last one".to_owned())
    } else {
        None
    }
}

impl<'t> Node<'t> {
    fn new(raw: &'t RawValue, source: &'t str) -> Self {
        let raw = raw.get();
        Self {
            raw,
            // Both point into the same text: serde_json borrows the slice and does not copy it.
            start: raw.as_ptr() as usize - source.as_ptr() as usize,
            source,
        }
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    /// The opening brace: the place to report something missing inside.
    pub(super) fn opening(&self) -> Range<usize> {
        self.start..self.start + 1
    }

    /// The kind of value, for "must be a string, not …".
    pub(super) fn kind(&self) -> &'static str {
        match self.raw.as_bytes().first() {
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b'"') => "a string",
            Some(b't' | b'f') => "true or false",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    pub(super) fn is_object(&self) -> bool {
        self.raw.starts_with('{')
    }

    fn wrong_kind(&self, what: &str, wanted: &str, report: &mut Report<'_>) {
        report.problem(
            self.span(),
            format!("{what} must be {wanted}, not {}", self.kind()),
            None,
        );
    }

    pub(super) fn string(&self, what: &str, report: &mut Report<'_>) -> Option<Text<'t>> {
        if !self.raw.starts_with('"') {
            self.wrong_kind(what, "a string", report);
            return None;
        }
        let inner = &self.raw[1..self.raw.len() - 1];
        let text = if inner.contains('\\') {
            match serde_json::from_str::<String>(self.raw) {
                Ok(text) => Cow::Owned(text),
                Err(error) => {
                    // Only a lone half of a surrogate pair gets here: the scanner accepts it.
                    report.problem(
                        self.span(),
                        format!("{what} is no valid string: {}", reason(&error)),
                        None,
                    );
                    return None;
                }
            }
        } else {
            Cow::Borrowed(inner)
        };
        Some(Text {
            text,
            span: self.span(),
        })
    }

    pub(super) fn boolean(&self, what: &str, report: &mut Report<'_>) -> Option<bool> {
        match self.raw {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.wrong_kind(what, "true or false", report);
                None
            }
        }
    }

    /// A whole number above zero, at most `max`.
    pub(super) fn whole_number(
        &self,
        what: &str,
        max: u64,
        report: &mut Report<'_>,
    ) -> Option<u64> {
        match self.raw.parse::<u64>() {
            Ok(number) if (1..=max).contains(&number) => Some(number),
            _ => {
                report.problem(
                    self.span(),
                    format!("{what} must be a whole number from 1 to {max}"),
                    None,
                );
                None
            }
        }
    }

    pub(super) fn elements(&self, what: &str, report: &mut Report<'_>) -> Option<Vec<Node<'t>>> {
        if !self.raw.starts_with('[') {
            self.wrong_kind(what, "a list", report);
            return None;
        }
        match serde_json::from_str::<Elements<'t>>(self.raw) {
            Ok(Elements(elements)) => Some(
                elements
                    .into_iter()
                    .map(|raw| Node::new(raw, self.source))
                    .collect(),
            ),
            Err(error) => {
                report.problem(self.span(), format!("not JSON: {}", reason(&error)), None);
                None
            }
        }
    }

    /// The members in order. Reports a duplicate name and keeps only its first value.
    pub(super) fn members(
        &self,
        what: &str,
        report: &mut Report<'_>,
    ) -> Option<Vec<(Text<'t>, Node<'t>)>> {
        if !self.is_object() {
            self.wrong_kind(what, "an object", report);
            return None;
        }
        let raw = match serde_json::from_str::<Members<'t>>(self.raw) {
            Ok(Members(members)) => members,
            Err(error) => {
                report.problem(self.span(), format!("not JSON: {}", reason(&error)), None);
                return None;
            }
        };
        let mut seen: HashMap<Cow<'t, str>, usize> = HashMap::with_capacity(raw.len());
        let mut members = Vec::with_capacity(raw.len());
        for (name, value) in raw {
            let Some(name) = Node::new(name, self.source).string("a name", report) else {
                continue;
            };
            match seen.get(&name.text) {
                Some(first) => {
                    let first = report.place(*first);
                    report.problem(
                        name.span.clone(),
                        format!("`{}` stands twice in {what}", name.text),
                        Some(format!(
                            "the first is at {first}; JSON readers keep one of the two without a word"
                        )),
                    );
                }
                None => {
                    seen.insert(name.text.clone(), name.span.start);
                    members.push((name, Node::new(value, self.source)));
                }
            }
        }
        Some(members)
    }
}

/// A map as its raw names and values, duplicates included.
struct Members<'t>(Vec<(&'t RawValue, &'t RawValue)>);

impl<'t> Deserialize<'t> for Members<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'t> Visitor<'t> for Collect {
            type Value = Members<'t>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

struct Elements<'t>(Vec<&'t RawValue>);

impl<'t> Deserialize<'t> for Elements<'t> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'t> Visitor<'t> for Collect {
            type Value = Elements<'t>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: SeqAccess<'t>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = seq.next_element()? {
                    elements.push(element);
                }
                Ok(Elements(elements))
            }
        }
        deserializer.deserialize_seq(Collect)
    }
}
