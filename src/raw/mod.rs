//! A JSON object that stays the text it was read from.
//!
//! ```text
//! mod       RawObject: reading members, and what it shares with other types (Display, FromStr, serde, ...)
//! edit      set and remove: which bytes change, and how a new member is made to look like its neighbours
//! members   where the members stand in the text, and finding one by name
//! ```

mod edit;
mod members;

use crate::{json, model::Result};
use members::Members;
use serde::{Deserialize, Serialize, de, de::DeserializeOwned, ser};
use serde_json::value::RawValue;
use std::{fmt, str::FromStr};

/// A JSON object kept as its text: setting one member leaves every other byte as it was.
///
/// It is for documents that another program owns the shape of. Order, spacing, escapes, big integers and spellings
/// such as `1e-06` and `250.0` all stay, and that without serde_json's features `preserve_order` and
/// `arbitrary_precision`, which would change the JSON of every other crate in the same build.
///
/// Names are compared as what they mean: `"\u0061"` is `a`. Two members of one name are refused when the object is
/// read. Parsers disagree about which of them counts, so whichever one a change went to would be the wrong one for
/// somebody. Objects further down are not looked into, and may hold anything that is JSON.
///
/// # With serde
///
/// It can be a whole document or a field of a struct, for serde_json only, and directly: reading it through
/// `#[serde(flatten)]`, an untagged or an internally tagged enum is an error, since these put values into a buffer,
/// where the text is lost. A `RawObject` that is made from a [`serde_json::Value`] has the text that serde_json gives
/// that value. Do not write one through `#[serde(flatten)]`: it becomes one member that holds the text as a string.
/// White space around the object is not part of it.
///
/// # Cost
///
/// An index of the members is made once. Finding one then takes a binary search, and changing one moves the text
/// behind it. Writing the object runs its text through serde_json's parser, so that nothing but JSON gets out.
///
/// # Examples
///
/// ```
/// use cachetx::RawObject;
///
/// let mut run: RawObject = r#"{"id": 18446744073709551616, "crit": 1e-06, "years": 100}"#.parse()?;
/// assert_eq!(run.get::<u32>("years")?, Some(100));
///
/// run.set("years", &30)?;
/// run.set("mods", &["ash"])?;
/// assert_eq!(
///     run.as_str(),
///     r#"{"id": 18446744073709551616, "crit": 1e-06, "years": 30, "mods": ["ash"]}"#
/// );
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone)]
pub struct RawObject {
    /// From its `{` to its `}`.
    text: String,
    members: Members,
}

impl RawObject {
    /// An object without members, `{}`.
    #[must_use]
    pub fn new() -> Self {
        Self {
            text: "{}".to_owned(),
            members: Members::default(),
        }
    }

    /// Reads an object; white space around it is dropped.
    ///
    /// # Errors
    ///
    /// [`is_document`](crate::Error::is_document) where the text is not JSON, is not an object, holds two members of
    /// one name, or a name that is no text (half a surrogate pair, `"\ud800"`).
    pub fn from_json(text: &str) -> Result<Self> {
        json::parse("JSON text", text.as_bytes())
    }

    /// The object's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads a member's value as a `T`; `None` where there is no such member.
    ///
    /// A member that is `null` is there: read it as an `Option`, and it is `Some(None)`.
    ///
    /// # Errors
    ///
    /// [`is_document`](crate::Error::is_document) where the value does not fit `T`. The place in the message counts
    /// from the value's first byte.
    ///
    /// # Examples
    ///
    /// ```
    /// # use cachetx::RawObject;
    /// let run = RawObject::from_json(r#"{"years": 100, "seed": null}"#)?;
    /// assert_eq!(run.get::<u32>("years")?, Some(100));
    /// assert_eq!(run.get::<Option<u32>>("seed")?, Some(None));
    /// assert_eq!(run.get::<u32>("months")?, None);
    /// assert!(run.get::<String>("years").unwrap_err().is_document());
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        self.get_raw(name)
            .map(|value| json::parse(&value_of(name), value.as_bytes()))
            .transpose()
    }

    /// A member's value as its text, without the white space around it.
    #[must_use]
    pub fn get_raw(&self, name: &str) -> Option<&str> {
        let at = self.members.find(name)?;
        Some(&self.text[self.members[at].value.clone()])
    }

    /// Whether there is a member of this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.members.find(name).is_some()
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The members' names, decoded, in the order of the text.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.members.iter().map(|member| &*member.name)
    }

    /// The members in the order of the text: the name, decoded, and the value's text.
    ///
    /// # Examples
    ///
    /// ```
    /// # use cachetx::RawObject;
    /// let run = RawObject::from_json(r#"{"\u0061": [1, 2], "b": 250.0}"#)?;
    /// assert!(run.iter().eq([("a", "[1, 2]"), ("b", "250.0")]));
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, &str)> + ExactSizeIterator {
        self.members
            .iter()
            .map(|member| (&*member.name, &self.text[member.value.clone()]))
    }
}

/// What an error about a member's value calls it.
fn value_of(name: &str) -> String {
    format!("the value of `{name}`")
}

impl Default for RawObject {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RawObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RawObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawObject")
            .field(&format_args!("{}", self.text))
            .finish()
    }
}

/// Equal texts; two spellings of one value differ.
impl PartialEq for RawObject {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for RawObject {}

impl FromStr for RawObject {
    type Err = crate::model::Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::from_json(text)
    }
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::from(Box::<str>::from(Box::<RawValue>::deserialize(
            deserializer,
        )?));
        let members = Members::of(&text).map_err(de::Error::custom)?;
        Ok(Self { text, members })
    }
}

impl Serialize for RawObject {
    fn serialize<S: ser::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Holding the text as a `RawValue` would save this parse, and cost one for each change instead.
        let text: &RawValue = serde_json::from_str(&self.text).map_err(ser::Error::custom)?;
        text.serialize(serializer)
    }
}
