//! Character boundaries in a text; the standard library has this from Rust 1.91.

/// The last boundary at or before `at`.
pub(crate) fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The first boundary at or after `at`.
pub(crate) fn ceil(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_kept_whole() {
        let places = |find: fn(&str, usize) -> usize| [0, 1, 2, 3, 9].map(|at| find("aéb", at));
        assert_eq!(places(floor), [0, 1, 1, 3, 4]);
        assert_eq!(places(ceil), [0, 1, 3, 3, 4]);
    }
}
