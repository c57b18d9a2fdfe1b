//! Lookup of declared names.

use super::{json::Text, report::Report};
use std::collections::HashMap;

/// Declared names, for lookup.
pub(super) struct Names<'d> {
    index: HashMap<&'d str, usize>,
    /// In order of declaration, so that of two equally near suggestions always the same one is
    /// chosen.
    list: Vec<&'d str>,
    what: &'static str,
    /// Names of the other kind, with how to use one.
    others: Option<(HashMap<&'d str, usize>, &'static str)>,
}

impl<'d> Names<'d> {
    /// Says of a name that is unknown here and known there how it can be used.
    pub(super) fn beside(self, others: &Names<'d>, how: &'static str) -> Self {
        Self {
            others: Some((others.index.clone(), how)),
            ..self
        }
    }

    pub(super) fn new(names: impl Iterator<Item = &'d Text<'d>>, what: &'static str) -> Self {
        let list: Vec<&str> = names.map(|name| &*name.text).collect();
        let index = list
            .iter()
            .enumerate()
            .map(|(n, name)| (*name, n))
            .collect();
        Self {
            index,
            list,
            what,
            others: None,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn resolve(
        &self,
        name: &Text<'_>,
        place: &str,
        report: &mut Report<'_>,
    ) -> Option<usize> {
        let found = self.index.get(&*name.text).copied();
        if found.is_none() {
            let otherwise = match (self.what, &*name.text) {
                (_, "*") => "`*` stands for all controllers in `invalidates_cache` only",
                ("task", _) => "give it a rule under `rules`",
                _ => "declare it under `cache_keys`",
            };
            let others = self.others.as_ref();
            let help = match others.filter(|(others, _)| others.contains_key(&*name.text)) {
                Some((_, how)) => Some((*how).to_owned()),
                None => report.suggest(&name.text, self.list.iter().copied(), otherwise),
            };
            report.problem(
                name.span.clone(),
                format!("unknown {} `{}` {place}", self.what, name.text),
                help,
            );
        }
        found
    }

    pub(super) fn by_name(&self) -> HashMap<Box<str>, usize> {
        self.index
            .iter()
            .map(|(name, index)| (Box::from(*name), *index))
            .collect()
    }
}
