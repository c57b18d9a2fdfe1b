//! Key templates: `nodb_cache:{run_id}:climate`, with `{{` and `}}` for literal braces.

use super::params::{Params, check, forbidden, single};
use crate::model::{Result, limits::MAX_TEMPLATE_BYTES};
use std::{mem, ops::Range};

/// A literal and the placeholder after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(super) literal: Box<str>,
    pub(super) name: Box<str>,
    /// The character that ends the placeholder's value, so the value may not contain it: that makes
    /// two different values give two different keys. `None` at the template's end.
    pub(super) until: Option<char>,
}

/// A parsed template: pieces, then a final literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub(super) source: Box<str>,
    pub(super) pieces: Box<[Piece]>,
    pub(super) tail: Box<str>,
}

/// A problem in a template, and its place there.
pub(super) struct Fault {
    pub(super) at: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

const BRACES: &str = "write `{{` and `}}` for literal braces";

impl Template {
    /// Parses a template of the store (a lock key, a file layout). The error is one sentence.
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        Self::parse_all(source).map_err(|faults| {
            faults
                .iter()
                .map(|fault| match &fault.help {
                    Some(help) => format!("{} ({help})", fault.message),
                    None => fault.message.clone(),
                })
                .collect::<Vec<_>>()
                .join("; ")
        })
    }

    /// Parses a template, and returns all problems in it.
    pub(super) fn parse_all(source: &str) -> Result<Self, Vec<Fault>> {
        let mut scan = Scan::default();
        if source.is_empty() {
            scan.fault(0..0, "the template is empty", None);
        } else if source.len() > MAX_TEMPLATE_BYTES {
            scan.fault(
                0..source.len(),
                format!(
                    "the template has {} bytes, over the limit of {MAX_TEMPLATE_BYTES}",
                    source.len()
                ),
                None,
            );
        } else {
            scan.run(source);
        }
        if !scan.faults.is_empty() {
            return Err(scan.faults);
        }
        let template = scan.finish(source);
        match template.slot_fault() {
            None => Ok(template),
            Some(message) => Err(vec![Fault {
                at: 0..source.len(),
                message,
                help: Some(
                    "put the braces around something that is not empty, or leave them out"
                        .to_owned(),
                ),
            }]),
        }
    }

    /// The placeholders in order, repeats included.
    pub(crate) fn placeholders(&self) -> impl ExactSizeIterator<Item = &str> {
        self.pieces.iter().map(|piece| &*piece.name)
    }

    /// The text for exactly one value of each placeholder.
    ///
    /// # Errors
    /// A param is missing, has several values, or may not stand in this template.
    pub(crate) fn fill(&self, params: &Params) -> Result<String> {
        let user = || format!("template `{}`", self.source);
        let mut text = String::with_capacity(self.source.len() + 32 * self.pieces.len());
        for piece in &self.pieces {
            text.push_str(&piece.literal);
            let value = single(params, &piece.name, user)?;
            check(&piece.name, value, piece.until, user)?;
            text.push_str(value);
        }
        text.push_str(&self.tail);
        Ok(text)
    }

    /// The literals in order, each with the character that ends the placeholder after it; the last
    /// one has none.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&str, Option<char>)> {
        let pieces = self.pieces.iter();
        pieces
            .map(|piece| (&*piece.literal, piece.until))
            .chain([(&*self.tail, None)])
    }

    /// The literals in order, one more than there are placeholders.
    pub(crate) fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts().map(|(literal, _)| literal)
    }

    /// The hash tag's literals; `None` if keys have no tag.
    pub(crate) fn hash_tag_literals(&self) -> Option<Vec<&str>> {
        let mut inside = None;
        for literal in self.literals() {
            let mut rest = literal;
            if inside.is_none() {
                let Some((_, after)) = literal.split_once('{') else {
                    continue;
                };
                inside = Some(Vec::new());
                rest = after;
            }
            if let Some(tag) = &mut inside {
                match rest.split_once('}') {
                    Some((last, _)) => {
                        tag.push(last);
                        return inside;
                    }
                    None => tag.push(rest),
                }
            }
        }
        None
    }

    /// Bytes of the literals.
    pub(super) fn literal_bytes(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|piece| piece.literal.len()).sum();
        pieces + self.tail.len()
    }

    /// Whether some values give this text. Values of a repeated placeholder are not compared.
    pub(super) fn matches(&self, text: &str) -> bool {
        self.values(text).is_some()
    }

    /// The values that give this text, each with its placeholder, repeats included. There is only
    /// one solution.
    pub(crate) fn values<'t>(&'t self, text: &'t str) -> Option<Vec<(&'t str, &'t str)>> {
        let mut rest = text;
        let mut values = Vec::with_capacity(self.pieces.len());
        for piece in &self.pieces {
            let after = rest.strip_prefix(&*piece.literal)?;
            let end = match piece.until {
                Some(until) => after.find(until)?,
                None => after.len(),
            };
            let value = &after[..end];
            if value.is_empty() || value.contains(forbidden) {
                return None;
            }
            values.push((&*piece.name, value));
            rest = &after[end..];
        }
        (rest == &*self.tail).then_some(values)
    }

    /// The same template with this text in a placeholder's place.
    pub(crate) fn with_text(&self, name: &str, text: &str) -> Self {
        let (mut pieces, mut before) = (Vec::new(), String::new());
        for piece in &self.pieces {
            before.push_str(&piece.literal);
            match *piece.name == *name {
                true => before.push_str(text),
                false => pieces.push(Piece {
                    literal: mem::take(&mut before).into(),
                    ..piece.clone()
                }),
            }
        }
        Self {
            source: self.source.clone(),
            pieces: pieces.into(),
            tail: (before + &self.tail).into(),
        }
    }

    /// The hash tag of every key of this template, itself as a template: equal tags give equal
    /// slots for equal params.
    pub(super) fn hash_tag(&self) -> Option<String> {
        match self.braces() {
            Braces::Tag(tag) => Some(tag),
            Braces::None | Braces::Broken => None,
        }
    }

    fn slot_fault(&self) -> Option<String> {
        match self.braces() {
            Braces::Broken => Some(
                "keys of this template have a `}` but no hash tag, so entries beside the value would get another slot"
                    .to_owned(),
            ),
            Braces::Tag(_) | Braces::None => None,
        }
    }

    /// Redis hashes what stands between the first `{` and the next `}`, unless that is empty.
    /// Values have no braces, so the literals alone decide.
    fn braces(&self) -> Braces {
        let mut tag: Option<String> = None;
        let mut closing = false;
        let mut literals = self
            .pieces
            .iter()
            .map(|piece| (&*piece.literal, Some(&*piece.name)))
            .chain([(&*self.tail, None)]);
        literals
            .by_ref()
            .find_map(|(literal, name)| {
                for character in literal.chars() {
                    match (character, &mut tag) {
                        ('{', None) => tag = Some(String::new()),
                        ('}', Some(tag)) => {
                            return Some(if tag.is_empty() {
                                Braces::Broken
                            } else {
                                Braces::Tag(std::mem::take(tag))
                            });
                        }
                        ('}', None) => closing = true,
                        ('{', Some(tag)) => tag.push_str("{{"),
                        (other, Some(tag)) => tag.push(other),
                        (_, None) => {}
                    }
                }
                if let (Some(name), Some(tag)) = (name, &mut tag) {
                    tag.push('{');
                    tag.push_str(name);
                    tag.push('}');
                }
                None
            })
            // `a{b` alone is harmless: `{a{b}:stamp` has the tag `a{b`, the whole value key.
            .unwrap_or(if closing {
                Braces::Broken
            } else {
                Braces::None
            })
    }
}

enum Braces {
    None,
    Tag(String),
    /// No tag, but a `}`: wrapping such a key in braces would not make the whole key its tag.
    Broken,
}

#[derive(Default)]
struct Scan {
    pieces: Vec<Piece>,
    literal: String,
    faults: Vec<Fault>,
}

impl Scan {
    fn fault(&mut self, at: Range<usize>, message: impl Into<String>, help: Option<&str>) {
        self.faults.push(Fault {
            at,
            message: message.into(),
            help: help.map(str::to_owned),
        });
    }

    fn run(&mut self, source: &str) {
        let mut at = 0;
        while let Some(character) = source[at..].chars().next() {
            let rest = &source[at..];
            let next = at + character.len_utf8();
            match character {
                '{' | '}' if rest[1..].starts_with(character) => {
                    self.literal.push(character);
                    at = next + 1;
                    continue;
                }
                '{' => match rest[1..].find(['{', '}']) {
                    Some(len) if rest[1 + len..].starts_with('}') => {
                        let end = next + len + 1;
                        self.placeholder(&rest[1..=len], at..end);
                        at = end;
                        continue;
                    }
                    _ => self.fault(at..next, "this `{` is not closed", Some(BRACES)),
                },
                '}' => self.fault(at..next, "this `}` closes nothing", Some(BRACES)),
                control if control.is_control() => self.fault(
                    at..next,
                    format!(
                        "control character {} in a template",
                        control.escape_unicode()
                    ),
                    None,
                ),
                other => self.literal.push(other),
            }
            at = next;
        }
    }

    fn placeholder(&mut self, name: &str, at: Range<usize>) {
        if name.is_empty() {
            self.fault(at, "a placeholder without a name", Some(BRACES));
            return;
        }
        if !name
            .chars()
            .all(|character| character.is_alphanumeric() || matches!(character, '_' | '-'))
        {
            self.fault(
                at,
                format!("`{name}` is no placeholder name"),
                Some("use letters, digits, `_` and `-`"),
            );
            return;
        }
        if self.literal.is_empty() && !self.pieces.is_empty() {
            self.fault(
                at.clone(),
                format!("nothing stands between `{{{name}}}` and the placeholder before it"),
                Some("two pairs of values could give the same key: put a character between them, such as `:`"),
            );
        }
        let literal = std::mem::take(&mut self.literal);
        if let (Some(before), Some(first)) = (self.pieces.last_mut(), literal.chars().next()) {
            before.until = Some(first);
        }
        self.pieces.push(Piece {
            literal: literal.into(),
            name: name.into(),
            until: None,
        });
    }

    fn finish(mut self, source: &str) -> Template {
        if let (Some(last), Some(first)) = (self.pieces.last_mut(), self.literal.chars().next()) {
            last.until = Some(first);
        }
        Template {
            source: source.into(),
            pieces: self.pieces.into(),
            tail: self.literal.into(),
        }
    }
}
