//! A JSON object that is kept as the text it was read from.
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
/// Use it for documents whose shape another program owns. Order, spacing, escapes, big integers and
/// spellings such as `1e-06` and `250.0` all stay. This needs neither of serde_json's features
/// `preserve_order` and `arbitrary_precision`, which would change the JSON of every other crate in
/// the same build.
///
/// Names are compared decoded: `"\u0061"` is `a`. Two members with one name are refused when the
/// object is read: parsers disagree about which of them counts, so a change to either would be
/// wrong for some reader. Nested objects are not checked, and may contain any JSON.
///
/// # With serde
///
/// It can be a whole document or a field of a struct, but only with serde_json, and only directly.
/// Reading it through `#[serde(flatten)]`, or an untagged or internally tagged enum, is an error:
/// these put values into a buffer, where the text is lost. A `RawObject` made from a
/// [`serde_json::Value`] has the text that serde_json gives that value. Do not write one through
/// `#[serde(flatten)]`: it becomes one member that contains the text as a string. White space
/// around the object is not part of it.
///
/// # Cost
///
/// An index of the members is built once. Finding a member is a binary search; changing one moves
/// the text behind it. Writing the object runs its text through serde_json's parser, so that only
/// JSON is written.
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
    /// [`is_document`](crate::Error::is_document) if the text is not JSON, is not an object,
    /// contains two members with one name, or a name that is not text (half a surrogate pair,
    /// `"\ud800"`).
    pub fn from_json(text: &str) -> Result<Self> {
        json::parse("JSON text", text.as_bytes())
    }

    /// The object's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads a member's value as a `T`; `None` if there is no such member.
    ///
    /// A member that is `null` exists: read as an `Option`, it is `Some(None)`.
    ///
    /// # Errors
    ///
    /// [`is_document`](crate::Error::is_document) if the value does not fit `T`. The position in
    /// the message counts from the value's first byte.
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

    /// Whether there is a member with this name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.members.find(name).is_some()
    }

    /// The number of members.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The members' names, decoded, in text order.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &str> + ExactSizeIterator {
        self.members.iter().map(|member| &*member.name)
    }

    /// The members in text order: the decoded name and the value's text.
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

/// The name of a member's value in error messages.
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

/// Compares the texts; two spellings of one value differ.
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
        // Storing the text as a `RawValue` would save this parse, but cost one per change.
        let text: &RawValue = serde_json::from_str(&self.text).map_err(ser::Error::custom)?;
        text.serialize(serializer)
    }
}
