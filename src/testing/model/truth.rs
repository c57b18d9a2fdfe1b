//! The current truth.

use crate::rules::Params;
use std::collections::BTreeMap;

/// The values of some params, by name.
type Names = BTreeMap<String, String>;

/// The number of changes of each document and each other source.
#[derive(Clone, Debug, Default)]
pub struct Truth(BTreeMap<(String, Names), u64>);

impl Truth {
    /// The version of the document or source with these params, which may include further ones; 0
    /// until it is changed.
    #[must_use]
    pub fn version(&self, name: &str, params: &Params) -> u64 {
        let fits = |names: &Names| names.iter().all(|(name, value)| is(params, name, value));
        let mut changed = self.0.iter();
        changed
            .find(|((changed, names), _)| changed == name && fits(names))
            .map_or(0, |(_, version)| *version)
    }

    /// All changed documents or sources with these values, in a fixed order: the other params of
    /// each, and its version.
    #[must_use]
    pub fn all<'n>(
        &self,
        name: &str,
        with: impl IntoIterator<Item = (&'n str, &'n str)>,
    ) -> Vec<(Vec<String>, u64)> {
        let with: BTreeMap<&str, &str> = with.into_iter().collect();
        let mut found = Vec::new();
        for ((changed, names), version) in &self.0 {
            let fits = |(name, value): (&&str, &&str)| names.get(*name).is_none_or(|v| v == value);
            if changed == name && with.iter().all(fits) {
                let others = names
                    .iter()
                    .filter(|(name, _)| !with.contains_key(&***name));
                found.push((others.map(|(_, value)| value.clone()).collect(), *version));
            }
        }
        found
    }

    pub(super) fn change(&mut self, name: &str, names: &[String], params: &Params) -> u64 {
        let value = |name: &String| Some((name.clone(), params.get(name)?.values()[0].clone()));
        let names: Names = names.iter().filter_map(value).collect();
        let version = self.0.entry((name.to_owned(), names)).or_default();
        *version += 1;
        *version
    }
}

fn is(params: &Params, name: &str, value: &str) -> bool {
    params
        .get(name)
        .is_some_and(|given| given.values() == [value])
}

/// What to load.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Wanted<'a> {
    /// The controller.
    pub controller: &'a str,
    /// One value for each placeholder of the rules and each param of a source.
    pub params: &'a Params,
}

impl Wanted<'_> {
    /// A param's value.
    ///
    /// # Panics
    ///
    /// No key and no source has this param.
    #[must_use]
    #[track_caller]
    pub fn param(&self, name: &str) -> &str {
        match self.params.get(name) {
            Some(value) => &value.values()[0],
            None => panic!("no key of the rules, and no source, has a param `{name}`"),
        }
    }
}
