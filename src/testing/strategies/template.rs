//! Key templates that cannot equal another one of the same file, in every shape that the format
//! has.

use proptest::{prelude::*, sample::select};

/// How all templates of a file are told apart.
#[derive(Clone, Copy, Debug)]
pub(super) enum Style {
    /// Each begins with its controller's name; no placeholder comes before it.
    Begins,
    /// Each ends with its controller's name; no placeholder comes after it.
    Ends,
}

/// The placeholders of a file: few, so that templates share them.
const PLACEHOLDERS: [&str; 4] = ["run_id", "scenario", "year", "größe-2"];

/// The texts between placeholders; the first character of each ends a value. One must be escaped in
/// JSON.
const LITERALS: [&str; 8] = [":", "/", "|", ":x:", "and", "ü", "->", "\\\""];

/// A template for a controller whose name has no `:`.
pub(super) fn template(style: Style, controller: String) -> impl Strategy<Value = String> {
    let parts = prop::collection::vec((select(&PLACEHOLDERS[..]), select(&LITERALS[..])), 0..4);
    (parts, shape()).prop_map(move |(parts, shape)| {
        let middle = shape.wrap(&parts);
        match style {
            Style::Begins => format!("{controller}:{middle}"),
            Style::Ends => format!("{middle}:{controller}"),
        }
    })
}

/// Where literal braces are.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// Nowhere: the whole key is hashed.
    Bare,
    /// Around the first placeholder, or a word: a hash tag.
    Tag,
    /// Around everything.
    Whole,
    /// Open and never closed: Redis sees no tag.
    Open,
    /// A tag, and braces after it that have no meaning.
    TagAndMore,
}

fn shape() -> impl Strategy<Value = Shape> {
    use Shape::{Bare, Open, Tag, TagAndMore, Whole};
    select(vec![Bare, Bare, Tag, Tag, Whole, Open, TagAndMore])
}

impl Shape {
    fn wrap(self, parts: &[(&str, &str)]) -> String {
        let (first, rest) = match parts.split_first() {
            None => ("word".to_owned(), String::new()),
            Some(((name, _), rest)) => (
                format!("{{{name}}}"),
                rest.iter()
                    .map(|(name, literal)| format!("{literal}{{{name}}}"))
                    .collect(),
            ),
        };
        match self {
            Self::Bare => format!("{first}{rest}"),
            Self::Tag => format!("{{{{{first}}}}}{rest}"),
            Self::Whole => format!("{{{{{first}{rest}}}}}"),
            Self::Open => format!("a{{{{{first}{rest}"),
            Self::TagAndMore => format!("p{{{{{first}}}}}}}}}{{{{{rest}"),
        }
    }
}
