//! Whether the rules of another process concern the same keys.

use super::{Rules, Template, common_text};
use crate::model::limits;

impl Rules {
    /// The keys' templates, as the rules file has them.
    pub(crate) fn template_sources(&self) -> impl Iterator<Item = &str> {
        self.templates().map(|template| &*template.source)
    }

    /// Whether a key of these templates may be a key of these rules. When in doubt, returns true:
    /// for a template that cannot be read, and for more pairs than are worth comparing.
    pub(crate) fn may_share_keys_with(&self, templates: &[String]) -> bool {
        let pairs = self.controllers().len().saturating_mul(templates.len());
        if pairs > limits::MAX_TEMPLATE_PAIRS {
            return true;
        }
        templates.iter().any(|source| {
            let Ok(other) = Template::parse(source) else {
                return true;
            };
            let may_be_equal = |own: &Template| !matches!(common_text(own, &other), Ok(None));
            self.templates().any(may_be_equal)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_share_keys_where_one_key_can_be_equal() {
        let text = r#"{ "version": "1.0", "cache_keys": { "a": "shop:{run}:a", "b": "shop:{run}:b" }, "rules": {} }"#;
        let rules = Rules::from_json(text).unwrap();
        for (template, shares) in [
            ("shop:{sku}:a", true),
            ("{first}:{second}:b", true),
            // A value has no colon there.
            ("{first}:b", false),
            ("shop:{sku}:c", false),
            ("nodb:{run}:a", false),
            ("shop:{", true),
        ] {
            let templates = [template.to_owned()];
            assert_eq!(rules.may_share_keys_with(&templates), shares, "{template}");
        }
        assert!(!rules.may_share_keys_with(&[]));
        let many = vec!["nodb:a".to_owned(); limits::MAX_TEMPLATE_PAIRS];
        assert!(rules.may_share_keys_with(&many));
    }
}
