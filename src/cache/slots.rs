//! Warnings about rules on a Cluster.

use crate::{
    model::limits,
    rules::{Rules, SlotFinding, Slots},
};

/// What happens to a commit or an invalidation whose keys are in several hash slots of a Cluster,
/// so that no single step can change them all.
///
/// # Examples
///
/// ```
/// use cachetx::{Cache, CrossSlot, Rules};
///
/// let cache = Cache::builder(Rules::from_path("rules/minimal.json")?)
///     .cluster(["redis://10.0.0.1/", "redis://10.0.0.2/"])
///     .cross_slot(CrossSlot::Split)
///     .open_lazy()?;
/// # drop(cache);
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CrossSlot {
    /// Fails before anything is written, with
    /// [`Error::is_cross_slot`](crate::Error::is_cross_slot). The default.
    #[default]
    Refuse,
    /// The own entry, its lock and the dependents in its slot change in one atomic step. Dependents
    /// in other slots are deleted after it, one step per slot.
    /// [`Outcome::reach`](crate::Outcome::reach) is then [`Reach::Split`](crate::Reach::Split): a
    /// reader may briefly see the new entry beside old dependents. If the process dies between the
    /// steps, old dependents stay until their TTL.
    Split,
}

/// A line for each task and each controller whose commits may need several hash slots.
pub(super) fn warnings(rules: &Rules) -> Vec<String> {
    let check = rules.slot_check();
    let line = |what: &str, finding: &SlotFinding| match &finding.slots {
        Slots::Several { why } => Some(format!(
            "{what} `{}` is not proven to stay in one hash slot: {why}",
            finding.name
        )),
        _ => None,
    };
    let tasks = check
        .tasks
        .iter()
        .filter_map(|finding| line("task", finding));
    let saves = check.controllers.iter();
    let saves = saves.filter_map(|finding| line("a save of", finding));
    let mut lines: Vec<String> = tasks.chain(saves).collect();
    if let Some(more) = lines
        .len()
        .checked_sub(limits::MAX_PROBLEMS)
        .filter(|n| *n > 0)
    {
        lines.truncate(limits::MAX_PROBLEMS);
        lines.push(format!(
            "and {more} more, without proof that they stay in one hash slot"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_stay_in_one_slot_give_no_warning() {
        let of = |text: &str| warnings(&Rules::from_json(text).unwrap());
        let tagged = r#"{ "version": "1.0",
            "cache_keys": { "a": "{{{run}}}:a", "b": "{{{run}}}:b" },
            "rules": { "t": { "invalidates_cache": ["a", "b"] } } }"#;
        assert!(of(tagged).is_empty());
        let plain = tagged.replace("{{{run}}}", "{run}");
        let lines = of(&plain);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("task `t`"), "{lines:?}");
    }
}
