//! What a boot must know about the rules.

use crate::{
    model::limits,
    op::keys::sibling,
    rules::{Params, Rules, Slots},
};

#[derive(Clone, Debug)]
pub(crate) struct RulesFacts {
    pub(crate) rules: Rules,
    pub(crate) digest: String,
    /// What a Cluster would refuse.
    pub(crate) slots: Option<String>,
    /// Value keys as the rules make them, for a run that does not exist.
    pub(crate) samples: Vec<String>,
}

impl RulesFacts {
    /// `None` for rules without controllers, for which there is nothing to report.
    pub(crate) fn of(rules: &Rules) -> Option<Self> {
        if rules.controllers().len() == 0 {
            return None;
        }
        let samples = rules.controllers().filter_map(|controller| {
            let names = rules.placeholders(controller).ok()?;
            let params: Params = names.iter().map(|name| (*name, "cachetx-probe")).collect();
            rules.key(controller, &params).ok()
        });
        Some(Self {
            rules: rules.clone(),
            digest: rules.digest(),
            slots: slots(rules),
            samples: samples.take(limits::MAX_PROBED_KEYS).collect(),
        })
    }

    /// A key that the rules' owner may use, and that nothing else uses.
    pub(super) fn free_key(&self) -> Option<String> {
        let sample = self.samples.first()?;
        Some(sibling(sample, "00000000000000000000000000000000"))
    }
}

fn slots(rules: &Rules) -> Option<String> {
    let check = rules.slot_check();
    let several = check.tasks.iter().chain(&check.controllers);
    let several: Vec<_> = several.filter(|finding| !finding.slots.is_one()).collect();
    let first = several.first()?;
    let Slots::Several { why } = &first.slots else {
        return None;
    };
    Some(format!(
        "{} of the rules' tasks and controllers may span hash slots, which a Cluster refuses: `{}`, since {why}",
        several.len(),
        first.name
    ))
}
