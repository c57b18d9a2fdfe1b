//! The values of placeholders, and which values are allowed.

use crate::model::{
    Error, Result,
    error::Kind,
    limits::{MAX_PARAM_BYTES, MAX_PARAM_VALUES},
};

/// One param's value, or its list of values.
///
/// A value may not be empty, be longer than [`MAX_PARAM_BYTES`], or contain control characters,
/// `{`, `}`, or the character that follows its placeholder in a template. So two different values
/// never give the same key. This is checked when keys are made. [`ParamValue::encoded`] accepts any
/// other text.
///
/// # Examples
///
/// ```
/// use cachetx::{ParamValue, Params};
///
/// let params = Params::new().with("sku", "tea").with("fragment", ["top", "news"]);
/// assert_eq!(params.get("sku"), Some(&ParamValue::from("tea")));
/// assert_eq!(params.get("fragment").map(|list| list.values().len()), Some(2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParamValue {
    /// One value.
    One(String),
    /// Several values, in this order: every template that uses the param gives a key for each.
    List(Vec<String>),
}

impl ParamValue {
    /// Percent-encodes a text so that it may stand in a key.
    ///
    /// Everything but ASCII letters, digits, `-`, `.`, `_` and `~` becomes `%XX`, byte by byte, as
    /// in Python's `quote(raw, safe="")`, so that programs in other languages can make the same
    /// key. Different texts stay different. An empty text stays empty, and is refused like any
    /// other empty value.
    ///
    /// # Examples
    /// ```
    /// use cachetx::ParamValue;
    ///
    /// assert_eq!(ParamValue::encoded("a:b{c}"), ParamValue::from("a%3Ab%7Bc%7D"));
    /// assert_eq!(ParamValue::encoded("copacetic-sled"), ParamValue::from("copacetic-sled"));
    /// ```
    #[must_use]
    pub fn encoded(raw: &str) -> Self {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let mut text = String::with_capacity(raw.len());
        for byte in raw.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                text.push(byte.into());
            } else {
                text.push('%');
                text.push(HEX[usize::from(byte >> 4)].into());
                text.push(HEX[usize::from(byte & 15)].into());
            }
        }
        Self::One(text)
    }

    /// The one value, or those of the list.
    #[must_use]
    pub fn values(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::List(values) => values,
        }
    }
}

impl From<&str> for ParamValue {
    fn from(value: &str) -> Self {
        Self::One(value.to_owned())
    }
}

impl From<String> for ParamValue {
    fn from(value: String) -> Self {
        Self::One(value)
    }
}

impl From<&String> for ParamValue {
    fn from(value: &String) -> Self {
        Self::One(value.clone())
    }
}

impl From<Vec<String>> for ParamValue {
    fn from(values: Vec<String>) -> Self {
        Self::List(values)
    }
}

impl From<Vec<&str>> for ParamValue {
    fn from(values: Vec<&str>) -> Self {
        values.as_slice().into()
    }
}

impl From<&[&str]> for ParamValue {
    fn from(values: &[&str]) -> Self {
        Self::List(values.iter().map(|value| (*value).to_owned()).collect())
    }
}

impl From<&[String]> for ParamValue {
    fn from(values: &[String]) -> Self {
        Self::List(values.to_vec())
    }
}

impl<const N: usize> From<[&str; N]> for ParamValue {
    fn from(values: [&str; N]) -> Self {
        values.as_slice().into()
    }
}

/// The values of the placeholders, by name. Params that no template uses are ignored.
///
/// [`with`](Self::with) and [`set`](Self::set) replace a value. Params that are collected from
/// pairs keep duplicate names, and an expansion that needs such a name is refused: it cannot know
/// which value was meant.
///
/// # Examples
/// ```
/// use cachetx::Params;
///
/// let params = Params::new().with("run_id", "copacetic-sled").with("scenario", ["a", "b"]);
/// assert_eq!(params.get("scenario").map(|value| value.values().len()), Some(2));
/// assert_eq!(Params::from([("run_id", "r")]), [("run_id", "r")].into_iter().collect());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, ParamValue)>);

impl Params {
    /// No params.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same params with this one set; replaces its value if it had one.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<ParamValue>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets a param; replaces its value if it had one.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<ParamValue>) {
        let (name, value) = (name.into(), value.into());
        self.0.retain(|(given, _)| *given != name);
        self.0.push((name, value));
    }

    /// A param's value; the first one if the name is duplicated.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&ParamValue> {
        self.0
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value)
    }

    /// Names and values in the order given.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &ParamValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl<K: Into<String>, V: Into<ParamValue>> FromIterator<(K, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(
            pairs
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl<K: Into<String>, V: Into<ParamValue>, const N: usize> From<[(K, V); N]> for Params {
    fn from(pairs: [(K, V); N]) -> Self {
        pairs.into_iter().collect()
    }
}

fn refuse<T>(message: String) -> Result<T> {
    Err(Error::new(Kind::Params(message)))
}

/// The values of a param that `user` (a controller's key, a template) needs: at least one, at most
/// as many as a list may have.
pub(super) fn values<'p>(
    params: &'p Params,
    name: &str,
    user: impl Fn() -> String,
) -> Result<&'p [String]> {
    let mut found = params.0.iter().filter(|(given, _)| given == name);
    let Some((_, value)) = found.next() else {
        return refuse(format!("param `{name}` is missing, which {} needs", user()));
    };
    if found.next().is_some() {
        return refuse(format!(
            "param `{name}` is given twice; give it once, or as a list of values"
        ));
    }
    let values = value.values();
    if values.is_empty() {
        return refuse(format!(
            "param `{name}` is an empty list, which would give {} no key at all",
            user()
        ));
    }
    if values.len() > MAX_PARAM_VALUES {
        return refuse(format!(
            "param `{name}` has {} values, over the limit of {MAX_PARAM_VALUES}",
            values.len()
        ));
    }
    Ok(values)
}

/// The one value of a param, for a single key.
pub(super) fn single<'p>(
    params: &'p Params,
    name: &str,
    user: impl Fn() -> String,
) -> Result<&'p str> {
    let values = values(params, name, &user)?;
    if values.iter().any(|value| *value != values[0]) {
        return refuse(format!(
            "param `{name}` has {} values, but {} needs exactly one here",
            values.len(),
            user()
        ));
    }
    Ok(&values[0])
}

/// Characters that no value may contain, whatever the template.
pub(super) fn forbidden(character: char) -> bool {
    matches!(character, '{' | '}') || character.is_control()
}

/// Checks that a value may stand in a key of `user`, where `until` is the character after its
/// placeholder.
pub(super) fn check(
    name: &str,
    value: &str,
    until: Option<char>,
    user: impl FnOnce() -> String,
) -> Result<()> {
    if value.is_empty() {
        return refuse(format!("param `{name}` is empty, in {}", user()));
    }
    if value.len() > MAX_PARAM_BYTES {
        return refuse(format!(
            "param `{name}` has {} bytes, over the limit of {MAX_PARAM_BYTES}, in {}",
            value.len(),
            user()
        ));
    }
    let bad = value
        .chars()
        .find(|character| forbidden(*character) || Some(*character) == until);
    let Some(bad) = bad else {
        return Ok(());
    };
    let why = if forbidden(bad) {
        ""
    } else {
        ", which ends the placeholder there"
    };
    // Encoding keeps these characters, so it would not help.
    let cure = if bad.is_ascii_alphanumeric() || "-._~%".contains(bad) {
        "choose another value, or another character after the placeholder"
    } else {
        "use ParamValue::encoded"
    };
    refuse(format!(
        "param `{name}` (`{}`) contains `{}`{why}, in {}; {cure}",
        value.escape_debug(),
        bad.escape_debug(),
        user()
    ))
}
