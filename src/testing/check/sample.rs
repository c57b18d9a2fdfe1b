//! The smallest params that show a failure.

use crate::rules::{Params, Rules};
use std::collections::BTreeMap;

/// Values to choose from. A param's smallest value is the first one that may stand in every key
/// that uses the param.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789";

/// One value for each placeholder, the same one if possible: `a`.
pub(super) fn smallest(rules: &Rules) -> Params {
    let letters = letters(rules).into_iter();
    letters
        .map(|(name, values)| (name.to_owned(), values[0].to_string()))
        .collect()
}

/// The smallest params for which `shows` returns something: as many values as possible are those of
/// [`smallest`], and the others are the next ones.
pub(super) fn smallest_that<T>(
    rules: &Rules,
    placeholders: &[&str],
    shows: impl Fn(&Params) -> Option<T>,
) -> Option<(Params, T)> {
    /// With more params the search would take too long.
    const VARIED: usize = 10;
    let letters = letters(rules);
    let varied = &placeholders[..placeholders.len().min(VARIED)];
    let mut choices: Vec<u32> = (0..1 << varied.len()).collect();
    choices.sort_by_key(|bits| bits.count_ones());
    choices.into_iter().find_map(|bits| {
        let params: Params = placeholders
            .iter()
            .enumerate()
            .filter_map(|(n, name)| {
                let next = n < VARIED && bits >> n & 1 == 1;
                let values = letters.get(name)?;
                Some(((*name).to_owned(), values[usize::from(next)].to_string()))
            })
            .collect();
        let shown = shows(&params)?;
        Some((params, shown))
    })
}

/// Params as a message shows them: `shop` = `a`, `sku` = `b`.
pub(in crate::testing) fn shown(params: &Params) -> String {
    let each: Vec<String> = params
        .iter()
        .map(|(name, value)| {
            let values: Vec<String> = value
                .values()
                .iter()
                .map(|value| format!("`{}`", value.escape_debug()))
                .collect();
            format!("`{name}` = {}", values.join(", "))
        })
        .collect();
    match each.is_empty() {
        true => "no params".to_owned(),
        false => each.join(", "),
    }
}

/// For each placeholder, the letters that may be its value everywhere: at least two, since few
/// characters can end a value.
pub(in crate::testing) fn letters(rules: &Rules) -> BTreeMap<&str, Vec<char>> {
    let mut ends: BTreeMap<&str, Vec<char>> = BTreeMap::new();
    for (name, until) in rules.holes() {
        ends.entry(name).or_default().extend(until);
    }
    ends.into_iter()
        .map(|(name, ends)| {
            let mut values: Vec<char> = LETTERS.chars().filter(|c| !ends.contains(c)).collect();
            // Every letter ends a value of this placeholder in some template: any example would be
            // refused there.
            values.extend(['a', 'b']);
            (name, values)
        })
        .collect()
}
