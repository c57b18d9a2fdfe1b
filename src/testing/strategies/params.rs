//! Params: valid ones, ones that nearly collide, and invalid ones.

use crate::{
    model::{limits, text},
    rules::{ParamValue, Params, Rules},
};
use proptest::{prelude::*, sample::select};
use std::collections::BTreeMap;

/// A placeholder and all characters that end its value in some template of the rules.
type Holes = Vec<(String, Vec<char>)>;

/// Params that these rules accept: a value for each placeholder of any controller, sometimes a list
/// of up to three values and a duplicate.
///
/// No key of theirs is refused. Sometimes there is also a param that no template uses.
pub fn params(rules: &Rules) -> impl Strategy<Value = Params> + use<> {
    let each: Vec<_> = holes(rules)
        .into_iter()
        .map(|(name, ends)| {
            let one = value(&ends).prop_map(ParamValue::from);
            let list = (prop::collection::vec(value(&ends), 1..=3), any::<bool>());
            let list = list.prop_map(|(mut values, repeat)| {
                values.extend(repeat.then(|| values[0].clone()));
                ParamValue::from(values)
            });
            (Just(name), prop_oneof![3 => one, 1 => list])
        })
        .collect();
    (each, prop::bool::weighted(0.1)).prop_map(|(given, unused)| {
        let params: Params = given.into_iter().collect();
        match unused {
            true => params.with("no template uses this", "{"),
            false => params,
        }
    })
}

/// Several params that are nearly alike: short values made of a letter and one of the characters
/// that end values in these rules.
///
/// Many of them are refused. A test looks for two of the others that give the same key.
pub fn near_params(rules: &Rules) -> impl Strategy<Value = Vec<Params>> + use<> {
    let holes = holes(rules);
    let mut ends: Vec<char> = holes.iter().flat_map(|(_, ends)| ends).copied().collect();
    ends.push(':');
    select(ends).prop_flat_map(move |end| {
        let each: Vec<_> = holes
            .iter()
            .map(|(name, _)| {
                let value = prop::collection::vec(select(vec!['A', end]), 1..=3);
                (Just(name.clone()), value.prop_map(String::from_iter))
            })
            .collect();
        prop::collection::vec(each.prop_map(Params::from_iter), 2..24)
    })
}

/// Params of which one or more are missing, empty, too long, an empty list or too long a list, or
/// contain braces, control characters or the character that ends the placeholder. The others are
/// valid.
///
/// If the rules have no placeholder, the params are empty: nothing can be hostile.
pub fn hostile_params(rules: &Rules) -> impl Strategy<Value = Params> + use<> {
    let holes = holes(rules);
    let each: Vec<_> = holes
        .iter()
        .map(|(name, ends)| {
            let fits = value(ends).prop_map(|value| Some(ParamValue::from(value)));
            (
                Just(name.clone()),
                prop_oneof![1 => fits, 1 => hostile(ends)],
            )
        })
        .collect();
    // At least one is hostile, whatever the others are.
    let certain: Vec<_> = holes
        .iter()
        .map(|(name, ends)| (Just(name.clone()), hostile(ends)).boxed())
        .collect();
    let certain = match certain.is_empty() {
        true => Just(None).boxed(),
        false => select(certain)
            .prop_flat_map(|one| one)
            .prop_map(Some)
            .boxed(),
    };
    (each, certain).prop_map(|(given, certain)| {
        let mut by_name: BTreeMap<String, Option<ParamValue>> = given.into_iter().collect();
        by_name.extend(certain);
        by_name
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    })
}

fn holes(rules: &Rules) -> Holes {
    let mut by_name: BTreeMap<String, Vec<char>> = BTreeMap::new();
    for (name, until) in rules.holes() {
        by_name.entry(name.to_owned()).or_default().extend(until);
    }
    by_name.into_iter().collect()
}

/// A value that may stand before any of `ends`. It has no colon and does not begin with a
/// lower-case letter or digit, so that it does not make a key into one of the library's own
/// (`…:stamp`, `cachetx:leases:…`).
fn value(ends: &[char]) -> impl Strategy<Value = String> + use<> {
    let without =
        |alphabet: &str| -> Vec<char> { alphabet.chars().filter(|c| !ends.contains(c)).collect() };
    let first = select(without("ABCXYZ_é"));
    let rest = select(without("ABCXYZabcxyz0123456789-_.~%;é漢🌧 "));
    // One number for the length, so that a long value shrinks to a short one. One in 21 has the
    // maximum length.
    let length = (0..252_usize).prop_map(|n| match n / 20 {
        length @ 0..12 => length,
        _ => limits::MAX_PARAM_BYTES,
    });
    (first, prop::collection::vec(rest, 12), length).prop_map(|(first, rest, length)| {
        let mut value = String::from(first);
        value.extend(rest.iter().cycle().take(length));
        value.truncate(text::floor(&value, limits::MAX_PARAM_BYTES));
        value
    })
}

/// A value that some template refuses, where one of `ends` follows the placeholder; `None` for a
/// missing param.
fn hostile(ends: &[char]) -> impl Strategy<Value = Option<ParamValue>> + use<> {
    let bad: Vec<char> = "{}\0\n\u{7f}\u{85}"
        .chars()
        .chain(ends.iter().copied())
        .collect();
    let with_bad = (value(ends), select(bad), value(ends))
        .prop_map(|(before, bad, after)| format!("{before}{bad}{after}"));
    let too_long = (limits::MAX_PARAM_BYTES + 1..400).prop_map(|bytes| "A".repeat(bytes));
    let one = prop_oneof![Just(String::new()), with_bad, too_long];
    let fits = value(ends);
    prop_oneof![
        1 => Just(None),
        6 => one.clone().prop_map(|value| Some(value.into())),
        1 => Just(Some(ParamValue::List(Vec::new()))),
        1 => Just(Some(ParamValue::List(vec!["A".to_owned(); limits::MAX_PARAM_VALUES + 1]))),
        1 => (fits, one).prop_map(|(fits, one)| Some(ParamValue::List(vec![fits, one]))),
    ]
}
