//! How many keys, in how many hash slots, and whether another file can have one of them.

use super::{RulesCheck, sample};
use crate::{
    model::Result,
    rules::{Params, Rules, Shared, Slots, slot},
};
use std::collections::{BTreeMap, BTreeSet};

impl RulesCheck {
    /// No task deletes more than `keys` keys, with params' lists as long as set by
    /// [`list_len`](Self::list_len).
    pub fn no_task_deletes_more_than(self, keys: usize) -> Self {
        let lens = self.list_lens.clone();
        self.named(|rules| {
            let mut failures = Vec::new();
            for task in rules.tasks() {
                let deleted = rules.invalidated_by(task)?;
                let counted = Counted::new(rules, &deleted)?;
                failures.extend(
                    counted
                        .over(keys, &lens)
                        .map(|found| format!("task `{task}` deletes {found}")),
                );
            }
            Ok(failures)
        })
    }

    /// No save of a document deletes more than `keys` keys, not counting its tasks' keys, with
    /// params' lists as long as set by [`list_len`](Self::list_len).
    pub fn no_save_deletes_more_than(self, keys: usize) -> Self {
        let this = self.clone();
        self.named(|rules| {
            let mut failures = Vec::new();
            for own in rules.controllers().filter(|name| this.is_document(name)) {
                let deleted = rules.dependents(own)?;
                let counted = Counted::new(rules, &deleted)?;
                let mut lens = this.list_lens.clone();
                // The own key is one key.
                for name in rules.placeholders(own)? {
                    lens.remove(name);
                }
                failures.extend(
                    counted
                        .over(keys, &lens)
                        .map(|found| format!("a save of `{own}` deletes {found}")),
                );
            }
            Ok(failures)
        })
    }

    /// All keys of each task, and of each document's save without tasks, are in one hash slot of a
    /// Cluster, whatever the params. A param with several values ([`list_len`](Self::list_len))
    /// must not be in a hash tag then.
    pub fn each_save_is_in_one_slot(self) -> Self {
        let this = self.clone();
        self.named(|rules| {
            let found = rules.slot_check();
            let mut failures = Vec::new();
            for task in &found.tasks {
                let keys = rules.invalidated_by(&task.name)?;
                let who = format!("task `{}`", task.name);
                failures.extend(spread(rules, &who, &task.slots, &keys, &this.list_lens)?);
            }
            let documents = found.controllers.iter();
            for own in documents.filter(|own| this.is_document(&own.name)) {
                let mut keys = vec![&*own.name];
                keys.extend(rules.dependents(&own.name)?);
                let who = format!("a save of `{}`", own.name);
                failures.extend(spread(rules, &who, &own.slots, &keys, &BTreeMap::new())?);
            }
            Ok(failures)
        })
    }

    /// No key of these rules can be a key of `other`, whatever the params. For programs that share
    /// a server.
    pub fn no_key_is_also_of(self, other: &Rules) -> Self {
        self.each(|rules| {
            let shared = rules.shared_keys(other);
            shared
                .into_iter()
                .map(|Shared { own, other, key }| match key {
                    Some(key) => format!(
                        "`{own}` and `{other}` of the other rules can both have the key `{key}`"
                    ),
                    None => format!(
                        "`{own}` and `{other}` of the other rules are too much alike to prove that their keys differ"
                    ),
                })
                .collect()
        })
    }
}

/// Counts the keys of some controllers, given the lengths of lists.
struct Counted<'r>(Vec<(&'r str, Vec<&'r str>)>);

type Lens = BTreeMap<String, usize>;

impl<'r> Counted<'r> {
    fn new(rules: &'r Rules, controllers: &[&'r str]) -> Result<Self> {
        let with_placeholders = |name: &&'r str| Ok((*name, rules.placeholders(name)?));
        controllers
            .iter()
            .map(with_placeholders)
            .collect::<Result<_>>()
            .map(Self)
    }

    fn of_each(&self, lens: &Lens) -> Vec<(&'r str, usize)> {
        let len = |name: &&str| lens.get(*name).copied().unwrap_or(1);
        let product = |names: &[&str]| names.iter().map(len).fold(1, usize::saturating_mul);
        self.0
            .iter()
            .map(|(name, names)| (*name, product(names)))
            .collect()
    }

    fn all(&self, lens: &Lens) -> usize {
        self.of_each(lens)
            .iter()
            .fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// The smallest lists that give more than `most` keys, in words; `None` if there are none.
    fn over(&self, most: usize, lens: &Lens) -> Option<String> {
        let mut lens = lens.clone();
        if self.all(&lens) <= most {
            return None;
        }
        let names: Vec<String> = lens.keys().cloned().collect();
        for name in names {
            let longest = lens[&name];
            // The count grows with each list, so a binary search finds the shortest one that is
            // still too long.
            let lengths: Vec<usize> = (1..=longest).collect();
            let fits = lengths.partition_point(|len| {
                let mut shorter = lens.clone();
                shorter.insert(name.clone(), *len);
                self.all(&shorter) <= most
            });
            lens.insert(name, lengths[fits.min(longest - 1)]);
        }
        Some(self.words(most, &lens))
    }

    fn words(&self, most: usize, lens: &Lens) -> String {
        let each: Vec<String> = self
            .of_each(lens)
            .iter()
            .map(|(name, keys)| format!("{keys} of `{name}`"))
            .collect();
        let lists: Vec<String> = lens
            .iter()
            .filter(|(_, len)| **len > 1)
            .map(|(name, len)| format!("`{name}` has {len} values"))
            .collect();
        let when = match lists.is_empty() {
            true => "whatever the params".to_owned(),
            false => format!("where {}", lists.join(" and ")),
        };
        format!(
            "{} keys, over {most}, {when}: {}",
            self.all(lens),
            each.join(", ")
        )
    }
}

/// The failure for keys in several slots: the smallest params, and two of the keys.
fn spread(
    rules: &Rules,
    who: &str,
    slots: &Slots,
    controllers: &[&str],
    lens: &Lens,
) -> Result<Option<String>> {
    let mut placeholders: BTreeSet<&str> = BTreeSet::new();
    for name in controllers {
        placeholders.extend(rules.placeholders(name)?);
    }
    let placeholders: Vec<&str> = placeholders.into_iter().collect();
    let why = match slots {
        Slots::Empty => return Ok(None),
        Slots::One { tag } => {
            let tag = tag.as_deref().unwrap_or_default();
            let is_in_tag = |name: &&String| tag.contains(&format!("{{{name}}}"));
            let mut lists = lens.iter().filter(|(_, len)| **len > 1);
            return match lists.find(|(name, _)| is_in_tag(name)) {
                None => Ok(None),
                Some((list, _)) => Ok(Some(spread_by_list(rules, who, list, controllers[0]))),
            };
        }
        Slots::Several { why } => why,
    };
    let shown = sample::smallest_that(rules, &placeholders, |params| {
        two_slots(rules, controllers, params)
    });
    Ok(Some(match shown {
        Some((params, keys)) => {
            let params = sample::shown(&params);
            format!("{who} has keys in several hash slots, with {params}: {keys}; {why}")
        }
        None => format!("{who} is not proven to have its keys in one hash slot: {why}"),
    }))
}

/// The same for a list in the hash tag, with the keys for two of its values.
fn spread_by_list(rules: &Rules, who: &str, list: &str, controller: &str) -> String {
    let values = &sample::letters(rules)[list];
    let key = |value: char| {
        let params = sample::smallest(rules).with(list, value.to_string());
        let key = rules.key(controller, &params).unwrap_or_default();
        format!("`{key}` in slot {}", slot(&key))
    };
    format!(
        "{who} has keys in several hash slots, with `{list}` = `{}`, `{}`: {}, {}",
        values[0],
        values[1],
        key(values[0]),
        key(values[1])
    )
}

/// Two keys in two slots, if there are any.
fn two_slots(rules: &Rules, controllers: &[&str], params: &Params) -> Option<String> {
    let keys = controllers.iter().map(|name| rules.key(name, params));
    let keys: Vec<String> = keys.collect::<Result<_>>().ok()?;
    let first = keys.first()?;
    let other = keys.iter().find(|key| slot(key) != slot(first))?;
    Some(format!(
        "`{first}` in slot {}, `{other}` in slot {}",
        slot(first),
        slot(other)
    ))
}
