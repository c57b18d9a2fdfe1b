//! What a server's error replies mean.

use crate::{
    Error,
    error::{Effect, Kind},
};

/// A server's error reply: a server that is there but cannot work now is unavailable.
pub(super) fn refused(message: &str, code: &str) -> Error {
    // Redis 6.2 wraps what fails inside of a script: `ERR Error running script …: READONLY …`.
    let wrapped = code == "ERR" && message.contains("Error running script");
    let away = |word: &&str| code == *word || (wrapped && message.contains(*word));
    let message = message.to_owned();
    match AWAY.iter().any(away) {
        true => unavailable(message, Effect::None),
        false => Error::new(Kind::Server { message }),
    }
}

/// The codes of a server that loads, follows a lost or another primary, has too few replicas, or runs a slow script.
const AWAY: [&str; 7] = [
    "LOADING",
    "MASTERDOWN",
    "READONLY",
    "CLUSTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "NOREPLICAS",
];

/// An error reply as the server wrote it.
pub(super) fn text(code: &str, detail: Option<&str>) -> String {
    match detail {
        Some(detail) => format!("{code} {detail}"),
        None => code.to_owned(),
    }
}

pub(super) fn unavailable(message: String, effect: Effect) -> Error {
    Error::with_effect(Kind::Unavailable { message }, effect)
}
