//! Reading: serde_json does all the parsing; this module adds what its messages leave out.
//!
//! If all is well, only the plain parse runs. After an error the text is examined a second time:
//! for the path of a field that does not fit, or for a `NaN` at the position where serde_json
//! stopped.

use super::{
    exact::{self, LongIntegers},
    is_white, path_to, refuse,
};
use crate::model::Result;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::error::Category;
use std::fmt;

/// What Python's `json` writes for floats that are not numbers; JSON parsers need not accept them.
const NOT_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];

/// Reads a whole document. An error says what is wrong, where, and what to do.
pub(crate) fn parse<T: DeserializeOwned>(document: &str, bytes: &[u8]) -> Result<T> {
    let text = text(bytes).map_err(|message| refuse(document, message))?;
    let long = LongIntegers::of(text);
    let read = if long.is_empty() {
        serde_json::from_str(text)
    } else {
        exact::read(text, &long).map_err(serde_path_to_error::Error::into_inner)
    };
    read.map_err(|e| refuse(document, explain::<T>(text, &long, &e)))
}

/// Whether the bytes are only the beginning of a JSON text, as in a file whose writer is not done.
pub(crate) fn is_cut_short(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_err_and(|e| e.is_eof())
}

/// The bytes as text. Fails if they are not UTF-8, begin with a byte order mark, or are empty.
fn text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.starts_with(b"\xef\xbb\xbf") {
        return Err(
            "starts with a byte order mark, which is not JSON; save it as UTF-8 without one"
                .to_owned(),
        );
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let valid = str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default();
        let byte = bytes[valid.len()];
        let position = Position::of(valid, valid.len());
        format!(
            "not UTF-8, which JSON has to be: byte 0x{byte:02x} at {position}; convert it to UTF-8"
        )
    })?;
    if text.bytes().all(is_white) {
        return Err(
            "empty, where a JSON value should be; restore it, or delete it and create it anew"
                .to_owned(),
        );
    }
    Ok(text)
}

fn explain<T: DeserializeOwned>(
    text: &str,
    long: &LongIntegers<'_>,
    e: &serde_json::Error,
) -> String {
    let message = without_place(e);
    match e.classify() {
        Category::Eof => {
            let end = Position::of(text, text.len());
            format!("ends too early, at {end}: {message}; it was cut short, restore it")
        }
        Category::Data => misfit::<T>(text, long, e, &message),
        Category::Syntax | Category::Io => bad_syntax(text, stopped_at(text, e), &message),
    }
}

fn bad_syntax(text: &str, at: usize, message: &str) -> String {
    if let Some((start, word)) = not_a_number(text, at) {
        let position = Position::of(text, start);
        return format!(
            "`{word}` at {position} is not JSON; Python writes it for a float that has no value: put \
             a number or `null` in its place; nothing was changed"
        );
    }
    // The grammar allows any number of digits; serde_json counts this as a syntax error.
    if message == "number out of range" {
        return format!(
            "a number that ends at {} is out of the range of a 64-bit float",
            Position::of(text, at)
        );
    }
    let advice = match message {
        "trailing characters" => "; a document is one JSON value, remove what follows it",
        "recursion limit exceeded" => "; it is nested too deeply to be read safely",
        _ => "",
    };
    format!("not JSON: {message} at {}{advice}", Position::of(text, at))
}

/// For text that is JSON but does not fit `T`: reads it again and tracks the path.
fn misfit<T: DeserializeOwned>(
    text: &str,
    long: &LongIntegers<'_>,
    e: &serde_json::Error,
    message: &str,
) -> String {
    let mut said = match exact::read::<T>(text, long)
        .err()
        .and_then(|e| path_to(e.path()))
    {
        Some(path) => format!("`{path}`: {message}"),
        None => message.to_owned(),
    };
    // An error from the caller's own `Deserialize` may have no position.
    if e.line() > 0 {
        let position = Position::of(text, stopped_at(text, e));
        said.push_str(&format!(", near {position}"));
    }
    said
}

/// The word of [`NOT_NUMBERS`] at which a parser stopped, near `at`, and where that word begins.
fn not_a_number(text: &str, at: usize) -> Option<(usize, &'static str)> {
    // A minus may begin a number, so a parser passes it before it stops.
    let start = match at.checked_sub(1) {
        Some(before) if text.as_bytes().get(before) == Some(&b'-') => before,
        _ => at,
    };
    let rest = text.get(start..)?;
    let word = NOT_NUMBERS
        .into_iter()
        .find(|word| rest.starts_with(word))?;
    let longer = rest[word.len()..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    (!longer).then_some((start, word))
}

/// The byte that serde_json's line and column mean. Its columns count bytes, starting at 1.
fn stopped_at(text: &str, e: &serde_json::Error) -> usize {
    let line_start: usize = text
        .split_inclusive('\n')
        .take(e.line().saturating_sub(1))
        .map(str::len)
        .sum();
    // Column 0 is the line break before the line.
    (line_start + e.column()).saturating_sub(1)
}

/// serde_json's message without ` at line 1 column 2`, which is reported in another form.
pub(crate) fn without_place(e: &serde_json::Error) -> String {
    let message = e.to_string();
    let place = format!(" at line {} column {}", e.line(), e.column());
    match message.strip_suffix(&place) {
        Some(bare) => bare.to_owned(),
        None => message,
    }
}

/// A position in a text. Line and column count from 1, and columns are characters, as in editors;
/// bytes count from 0.
struct Position {
    line: usize,
    column: usize,
    byte: usize,
}

impl Position {
    fn of(text: &str, byte: usize) -> Self {
        let byte = crate::model::text::floor(text, byte);
        let before = &text[..byte];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            line: before.bytes().filter(|&b| b == b'\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            byte,
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, byte } = self;
        write!(f, "line {line}, column {column} (byte {byte})")
    }
}

#[cfg(test)]
mod tests;
