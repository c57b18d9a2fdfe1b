//! Changes one member: replaces only its bytes in the text.

use super::{RawObject, members::Member, value_of};
use crate::{json, model::Result};
use serde::Serialize;
use serde_json::value::RawValue;
use std::borrow::Cow;

impl RawObject {
    /// Replaces a member's value, or appends a new member.
    ///
    /// Only the value's bytes change; it is written without white space. A new member is appended,
    /// with the separators and the indentation of those before it.
    ///
    /// # Errors
    ///
    /// [`is_document`](crate::Error::is_document) if the value cannot be JSON: it contains a NaN,
    /// an infinity, or a map with keys that are not strings. The object is unchanged then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use cachetx::RawObject;
    /// let mut run = RawObject::from_json("{\n  \"crit\" : 1e-06,\n  \"years\" : 100\n}")?;
    /// run.set("years", &30)?;
    /// run.set("mods", &["ash", "debris_flow"])?;
    /// assert_eq!(
    ///     run.as_str(),
    ///     "{\n  \"crit\" : 1e-06,\n  \"years\" : 30,\n  \"mods\" : [\"ash\",\"debris_flow\"]\n}"
    /// );
    /// assert!(run.set("crit", &f64::NAN).unwrap_err().is_document());
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn set<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<()> {
        let value = json::to_text(&value_of(name), value, json::Style::Compact)?;
        self.put(name, &value)
    }

    /// Replaces a member's value by the given JSON text, or appends a new member; see
    /// [`set`](Self::set).
    ///
    /// White space around the text is dropped.
    ///
    /// # Errors
    ///
    /// [`is_document`](crate::Error::is_document) if the text is not one JSON value. The object is
    /// unchanged then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use cachetx::RawObject;
    /// let mut run = RawObject::new();
    /// run.set_raw("crit", "1e-06")?;
    /// assert_eq!(run.as_str(), r#"{"crit":1e-06}"#);
    /// assert!(run.set_raw("crit", "1e-06, 2").unwrap_err().is_document());
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn set_raw(&mut self, name: &str, value: &str) -> Result<()> {
        let value: Box<RawValue> = json::parse(&value_of(name), value.as_bytes())?;
        self.put(name, value.get())
    }

    /// Removes a member, with one comma and the white space that belonged to it, and returns its
    /// value's text.
    ///
    /// Returns `None` if there is no such member; the text is unchanged then.
    ///
    /// # Examples
    ///
    /// ```
    /// # use cachetx::RawObject;
    /// let mut run = RawObject::from_json(r#"{"a": 1, "b": 2.50, "c": 3}"#)?;
    /// assert_eq!(run.remove("b").as_deref(), Some("2.50"));
    /// assert_eq!(run.as_str(), r#"{"a": 1, "c": 3}"#);
    /// assert_eq!(run.remove("b"), None);
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn remove(&mut self, name: &str) -> Option<String> {
        let at = self.members.find(name)?;
        let value = self.text[self.members[at].value.clone()].to_owned();
        // Cut from the previous member's end, so that what follows the last one (a line break and
        // `}`) stays.
        let gone = match (at.checked_sub(1), at + 1 < self.len()) {
            (Some(before), _) => self.members[before].value.end..self.members[at].value.end,
            (None, true) => self.members[at].key.start..self.members[at + 1].key.start,
            (None, false) => 1..self.text.len() - 1,
        };
        self.members.remove(at, gone.len());
        self.text.replace_range(gone, "");
        Some(value)
    }

    /// Replaces the value by JSON text that was checked before.
    fn put(&mut self, name: &str, value: &str) -> Result<()> {
        let Some(at) = self.members.find(name) else {
            return self.append(name, value);
        };
        self.text
            .replace_range(self.members[at].value.clone(), value);
        self.members.resize_value(at, value.len());
        Ok(())
    }

    fn append(&mut self, name: &str, value: &str) -> Result<()> {
        let key = json::to_text("the name", name, json::Style::Compact)?;
        let Around {
            at,
            before,
            colon,
            after,
        } = self.around_new();
        let key_start = at + before.len();
        let value_start = key_start + key.len() + colon.len();
        let member = Member {
            name: name.into(),
            key: key_start..key_start + key.len(),
            value: value_start..value_start + value.len(),
        };
        let written = [&*before, &key, colon, value, after].concat();
        self.text.insert_str(at, &written);
        self.members.push(member);
        Ok(())
    }

    /// The position of a new last member, and the text around it.
    fn around_new(&self) -> Around<'_> {
        let Some(last) = self.members.last() else {
            // The white space in an empty object is already before the new member; repeat it after
            // the member.
            let inside = &self.text[1..self.text.len() - 1];
            return Around {
                at: 1 + inside.len(),
                before: Cow::Borrowed(""),
                colon: ":",
                after: inside,
            };
        };
        let colon = &self.text[last.key.end..last.value.start];
        let before = match self.members.len().checked_sub(2) {
            Some(previous) => {
                Cow::Borrowed(&self.text[self.members[previous].value.end..last.key.start])
            }
            // A lone member has no separator to copy: if it is on a line of its own, its neighbour
            // goes on the next line.
            None => match &self.text[1..last.key.start] {
                indent if indent.contains('\n') => Cow::Owned(format!(",{indent}")),
                _ if colon.ends_with(' ') => Cow::Borrowed(", "),
                _ => Cow::Borrowed(","),
            },
        };
        Around {
            at: last.value.end,
            before,
            colon,
            after: "",
        }
    }
}

/// A new member's position, and the white space and punctuation around it.
struct Around<'t> {
    at: usize,
    before: Cow<'t, str>,
    colon: &'t str,
    after: &'t str,
}
