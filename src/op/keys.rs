//! The names of keys derived from a value key; all are in its hash slot.

use crate::rules::hash_tag;

/// `sibling(V, name)`: `V:name` if V has a hash tag, otherwise `{V}:name`.
pub(crate) fn sibling(key: &str, name: &str) -> String {
    match hash_tag(key) {
        Some(_) => format!("{key}:{name}"),
        None => format!("{{{key}}}:{name}"),
    }
}

/// The channel of a lock: a message there reports that the lock was released.
pub(crate) fn channel(lock: &str) -> String {
    sibling(lock, "free")
}

/// `leases(V)` on a single server; `first_param` is the value of V's first placeholder.
pub(crate) fn leases(key: &str, first_param: Option<&str>) -> String {
    match leases_group(key, first_param) {
        (Some(tag), _) => format!("{{{tag}}}:cachetx:leases"),
        (None, Some(value)) => format!("cachetx:leases:{value}"),
        (None, None) => "cachetx:leases".to_owned(),
    }
}

/// The parts that determine `leases(V)`: equal for keys that share it. The first part is the hash
/// tag; the second is used for keys without one.
pub(crate) fn leases_group<'a>(
    key: &'a str,
    first_param: Option<&'a str>,
) -> (Option<&'a str>, Option<&'a str>) {
    match hash_tag(key) {
        Some(tag) => (Some(tag), None),
        None => (None, first_param),
    }
}
