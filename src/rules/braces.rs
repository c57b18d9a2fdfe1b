//! Detects literal braces that were probably meant for a placeholder: `{{shop}}` when other keys
//! have `{shop}`.

use super::{parse::Draft, report::Report, template::Template};
use std::collections::HashSet;

/// Warns of each; `params` are the placeholders of all keys.
pub(super) fn warn<'c>(
    draft: &Draft<'_>,
    templates: impl Iterator<Item = &'c Template>,
    params: &[Box<str>],
    report: &mut Report<'_>,
) {
    let params: HashSet<&str> = params.iter().map(|param| &**param).collect();
    for (controller, template) in draft.controllers.iter().zip(templates) {
        let Some(text) = &controller.template else {
            continue;
        };
        for name in template.literals().flat_map(in_braces) {
            if !params.contains(name) {
                continue;
            }
            let written = format!("{{{{{name}}}}}");
            let Some(at) = text.text.find(&written) else {
                continue;
            };
            report.warning(
                text.part(at..at + written.len()),
                format!(
                    "the key of `{}` has the text `{{{name}}}` here, not the param `{name}` that other keys have",
                    controller.name.text
                ),
                Some(format!(
                    "write `{{{{{{{name}}}}}}}` for the param in literal braces, or `{{{name}}}` for the param alone"
                )),
            );
        }
    }
}

/// What stands in braces in a literal.
fn in_braces(literal: &str) -> impl Iterator<Item = &str> {
    let parts = literal.split('{').skip(1);
    parts.filter_map(|part| part.split_once('}').map(|(inside, _)| inside))
}
