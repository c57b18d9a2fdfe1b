//! Bytes as texts, choices and params. Each text is a line, so that seeds can be written by hand.

use crate::rules::{ParamValue, Params};

/// Lines of a text. Invalid UTF-8 is replaced.
pub(super) struct Lines<'t>(std::str::Split<'t, char>);

impl<'t> Lines<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        Self(text.split('\n'))
    }

    /// The next line; empty past the end.
    pub(super) fn next(&mut self) -> &'t str {
        self.0.next().unwrap_or_default()
    }

    pub(super) fn rest(self) -> impl Iterator<Item = &'t str> {
        self.0
    }
}

/// A line as a param: `name=value`, or `name=value|value|…` for a list. A value `*n` stands for a
/// long one of n bytes.
pub(super) fn param(line: &str) -> Option<(&str, ParamValue)> {
    let (name, value) = line.split_once('=')?;
    let values: Vec<String> = value.split('|').map(long).collect();
    Some(match &values[..] {
        [one] => (name, one.into()),
        _ => (name, values.into()),
    })
}

/// Params; a name may be duplicated.
pub(super) fn params<'t>(lines: impl Iterator<Item = &'t str>) -> Params {
    lines.filter_map(param).collect()
}

fn long(value: &str) -> String {
    let bytes = value.strip_prefix('*').and_then(|n| n.parse::<u16>().ok());
    match bytes {
        Some(bytes) => "v".repeat(bytes.into()),
        None => value.to_owned(),
    }
}

/// Chooses one item.
pub(super) fn chosen<'a, T>(from: &'a [T], by: &str) -> Option<&'a T> {
    let sum = by
        .bytes()
        .fold(0_usize, |sum, byte| sum * 31 % 65_521 + usize::from(byte));
    from.get(sum.checked_rem(from.len())?)
}
