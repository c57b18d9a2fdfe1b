//! Random names, from the operating system and never from a clock.

use super::error::{Error, Kind, Result};
use std::io;

/// A seed for jitter. Without a random source, pauses are merely equal.
pub(crate) fn seed() -> u64 {
    getrandom::u64().unwrap_or_default()
}

/// 64 random bits as 16 hex digits, for the name of a temporary file.
pub(crate) fn hex_64() -> io::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}

pub(crate) fn is_hex_64(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// 128 random bits as 32 hex digits, for a lock's token or a commit id.
///
/// # Errors
///
/// The operating system has no random numbers.
pub(crate) fn hex_128() -> Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| {
        Error::new(Kind::Config(format!(
            "the operating system gives no random numbers: {e}"
        )))
    })?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}
