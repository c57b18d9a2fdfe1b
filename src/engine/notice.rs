//! What a boot leaves on the server for the boots of other processes: which rules it has, to detect
//! two versions of the same rules. Rules with other keys belong to another application and do not
//! matter.

use super::{facts::RulesFacts, warning::Warning, wire::Packed};
use crate::{model::limits, rules::Rules};

/// Each boot leaves its notice in this hash: digest of the rules -> notice. No key of a rules file
/// can equal it: none may begin like a hash of leases, and no value of a placeholder has braces.
pub(super) const RULES_KEY: &str = "cachetx:leases:{rules}";

/// When a process with these rules booted, and their keys: `1700000000 ["{run_id}:climate"]`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Notice {
    /// The server's time, in s.
    at_s: u64,
    /// The keys' templates; `None` if they were too long.
    templates: Option<Vec<String>>,
}

impl Notice {
    fn of(rules: &Rules, at_s: u64) -> Self {
        let templates = || rules.template_sources();
        let bytes: usize = templates().map(|template| template.len() + 3).sum();
        let is_short = bytes <= limits::MAX_NOTICE_BYTES;
        Self {
            at_s,
            templates: is_short.then(|| templates().map(str::to_owned).collect()),
        }
    }

    /// `None` if it is not a notice.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (at_s, templates) = match text.split_once(' ') {
            Some((at_s, templates)) => (at_s, serde_json::from_str(templates).ok()),
            None => (text, None),
        };
        Some(Self {
            at_s: at_s.parse().ok()?,
            templates,
        })
    }

    fn text(&self) -> String {
        let templates = self.templates.as_ref().map(serde_json::to_string);
        match templates {
            Some(Ok(templates)) => format!("{} {templates}", self.at_s),
            _ => self.at_s.to_string(),
        }
    }

    pub(super) fn is_outdated(&self, now_s: u64) -> bool {
        self.age_s(now_s) > limits::RULES_SEEN.as_secs()
    }

    fn age_s(&self, now_s: u64) -> u64 {
        now_s.saturating_sub(self.at_s)
    }

    /// Whether both rules can produce the same key.
    pub(super) fn may_concern(&self, rules: &Rules) -> bool {
        let templates = self.templates.as_ref();
        templates.is_none_or(|templates| rules.may_share_keys_with(templates))
    }

    pub(super) fn warning(&self, digest: &str, rules: &RulesFacts, now_s: u64) -> Warning {
        let own = &rules.digest;
        let hours = self.age_s(now_s) / 3_600;
        Warning {
            text: format!(
                "a process with other rules for the same keys ({digest}; these are {own}) was booted {hours} h ago: while it runs it may not delete what these rules say"
            ),
            cause: format!("other rules: {digest}"),
        }
    }
}

/// Leaves a notice of these rules, and removes outdated ones.
pub(super) fn publish(rules: &RulesFacts, now_s: u64, outdated: &[String], packed: &mut Packed) {
    let notice = Notice::of(&rules.rules, now_s).text();
    let key = RULES_KEY.as_bytes();
    packed.request(&[b"HSET", key, rules.digest.as_bytes(), notice.as_bytes()]);
    for digest in outdated {
        packed.request(&[b"HDEL", key, digest.as_bytes()]);
    }
    let life = limits::RULES_SEEN.as_millis().to_string();
    packed.request(&[b"PEXPIRE", key, life.as_bytes()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_reads_as_it_was_written_and_one_without_keys_concerns_everybody() {
        let rules = |key: &str| {
            let text = format!(
                r#"{{ "version": "1.0", "cache_keys": {{ "a": "{key}" }}, "rules": {{}} }}"#
            );
            Rules::from_json(&text).unwrap()
        };
        let notice = Notice::of(&rules("shop:{sku}"), 7);
        assert_eq!(notice.text(), r#"7 ["shop:{sku}"]"#);
        assert_eq!(Notice::parse(&notice.text()), Some(notice));
        let of = |text: &str| Notice::parse(text).unwrap();
        assert!(!of(r#"7 ["shop:{sku}"]"#).may_concern(&rules("nodb:{run}")));
        for text in [r#"7 ["nodb:{r}"]"#, "7", "7 what a later version says"] {
            assert!(of(text).may_concern(&rules("nodb:{run}")), "{text}");
        }
        assert_eq!(Notice::parse("what"), None);
        assert!(of("7").is_outdated(8 + limits::RULES_SEEN.as_secs()));
    }

    #[test]
    fn keys_that_are_too_long_are_not_told() {
        let keys: Vec<String> = (0..limits::MAX_NOTICE_BYTES / 10)
            .map(|n| format!(r#""c{n}": "key-{n}:{{r}}""#))
            .collect();
        let text = format!(
            r#"{{ "version": "1.0", "cache_keys": {{ {} }}, "rules": {{}} }}"#,
            keys.join(", ")
        );
        let rules = Rules::from_json(&text).unwrap();
        assert_eq!(Notice::of(&rules, 7).text(), "7");
    }
}
