//! The stamp entry: it vouches for a cached copy of a document's file.

use crate::model::Stamp;
use xxhash_rust::xxh3::xxh3_64;

/// The value of `sibling(V, stamp)`: `<file stamp>:<commit id>:<digest of V>`.
///
/// The digest binds it to the bytes under V, so a foreign `SET` of V alone is never taken for
/// current.
pub(crate) fn voucher(stamp: &Stamp, commit_id: &str, value: &[u8]) -> String {
    format!("{stamp}:{commit_id}:{:016x}", xxh3_64(value))
}

/// The same for a value that a reader fills: its token replaces the commit id, and `-` the stamp of
/// a value that has no file.
pub(crate) fn fill_voucher(stamp: Option<&Stamp>, token: &str, value: &[u8]) -> String {
    match stamp {
        Some(stamp) => voucher(stamp, token, value),
        None => format!("-:{token}:{:016x}", xxh3_64(value)),
    }
}

/// Whether a stored stamp is of that file.
pub(crate) fn is_of(stored: &[u8], file: &Stamp) -> bool {
    let rest = stored.strip_prefix(file.to_string().as_bytes());
    rest.is_some_and(|rest| rest.starts_with(b":"))
}

/// Whether a stored stamp is of a later file. Times have no leading zeros, so a longer one is
/// later.
pub(crate) fn is_later(stored: &[u8], file: &Stamp) -> bool {
    let digits = stored.iter().take_while(|byte| byte.is_ascii_digit());
    let time = &stored[..digits.count()];
    let own = match u64::try_from(file.mtime_ns) {
        Ok(own) if !time.is_empty() => own.to_string(),
        _ => return false,
    };
    (own.len(), own.as_bytes()) < (time.len(), time)
}

/// The stamp of a deleted entry, so that no earlier commit sets it: it vouches for nothing.
pub(crate) fn raised(stamp: &Stamp) -> String {
    format!("{stamp}::")
}

/// Whether `voucher` confirms that `value` is the content of the file with that stamp.
pub(crate) fn vouches(voucher: &[u8], stamp: &Stamp, value: &[u8]) -> bool {
    let file = voucher.split(|byte| *byte == b':').next();
    file == Some(stamp.to_string().as_bytes()) && fits(voucher, value)
}

/// Whether `voucher` is of `value`, for any file or none.
pub(crate) fn fits(voucher: &[u8], value: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(voucher) else {
        return false;
    };
    let mut parts = text.split(':');
    let (_, id, digest) = (parts.next(), parts.next(), parts.next());
    id.is_some()
        && parts.next().is_none()
        && digest == Some(format!("{:016x}", xxh3_64(value)).as_str())
}
