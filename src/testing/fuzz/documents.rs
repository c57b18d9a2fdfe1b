//! JSON documents and raw objects.

use super::bytes::Lines;
use crate::{
    json::{self, Style},
    model::limits,
    raw::RawObject,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::BTreeMap, fmt::Debug};

/// A document with values that are hard to read exactly.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Typed {
    float: f64,
    small: f32,
    whole: i64,
    large: u128,
    text: Option<String>,
    list: Vec<Value>,
    by_name: BTreeMap<String, f64>,
    raw: Option<RawObject>,
    shape: Shape,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
enum Shape {
    #[default]
    None,
    Point(f64, f64),
    Box {
        width: u8,
    },
}

impl Default for Typed {
    fn default() -> Self {
        Self {
            float: 0.5,
            small: 0.25,
            whole: -1,
            large: 1,
            text: None,
            list: Vec::new(),
            by_name: BTreeMap::new(),
            raw: None,
            shape: Shape::None,
        }
    }
}

pub(super) fn document(bytes: &[u8]) {
    let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok();
    for is_read in [
        comes_back::<Value>(bytes),
        comes_back::<Typed>(bytes),
        comes_back::<Vec<f64>>(bytes),
        comes_back::<RawObject>(bytes),
    ] {
        assert!(is_json || !is_read, "read, though it is no JSON");
    }
    if json::is_cut_short(bytes) {
        assert!(!is_json);
    }
    if let Ok(object) = json::parse::<RawObject>("d", bytes) {
        let around = json::Outer::of(bytes);
        let written = json::to_bytes("d", &object, Style::Compact, Some(&around));
        let written = written.expect("it was read");
        if bytes.len() <= object.as_str().len() + limits::MAX_OUTER_BYTES {
            assert_eq!(written, bytes, "a raw object is the file's bytes");
        }
    }
}

/// Reads, writes and reads again, and checks that nothing is lost. Returns whether the bytes could
/// be read.
fn comes_back<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) -> bool {
    let read: T = match json::parse("d", bytes) {
        Ok(read) => read,
        Err(error) => {
            assert!(error.is_document(), "{error}");
            let room = limits::MAX_MESSAGE_BYTES + 256;
            assert!(error.to_string().len() <= room, "a message without a bound");
            return false;
        }
    };
    for style in [Style::Compact, Style::Pretty] {
        let written = json::to_bytes("d", &read, style, None).expect("what was read is finite");
        let again: T = json::parse("d", &written).expect("what was written is read");
        assert_eq!(read, again);
    }
    true
}

/// The first line is the object, in which each `\r` is read as a line break. Each other line is a
/// change: `-name`, or `name=value`.
pub(super) fn raw_object(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = Lines::of(&text);
    let first = lines.next().replace('\r', "\n");
    let Ok(mut object) = RawObject::from_json(&first) else {
        return;
    };
    is_sound(&object);
    for line in lines.rest().take(64) {
        let before: Vec<(String, String)> = owned(&object);
        let name = match line.strip_prefix('-') {
            Some(name) => {
                let removed = object.remove(name);
                let had = before.iter().find(|(had, _)| had == name);
                assert_eq!(removed.as_ref(), had.map(|(_, value)| value));
                assert!(!object.contains(name));
                name
            }
            None => {
                let (name, value) = line.split_once('=').unwrap_or((line, "null"));
                match object.set_raw(name, value) {
                    Ok(()) => assert_eq!(
                        object.get_raw(name),
                        Some(value.trim_matches([' ', '\t', '\r', '\n']))
                    ),
                    Err(_) => assert_eq!(owned(&object), before),
                }
                name
            }
        };
        let others = |members: Vec<(String, String)>| -> Vec<(String, String)> {
            members
                .into_iter()
                .filter(|(other, _)| other != name)
                .collect()
        };
        assert_eq!(
            others(owned(&object)),
            others(before),
            "another member changed"
        );
        is_sound(&object);
    }
}

fn owned(object: &RawObject) -> Vec<(String, String)> {
    let members = object.iter();
    members
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Checks that parsing the text again gives the same index.
fn is_sound(object: &RawObject) {
    let again = RawObject::from_json(object.as_str()).expect("its own text");
    assert!(object.iter().eq(again.iter()), "{object}");
    for (name, value) in again.iter() {
        assert_eq!(object.get_raw(name), Some(value));
    }
}
