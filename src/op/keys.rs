//! The names of the keys that belong to a value key: all in its hash slot.

use crate::rules::hash_tag;

/// `sibling(V, name)`: `V:name` where V has a hash tag, `{V}:name` where it has none.
pub(crate) fn sibling(key: &str, name: &str) -> String {
    match hash_tag(key) {
        Some(_) => format!("{key}:{name}"),
        None => format!("{{{key}}}:{name}"),
    }
}

/// The channel of a lock: whoever frees the lock says so there.
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

/// What `leases(V)` is made of: equal for keys that share it. Keys with a hash tag have it first, others second.
pub(crate) fn leases_group<'a>(
    key: &'a str,
    first_param: Option<&'a str>,
) -> (Option<&'a str>, Option<&'a str>) {
    match hash_tag(key) {
        Some(tag) => (Some(tag), None),
        None => (None, first_param),
    }
}
