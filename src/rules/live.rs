//! Rules that can be replaced while they are in use.

use super::Rules;
use crate::model::{Error, Result, error::Kind};
use std::sync::{PoisonError, RwLock};

/// The rules in force. A caller that has taken them keeps using them after a replacement.
#[derive(Debug)]
pub(crate) struct LiveRules(RwLock<Rules>);

impl LiveRules {
    pub(crate) fn new(rules: Rules) -> Self {
        Self(RwLock::new(rules))
    }

    pub(crate) fn get(&self) -> Rules {
        let rules = self.0.read().unwrap_or_else(PoisonError::into_inner);
        rules.clone()
    }

    /// Returns whether the rules have changed.
    ///
    /// # Errors
    ///
    /// The new rules have other controllers, or other keys: documents in use keep theirs.
    pub(crate) fn replace(&self, rules: Rules) -> Result<bool> {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = moves(&current, &rules) {
            return Err(Error::new(Kind::Config(format!(
                "these rules cannot replace those in use: {why}; it takes a restart"
            ))));
        }
        let are_others = current.digest() != rules.digest();
        *current = rules;
        Ok(are_others)
    }
}

/// How keys differ, if they do.
fn moves(old: &Rules, new: &Rules) -> Option<String> {
    if let Some(gone) = old.controllers().find(|name| !new.has_controller(name)) {
        return Some(format!("the controller `{gone}` is gone"));
    }
    if let Some(more) = new.controllers().find(|name| !old.has_controller(name)) {
        return Some(format!("the controller `{more}` is new"));
    }
    let differs = |name: &&str| old.template(name) != new.template(name);
    let changed = old.controllers().find(differs)?;
    Some(format!("the key of `{changed}` is another one"))
}
