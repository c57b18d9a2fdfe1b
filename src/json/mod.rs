//! JSON documents as bytes: reading with errors that name the position, writing that refuses what
//! JSON cannot hold.
//!
//! ```text
//! read     bytes -> T; says where and why the text is not JSON, or does not fit T
//! exact    refuses an integer that T would round, and a save would change
//! write    T -> bytes; the style, and the white space around a file's JSON text
//! finite   finds a NaN or an infinity in T, which serde_json would write as `null`
//! ```

mod exact;
mod finite;
mod read;
mod write;

pub(crate) use read::{is_cut_short, parse, without_place};
pub use write::Style;
pub(crate) use write::{Outer, to_bytes, to_text};

use crate::model::{Error, error::Kind, limits, text};

/// An error of this layer: something is wrong with the named document.
fn refuse(document: &str, message: String) -> Error {
    Error::new(Kind::Document {
        document: document.to_owned(),
        message: shorten(message),
    })
}

/// Cuts the middle out of a message that is too long: serde quotes a whole value between the
/// problem and the position.
fn shorten(message: String) -> String {
    if message.len() <= limits::MAX_MESSAGE_BYTES {
        return message;
    }
    let half = limits::MAX_MESSAGE_BYTES / 2;
    let head = &message[..text::floor(&message, half)];
    let tail = &message[text::ceil(&message, message.len() - half)..];
    format!("{head} [...] {tail}")
}

/// A path as serde_path_to_error prints it; `None` for the root, which it prints as a dot.
fn path_to(path: &serde_path_to_error::Path) -> Option<String> {
    (path.iter().len() > 0).then(|| path.to_string())
}

/// JSON's own white space, a smaller set than ASCII's or Unicode's.
fn is_white(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}
