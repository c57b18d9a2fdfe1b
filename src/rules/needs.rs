//! What a save of each controller needs: the params of its own key, and those of its dependents'
//! keys.

use super::{compile::Compiled, dependence::further_params};
use serde::Serialize;
use std::fmt;

/// The params that a save of one controller, without tasks, needs: what
/// [`Rules::save_needs`](crate::Rules::save_needs) returns.
///
/// Displays as one sentence.
///
/// # Examples
///
/// ```
/// # use cachetx::Rules;
/// let rules: Rules = r#"{ "version": "1.1",
///     "cache_keys": { "product": "{{{shop}}}:product:{sku}", "page": "{{{shop}}}:page:{fragment}" },
///     "depends_on": { "page": ["product"] }, "rules": {} }"#.parse()?;
/// let needs = rules.save_needs();
/// let product = needs.iter().find(|needs| needs.controller == "product").ok_or("no product")?;
/// assert_eq!(product.own, ["shop", "sku"]);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SaveNeeds {
    /// The controller that is saved.
    pub controller: String,
    /// The template of its key, as the rules file has it.
    pub template: String,
    /// The placeholders of its own key, each once, in order. Each takes one value.
    pub own: Vec<String>,
    /// The params that only its dependents need. Each takes one value, or a list.
    pub further: Vec<FurtherParam>,
}

/// A param that a save needs only because of the saved controller's dependents.
///
/// # Examples
///
/// ```
/// # use cachetx::Rules;
/// let rules: Rules = r#"{ "version": "1.1",
///     "cache_keys": { "product": "{{{shop}}}:product:{sku}", "page": "{{{shop}}}:page:{fragment}" },
///     "depends_on": { "page": ["product"] }, "rules": {} }"#.parse()?;
/// let needs = rules.save_needs();
/// let further = needs.iter().flat_map(|needs| &needs.further).next().ok_or("none")?;
/// assert_eq!((&*further.param, &*further.because_of[0]), ("fragment", "page"));
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FurtherParam {
    /// The param.
    pub param: String,
    /// The dependents whose keys have it, in the order of declaration.
    pub because_of: Vec<String>,
}

impl fmt::Display for SaveNeeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let further = self.further.iter().map(|further| &further.param);
        let params: Vec<&str> = self.own.iter().chain(further).map(|p| &**p).collect();
        let controller = &self.controller;
        match params.as_slice() {
            [] => write!(f, "a save of `{controller}` needs no params")?,
            [one] => write!(f, "a save of `{controller}` needs the param {one}")?,
            _ => write!(
                f,
                "a save of `{controller}` needs the params {}",
                params.join(", ")
            )?,
        }
        for (n, further) in self.further.iter().enumerate() {
            let names: Vec<String> = further
                .because_of
                .iter()
                .map(|name| format!("`{name}`"))
                .collect();
            let verb = if names.len() == 1 { "has" } else { "have" };
            let colon = if n == 0 { ":" } else { ";" };
            write!(
                f,
                "{colon} {} {verb} {{{}}}",
                names.join(", "),
                further.param
            )?;
        }
        Ok(())
    }
}

pub(super) fn of_saves(rules: &Compiled) -> Vec<SaveNeeds> {
    let axes = |index: usize| &*rules.controllers[index].axes;
    let param = |index: usize| rules.params[index].to_string();
    let each = rules.controllers.iter().enumerate();
    each.map(|(own, controller)| {
        let further = further_params(&rules.dependents[own], own, axes);
        SaveNeeds {
            controller: rules.names[own].to_string(),
            template: controller.template.source.to_string(),
            own: controller.axes.iter().map(|axis| param(*axis)).collect(),
            further: further
                .into_iter()
                .map(|(index, dependents)| FurtherParam {
                    param: param(index),
                    because_of: dependents
                        .into_iter()
                        .map(|dependent| rules.names[dependent].to_string())
                        .collect(),
                })
                .collect(),
        }
    })
    .collect()
}
