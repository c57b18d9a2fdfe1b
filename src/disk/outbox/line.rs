//! The lines of an outbox file: `<version> <xxh3 of the rest> <JSON>`, ended by a line break, which
//! JSON never contains unescaped.

use super::{Invalidation, Work};
use crate::{
    model::{Entry, Lock, Stamp},
    op::Raise,
    rules::{ParamValue, Params},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use xxhash_rust::xxh3::xxh3_64;

const VERSION: &str = "1";

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Body {
    Intent(Keys),
    Deferred(Keys),
    Everything {
        id: u64,
        at_ns: i64,
        params: Pairs,
    },
    Retired {
        id: u64,
        /// In a file's first line: the server that its records are for. Earlier versions skip it,
        /// since that line retires no record.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<String>,
    },
}

/// An [`Invalidation`] as text.
#[derive(Serialize, Deserialize)]
pub(in crate::disk) struct Keys {
    id: u64,
    at_ns: i64,
    /// The lock's key and value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<(String, String)>,
    groups: Vec<Group>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    raises: Vec<Raised>,
    params: Pairs,
}

/// A [`Raise`] as text.
#[derive(Serialize, Deserialize)]
struct Raised {
    value: String,
    /// Modification time in ns, size and inode.
    stamp: (i64, u64, u64),
    ttl_ms: u64,
}

/// Consecutive entries with the same leases key.
#[derive(Serialize, Deserialize)]
struct Group {
    leases: String,
    values: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    One(String),
    List(Vec<String>),
}

type Pairs = Vec<(String, Value)>;

/// A record that may have to be replayed.
pub(in crate::disk) fn record(id: u64, work: &Work, intent: bool) -> String {
    let body = match work {
        Work::Keys(what) if intent => Body::Intent(keys(id, what)),
        Work::Keys(what) => Body::Deferred(keys(id, what)),
        Work::Everything { params, at_ns } => Body::Everything {
            id,
            at_ns: *at_ns,
            params: pairs(params),
        },
    };
    line(&body)
}

pub(in crate::disk) fn retired(id: u64) -> String {
    line(&Body::Retired { id, server: None })
}

/// The first line of a file.
pub(super) fn server(name: &str) -> String {
    line(&Body::Retired {
        id: u64::MAX,
        server: Some(name.to_owned()),
    })
}

fn line(body: &Body) -> String {
    // Strings, numbers and lists always serialize.
    sealed(&serde_json::to_string(body).unwrap_or_default())
}

/// A line with its version and digest.
pub(in crate::disk) fn sealed(json: &str) -> String {
    format!("{VERSION} {:016x} {json}\n", xxh3_64(json.as_bytes()))
}

/// The content of a file.
#[derive(Debug, Default)]
pub(in crate::disk) struct Content {
    /// Records that were not retired, by id.
    pub(in crate::disk) pending: BTreeMap<u64, Work>,
    /// Lines that are damaged or of an unknown version.
    pub(in crate::disk) damaged: Vec<Vec<u8>>,
    /// Number of bytes after the last line break: part of a record that was never acknowledged.
    pub(in crate::disk) torn: usize,
    /// Which server the records are for; `None` in files of earlier versions.
    pub(in crate::disk) server: Option<String>,
}

impl Content {
    /// Whether nothing is left to do, for whatever server.
    pub(in crate::disk) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.damaged.is_empty()
    }
}

pub(in crate::disk) fn parse(bytes: &[u8]) -> Content {
    let whole = bytes.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let mut content = Content {
        torn: bytes.len() - whole,
        ..Content::default()
    };
    for line in bytes[..whole].split_inclusive(|b| *b == b'\n') {
        match parse_line(&line[..line.len() - 1]) {
            Some(Body::Intent(keys) | Body::Deferred(keys)) => {
                let id = keys.id;
                content.pending.insert(id, Work::Keys(keys.into()));
            }
            Some(Body::Everything { id, at_ns, params }) => {
                let params = params.into_iter().collect();
                content
                    .pending
                    .insert(id, Work::Everything { params, at_ns });
            }
            Some(Body::Retired { id, server }) => {
                content.pending.remove(&id);
                content.server = server.or(content.server);
            }
            None => content.damaged.push(line.to_owned()),
        }
    }
    content
}

fn parse_line(line: &[u8]) -> Option<Body> {
    match unseal(line) {
        Sealed::Json(json) => serde_json::from_str(json).ok(),
        Sealed::OtherVersion | Sealed::Damaged => None,
    }
}

/// A line without its line break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::disk) enum Sealed<'a> {
    Json(&'a str),
    /// Written whole, by a version that this one does not know.
    OtherVersion,
    Damaged,
}

pub(in crate::disk) fn unseal(line: &[u8]) -> Sealed<'_> {
    let parts = || {
        let (version, rest) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        let (digest, json) = rest.split_once(' ')?;
        (digest == format!("{:016x}", xxh3_64(json.as_bytes()))).then_some((version, json))
    };
    match parts() {
        Some((VERSION, json)) => Sealed::Json(json),
        Some(_) => Sealed::OtherVersion,
        None => Sealed::Damaged,
    }
}

pub(in crate::disk) fn keys(id: u64, what: &Invalidation) -> Keys {
    let mut groups: Vec<Group> = Vec::new();
    for entry in &what.entries {
        match groups.last_mut() {
            Some(group) if *group.leases == *entry.leases => {
                group.values.push(entry.value.to_string())
            }
            _ => groups.push(Group {
                leases: entry.leases.to_string(),
                values: vec![entry.value.to_string()],
            }),
        }
    }
    let lock = what.release.as_ref();
    let raises = what.raises.iter().map(|raise| Raised {
        value: raise.value.to_string(),
        stamp: (raise.stamp.mtime_ns, raise.stamp.size, raise.stamp.inode),
        ttl_ms: raise.ttl_ms,
    });
    Keys {
        id,
        at_ns: what.at_ns,
        release: lock.map(|lock| (lock.key.clone(), lock.value.clone())),
        groups,
        raises: raises.collect(),
        params: pairs(&what.params),
    }
}

impl From<Keys> for Invalidation {
    fn from(keys: Keys) -> Self {
        let entries = keys.groups.into_iter().flat_map(|group| {
            let leases: Arc<str> = group.leases.into();
            group.values.into_iter().map(move |value| Entry {
                value: value.into(),
                leases: leases.clone(),
            })
        });
        let raises = keys.raises.into_iter().map(|raised| {
            let (mtime_ns, size, inode) = raised.stamp;
            Raise {
                value: raised.value.into(),
                stamp: Stamp {
                    mtime_ns,
                    size,
                    inode,
                },
                ttl_ms: raised.ttl_ms,
            }
        });
        Self {
            entries: entries.collect(),
            raises: raises.collect(),
            release: keys.release.map(|(key, value)| Lock { key, value }),
            params: keys.params.into_iter().collect(),
            at_ns: keys.at_ns,
        }
    }
}

fn pairs(params: &Params) -> Pairs {
    let value = |value: &ParamValue| match value {
        ParamValue::One(value) => Value::One(value.clone()),
        ParamValue::List(values) => Value::List(values.clone()),
    };
    params
        .iter()
        .map(|(name, given)| (name.to_owned(), value(given)))
        .collect()
}

impl From<Value> for ParamValue {
    fn from(value: Value) -> Self {
        match value {
            Value::One(value) => Self::One(value),
            Value::List(values) => Self::List(values),
        }
    }
}
