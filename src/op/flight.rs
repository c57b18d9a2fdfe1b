//! The field of a leases hash for an entry in flight: a reader's lease, `l:<token>:<end>`, or the
//! marks of writers, `w:<token>:<end>` for each, with a space between them. Ends are in ms since
//! 1970 by the server's clock.

use crate::model::limits;

pub(crate) fn lease(token: &str, end_ms: u64) -> String {
    format!("l:{token}:{end_ms}")
}

/// Whether it is this reader's lease. One that has ended and that nobody took is still its
/// reader's: a change of the entry would have dropped it.
pub(crate) fn is_lease(field: &[u8], token: &str) -> bool {
    field.starts_with(format!("l:{token}:").as_bytes())
}

/// When the entry is free for this reader, if it is not now.
pub(crate) fn busy_until(field: &[u8], token: &str, now_ms: u64) -> Option<u64> {
    if !field.starts_with(b"l:") {
        return living(field, None, now_ms).map(|(_, end)| end).max();
    }
    let (owner, end) = parse(field, b"l:")?;
    (owner != token.as_bytes() && end > now_ms).then_some(end)
}

/// The field with a writer's mark that ends then, after those of others that live still.
pub(crate) fn marked(field: Option<&[u8]>, token: &str, end_ms: u64, now_ms: u64) -> Vec<u8> {
    let mut marks: Vec<&[u8]> = Vec::new();
    let mut last = end_ms;
    for (mark, end) in living(field.unwrap_or_default(), Some(token), now_ms) {
        marks.push(mark);
        last = last.max(end);
    }
    if marks.len() >= limits::MAX_MARKS {
        // One that nobody drops.
        return format!("w:*:{last}").into_bytes();
    }
    let own = format!("w:{token}:{end_ms}");
    marks.push(own.as_bytes());
    marks.join(&b' ')
}

/// What is left of a field once the entry is changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It stays as it is.
    All,
    Nothing,
    /// The marks of others.
    Marks(Vec<u8>),
}

/// A change drops leases, and the changing writer's mark; `token` is empty if it has none.
pub(crate) fn after_change(field: &[u8], token: &str) -> Left {
    if field.starts_with(b"l:") {
        return Left::Nothing;
    }
    let own = format!("w:{token}:");
    let mut marks: Vec<&[u8]> = field.split(|byte| *byte == b' ').collect();
    let is_own = |mark: &&[u8]| !token.is_empty() && mark.starts_with(own.as_bytes());
    let Some(at) = marks.iter().position(is_own) else {
        return Left::All;
    };
    marks.remove(at);
    match marks.join(&b' ') {
        left if left.is_empty() => Left::Nothing,
        left => Left::Marks(left),
    }
}

/// The marks that have not ended, each with its end; without those of `token`.
fn living<'a>(
    field: &'a [u8],
    token: Option<&'a str>,
    now_ms: u64,
) -> impl Iterator<Item = (&'a [u8], u64)> {
    let marks = field.split(|byte| *byte == b' ');
    marks.filter_map(move |mark| {
        let (owner, end) = parse(mark, b"w:")?;
        let is_other = token.is_none_or(|token| owner != token.as_bytes());
        (is_other && end > now_ms).then_some((mark, end))
    })
}

/// Owner and end.
fn parse<'a>(text: &'a [u8], kind: &[u8]) -> Option<(&'a [u8], u64)> {
    let text = text.strip_prefix(kind)?;
    let colon = text.iter().position(|byte| *byte == b':')?;
    let (owner, end) = (&text[..colon], &text[colon + 1..]);
    // As Lua scripts read it.
    let is_decimal = end.iter().all(u8::is_ascii_digit) && (end == b"0" || !end.starts_with(b"0"));
    if !is_decimal || end.len() > 19 {
        return None;
    }
    let end = std::str::from_utf8(end).ok()?.parse().ok()?;
    Some((owner, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_drops_leases_and_its_own_mark() {
        let marks = |text: &str| Left::Marks(text.as_bytes().to_vec());
        for (field, token, left) in [
            ("l:t:9", "", Left::Nothing),
            ("w:t:9", "", Left::All),
            ("w::9", "", Left::All),
            ("w:t:9", "t", Left::Nothing),
            ("w:t2:9", "t", Left::All),
            ("w:*:9", "t", Left::All),
            ("x", "x", Left::All),
            ("w:a:9 w:t:8", "t", marks("w:a:9")),
            ("w:t:9 w:a:8", "t", marks("w:a:8")),
            ("w:a:9 w:t:8 w:b:7", "t", marks("w:a:9 w:b:7")),
        ] {
            assert_eq!(after_change(field.as_bytes(), token), left, "{field}");
        }
    }

    #[test]
    fn marks_stand_side_by_side_up_to_a_bound() {
        let mut field = marked(None, "0", 100, 0);
        for n in 1..limits::MAX_MARKS as u64 {
            field = marked(Some(&field), &n.to_string(), 100 - n, 0);
        }
        let count = |field: &[u8]| field.split(|byte| *byte == b' ').count();
        assert_eq!(count(&field), limits::MAX_MARKS);
        assert_eq!(busy_until(&field, "any", 99), Some(100));
        assert_eq!(busy_until(&field, "any", 100), None);
        // A repeat renews its own; what has ended goes.
        assert_eq!(count(&marked(Some(&field), "0", 200, 0)), limits::MAX_MARKS);
        assert_eq!(marked(Some(&field), "x", 200, 99), b"w:0:100 w:x:200");
        assert_eq!(marked(Some(&field), "x", 50, 0), b"w:*:100");
    }
}
