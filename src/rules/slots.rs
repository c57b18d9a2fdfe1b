//! Cluster hash slots: of one key, and what the rules prove about the keys of one commit.

use super::compile::Compiled;
use crate::model::limits;

/// The part of `key` that a Cluster hashes, if it has a hash tag: between the first `{` and the
/// next `}`, if not empty.
pub(crate) fn hash_tag(key: &str) -> Option<&str> {
    let open = key.find('{')? + 1;
    let len = key[open..].find('}')?;
    (len > 0).then(|| &key[open..open + len])
}

/// The hash slot of a key: the CRC16 of its hash tag, or of the whole key if it has no tag.
pub(crate) fn slot(key: &str) -> u16 {
    let hashed = hash_tag(key).unwrap_or(key);
    crc16::State::<crc16::XMODEM>::calculate(hashed.as_bytes()) % limits::SLOTS
}

/// What the rules prove about hash slots for any params with one value each.
///
/// A commit deletes what its tasks invalidate and what depends on the committed controller, and
/// sets that controller's entry. It stays in one slot if each of these is [`Slots::One`] with the
/// same tag. A list param in the tag gives a slot for each value.
///
/// # Examples
/// ```
/// let rules = cachetx::Rules::from_json(
///     r#"{ "version": "1.0",
///          "cache_keys": { "climate": "{{{run}}}:climate", "wepp": "{{{run}}}:wepp", "list": "runs" },
///          "rules": { "build": { "invalidates_cache": ["climate", "wepp"] },
///                     "drop": { "invalidates_cache": ["climate", "list"] } } }"#,
/// )?;
/// let check = rules.slot_check();
/// assert!(check.tasks[0].slots.is_one());
/// assert!(!check.tasks[1].slots.is_one());
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotCheck {
    /// For each task: all that it invalidates.
    pub tasks: Vec<SlotFinding>,
    /// For each controller: its own key and all that depends on it, which is what a save without
    /// tasks touches.
    pub controllers: Vec<SlotFinding>,
}

/// What is proven about the slots of one task or controller.
///
/// # Examples
///
/// ```
/// # use cachetx::{Params, Rules};
/// # let rules = Rules::from_path("rules/nodb.json")?;
/// let check = rules.slot_check();
/// assert!(check.controllers.iter().all(|finding| finding.slots.is_one()));
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlotFinding {
    /// The task or the controller.
    pub name: String,
    /// What is proven.
    pub slots: Slots,
}

/// Whether keys share a hash slot.
///
/// # Examples
///
/// ```
/// use cachetx::{Rules, Slots};
///
/// let check = Rules::from_path("rules/minimal.json")?.slot_check(); // keys without hash tags
/// let run_wepp = check.tasks.iter().find(|task| task.name == "run_wepp").ok_or("no task")?;
/// assert!(matches!(run_wepp.slots, Slots::Several { .. }));
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Slots {
    /// No keys at all.
    Empty,
    /// Proven: one slot.
    One {
        /// The hash tag that all keys have, as a template; `None` for a single key without one.
        tag: Option<String>,
    },
    /// Not proven.
    Several {
        /// The two controllers that differ, and how.
        why: String,
    },
}

impl Slots {
    /// Whether the keys are proven to have at most one slot.
    #[must_use]
    pub fn is_one(&self) -> bool {
        !matches!(self, Self::Several { .. })
    }
}

impl SlotCheck {
    /// Whether every task and every controller is proven to stay in one slot.
    #[must_use]
    pub fn is_one(&self) -> bool {
        let mut all = self.tasks.iter().chain(&self.controllers);
        all.all(|finding| finding.slots.is_one())
    }
}

pub(super) fn check(rules: &Compiled) -> SlotCheck {
    let tags: Vec<Option<String>> = rules
        .controllers
        .iter()
        .map(|controller| controller.template.hash_tag())
        .collect();
    let finding = |name: &str, controllers: &mut dyn Iterator<Item = usize>| SlotFinding {
        name: name.to_owned(),
        slots: of(rules, &tags, controllers),
    };
    SlotCheck {
        tasks: rules
            .tasks
            .iter()
            .map(|task| finding(&task.name, &mut task.invalidates.iter()))
            .collect(),
        controllers: (0..rules.controllers.len())
            .map(|own| {
                let mut all = [own].into_iter().chain(rules.dependents[own].iter());
                finding(&rules.names[own], &mut all)
            })
            .collect(),
    }
}

fn of(
    rules: &Compiled,
    tags: &[Option<String>],
    controllers: &mut dyn Iterator<Item = usize>,
) -> Slots {
    let Some(first) = controllers.next() else {
        return Slots::Empty;
    };
    for other in controllers {
        if tags[first].is_some() && tags[first] == tags[other] {
            continue;
        }
        let say = |index: usize| match &tags[index] {
            Some(tag) => format!("`{}` is hashed by `{tag}`", rules.names[index]),
            None => format!("`{}` is hashed by its whole key", rules.names[index]),
        };
        return Slots::Several {
            why: format!("{}, {}", say(first), say(other)),
        };
    }
    Slots::One {
        tag: tags[first].clone(),
    }
}
