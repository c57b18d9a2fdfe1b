//! Writing: text in one of two styles, with the white space that was around it.

use super::{finite, is_white, path_to, refuse};
use crate::model::{Result, limits};
use serde::Serialize;

/// How a document is written.
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// use cachetx::JsonStyle;
///
/// let legible = Store::builder(&cache)
///     .root(folder.path())
///     .run_param("shop_id")
///     .style(JsonStyle::Pretty)
///     .open()?;
/// # drop(legible);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Style {
    /// No white space at all.
    #[default]
    Compact,
    /// Two spaces per level, one line per member.
    Pretty,
}

/// The white space around a file's JSON text, such as a final line break: parsing drops it, and a
/// save should keep it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outer {
    before: Box<str>,
    after: Box<str>,
}

impl Outer {
    /// Takes the white space from a file's bytes. More than [`limits::MAX_OUTER_BYTES`] on one side
    /// is padding and is not kept.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let Some(first) = bytes.iter().position(|b| !is_white(*b)) else {
            return Self::default();
        };
        let past = bytes
            .iter()
            .rposition(|b| !is_white(*b))
            .map_or(first, |last| last + 1);
        Self {
            before: keep(&bytes[..first]),
            after: keep(&bytes[past..]),
        }
    }
}

fn keep(white: &[u8]) -> Box<str> {
    match str::from_utf8(white) {
        Ok(white) if white.len() <= limits::MAX_OUTER_BYTES => white.into(),
        _ => Box::default(),
    }
}

/// A value as a file's bytes.
pub(crate) fn to_bytes<T: Serialize + ?Sized>(
    document: &str,
    value: &T,
    style: Style,
    around: Option<&Outer>,
) -> Result<Vec<u8>> {
    let mut text = to_text(document, value, style)?;
    if let Some(Outer { before, after }) = around {
        text.insert_str(0, before);
        text.push_str(after);
    }
    Ok(text.into_bytes())
}

/// A value as JSON text. Refuses NaN and infinities, for which serde_json would silently write
/// `null`.
pub(crate) fn to_text<T: Serialize + ?Sized>(
    document: &str,
    value: &T,
    style: Style,
) -> Result<String> {
    finite::check(value).map_err(|message| refuse(document, message))?;
    let text = match style {
        Style::Compact => serde_json::to_string(value),
        Style::Pretty => serde_json::to_string_pretty(value),
    };
    text.map_err(|e| refuse(document, unwritable(value, &e)))
}

/// Names the part of the value that cannot be JSON, such as a map whose keys are lists. Serializes
/// it once more, without output, to find the path.
fn unwritable<T: Serialize + ?Sized>(value: &T, e: &serde_json::Error) -> String {
    let mut nowhere = serde_json::Serializer::new(std::io::sink());
    let tracked = serde_path_to_error::serialize(value, &mut nowhere);
    match tracked.err().and_then(|e| path_to(e.path())) {
        Some(path) => format!("`{path}` cannot be written as JSON: {e}"),
        None => format!("cannot be written as JSON: {e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::RawObject;
    use std::collections::BTreeMap;

    #[test]
    fn the_white_space_around_a_file_is_kept_for_any_type() {
        for (bytes, around) in [
            ("[1]\n", ("", "\n")),
            (" \t[1]\r\n\n", (" \t", "\r\n\n")),
            ("[1]", ("", "")),
            ("", ("", "")),
            (" \n", ("", "")),
        ] {
            let outer = Outer::of(bytes.as_bytes());
            assert_eq!((&*outer.before, &*outer.after), around, "{bytes:?}");
            let written = to_bytes("d", &(7,), Style::Compact, Some(&outer)).unwrap();
            let (before, after) = around;
            assert_eq!(written, format!("{before}[7]{after}").into_bytes());
        }
    }

    #[test]
    fn padding_is_not_kept_and_nothing_but_json_white_space_is_white() {
        let limit = "\n".repeat(limits::MAX_OUTER_BYTES);
        assert_eq!(*Outer::of(format!("1{limit}").as_bytes()).after, *limit);
        assert_eq!(*Outer::of(format!("1{limit}\n").as_bytes()).after, *"");
        assert_eq!(Outer::of("1\u{a0}\u{b}".as_bytes()), Outer::default());
    }

    #[test]
    fn both_styles() {
        let value = BTreeMap::from([("a", 1)]);
        let write = |style| String::from_utf8(to_bytes("d", &value, style, None).unwrap()).unwrap();
        assert_eq!(write(Style::default()), r#"{"a":1}"#);
        assert_eq!(write(Style::Pretty), "{\n  \"a\": 1\n}");
    }

    #[test]
    fn a_raw_object_in_its_outer_is_the_file_s_bytes() {
        let file = "\n{ \"crit\" : 1e-06,\n\t\"twice\": {\"a\": 1, \"a\": 250.0} }\r\n\n";
        let object: RawObject = crate::json::parse("d", file.as_bytes()).unwrap();
        let outer = Outer::of(file.as_bytes());
        for style in [Style::Compact, Style::Pretty] {
            let written = to_bytes("d", &object, style, Some(&outer)).unwrap();
            assert_eq!(written, file.as_bytes());
        }
        let e = to_text("d", &(object, [f64::NAN]), Style::Compact).unwrap_err();
        assert!(e.to_string().contains("`[1][0]` is NaN"), "{e}");
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_path() {
        let value = BTreeMap::from([("a", BTreeMap::from([(vec![1], 2)]))]);
        let e = to_bytes("climate", &value, Style::Compact, None).unwrap_err();
        assert!(e.is_document());
        assert_eq!(
            e.to_string(),
            "climate: `a` cannot be written as JSON: key must be a string"
        );
    }
}
