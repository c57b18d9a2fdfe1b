//! The shape of a rules file: versions, fields and the kinds of their values. Does not resolve
//! names.

use super::{
    json::{self, Node, Text},
    report::Report,
};
use crate::model::limits::MAX_TTL;
use std::{ops::Range, time::Duration};

/// A file's content as written, each name with its place.
#[derive(Default)]
pub(super) struct Draft<'t> {
    pub(super) controllers: Vec<Controller<'t>>,
    pub(super) tasks: Vec<Task<'t>>,
    /// A controller, and its sources.
    pub(super) depends_on: Vec<(Text<'t>, Vec<Text<'t>>)>,
    pub(super) default_ttl: Option<Duration>,
}

pub(super) struct Controller<'t> {
    pub(super) name: Text<'t>,
    /// `None` if the value is no text, which is already reported; the name is declared all the
    /// same.
    pub(super) template: Option<Text<'t>>,
    pub(super) ttl: Option<Duration>,
}

pub(super) struct Task<'t> {
    pub(super) name: Text<'t>,
    pub(super) invalidates: Vec<Text<'t>>,
    pub(super) except: Vec<Text<'t>>,
    pub(super) includes: Vec<Text<'t>>,
    pub(super) cascade: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Version {
    V1_0,
    V1_1,
}

const TOP: [&str; 7] = [
    "version",
    "cache_keys",
    "rules",
    "$schema",
    "description",
    "default_ttl_seconds",
    "depends_on",
];
const RULE: [&str; 5] = [
    "invalidates_cache",
    "description",
    "includes",
    "cascade",
    "except",
];
const KEY: [&str; 2] = ["key", "ttl_seconds"];

/// The fields of a version 1.0 file.
const V1_0_FIELDS: [&str; 4] = ["version", "cache_keys", "rules", "invalidates_cache"];

/// Reads the file's content. Reports everything that is wrong; whatever the draft lacks has been
/// reported.
pub(super) fn draft<'t>(source: &'t str, report: &mut Report<'_>) -> Option<Draft<'t>> {
    let top = json::parse(source, report)?;
    let members = top.members("the file", report)?;
    let version = version(&members, report);
    let mut draft = Draft::default();
    let what = "the file";
    for (name, value) in &members {
        if !known(name, &TOP, what, version, report) {
            continue;
        }
        match &*name.text {
            "cache_keys" => draft.controllers = controllers(value, version, report),
            "rules" => draft.tasks = tasks(value, version, report),
            "depends_on" => draft.depends_on = depends_on(value, report),
            "default_ttl_seconds" => {
                draft.default_ttl = ttl(value, "`default_ttl_seconds`", report);
            }
            "$schema" => drop(value.string("`$schema`", report)),
            "description" => drop(value.string("`description`", report)),
            // The version was read first, since the rest depends on it.
            _ => {}
        }
    }
    for wanted in ["version", "cache_keys", "rules"] {
        if !members.iter().any(|(name, _)| name.text == wanted) {
            report.problem(top.opening(), format!("`{wanted}` is missing"), None);
        }
    }
    Some(draft)
}

fn version(members: &[(Text<'_>, Node<'_>)], report: &mut Report<'_>) -> Version {
    let Some((_, value)) = members.iter().find(|(name, _)| name.text == "version") else {
        return Version::V1_1;
    };
    let Some(text) = value.string("`version`", report) else {
        return Version::V1_1;
    };
    match &*text.text {
        "1.0" => Version::V1_0,
        "1.1" => Version::V1_1,
        other => {
            let help = if other.starts_with("1.") || other == "1" {
                "this library reads \"1.0\" and \"1.1\"; did you mean \"1.1\"?"
            } else {
                "this library reads \"1.0\" and \"1.1\""
            };
            report.problem(
                text.span.clone(),
                format!("unknown version `{other}`"),
                Some(help.to_owned()),
            );
            // The newest version knows the most fields, so checking the rest against it makes the
            // fewest wrong guesses.
            Version::V1_1
        }
    }
}

/// Whether a field is allowed here; reports it if not.
fn known(
    name: &Text<'_>,
    fields: &[&str],
    what: &str,
    version: Version,
    report: &mut Report<'_>,
) -> bool {
    let field = &*name.text;
    if !fields.contains(&field) {
        let list = fields.join(", ");
        let help = report.suggest(
            field,
            fields.iter().copied(),
            &format!("known fields: {list}"),
        );
        report.problem(
            name.span.clone(),
            format!("unknown field `{field}` in {what}"),
            help,
        );
        return false;
    }
    if version == Version::V1_0 && !V1_0_FIELDS.contains(&field) {
        needs_1_1(&name.span, &format!("the field `{field}`"), report);
    }
    true
}

fn needs_1_1(span: &Range<usize>, what: &str, report: &mut Report<'_>) {
    report.problem(
        span.clone(),
        format!("{what} needs version 1.1"),
        Some("write \"version\": \"1.1\"".to_owned()),
    );
}

fn ttl(value: &Node<'_>, what: &str, report: &mut Report<'_>) -> Option<Duration> {
    value
        .whole_number(what, MAX_TTL.as_secs(), report)
        .map(Duration::from_secs)
}

/// Checks a declared name: not empty, and nothing that would make messages or keys unreadable.
fn declared(name: &Text<'_>, what: &str, report: &mut Report<'_>) -> bool {
    let fault = if name.text.is_empty() {
        "is empty"
    } else if name.text == "*" {
        "is `*`, which means all controllers"
    } else if name.text.chars().any(char::is_control) {
        "contains a control character"
    } else {
        return true;
    };
    report.problem(
        name.span.clone(),
        format!("the {what}'s name {fault}"),
        None,
    );
    false
}

fn controllers<'t>(
    node: &Node<'t>,
    version: Version,
    report: &mut Report<'_>,
) -> Vec<Controller<'t>> {
    let mut controllers = Vec::new();
    for (name, value) in node.members("`cache_keys`", report).unwrap_or_default() {
        let named = declared(&name, "controller", report);
        let what = format!("the cache key of `{}`", name.text);
        let (template, ttl) = if value.is_object() {
            if version == Version::V1_0 {
                needs_1_1(&value.opening(), "a cache key with fields", report);
            }
            key_object(&value, &what, report)
        } else {
            (value.string(&what, report), None)
        };
        if named {
            controllers.push(Controller {
                name,
                template,
                ttl,
            });
        }
    }
    controllers
}

fn key_object<'t>(
    node: &Node<'t>,
    what: &str,
    report: &mut Report<'_>,
) -> (Option<Text<'t>>, Option<Duration>) {
    let members = node.members(what, report).unwrap_or_default();
    let (mut template, mut life) = (None, None);
    for (name, value) in &members {
        // It is already reported that the object itself needs version 1.1; once is enough.
        if !known(name, &KEY, what, Version::V1_1, report) {
            continue;
        }
        match &*name.text {
            "key" => template = value.string(what, report),
            _ => life = ttl(value, "`ttl_seconds`", report),
        }
    }
    if !members.iter().any(|(name, _)| name.text == "key") {
        report.problem(node.opening(), format!("`key` is missing in {what}"), None);
    }
    (template, life)
}

fn tasks<'t>(node: &Node<'t>, version: Version, report: &mut Report<'_>) -> Vec<Task<'t>> {
    let mut tasks = Vec::new();
    for (name, value) in node.members("`rules`", report).unwrap_or_default() {
        let named = declared(&name, "task", report);
        let what = format!("the rule of `{}`", name.text);
        let members = value.members(&what, report);
        // A missing rule is already reported, and the task is declared all the same.
        let mut says_something = members.is_none();
        let mut task = Task {
            name,
            invalidates: Vec::new(),
            except: Vec::new(),
            includes: Vec::new(),
            cascade: true,
        };
        for (field, value) in &members.unwrap_or_default() {
            if !known(field, &RULE, &what, version, report) {
                continue;
            }
            match &*field.text {
                "invalidates_cache" => {
                    says_something = true;
                    task.invalidates = names(value, "`invalidates_cache`", report);
                    if let (Version::V1_0, Some(all)) = (
                        version,
                        task.invalidates.iter().find(|name| name.text == "*"),
                    ) {
                        needs_1_1(&all.span, "`*` for all controllers", report);
                    }
                }
                "includes" => {
                    says_something = true;
                    task.includes = names(value, "`includes`", report);
                }
                "except" => task.except = names(value, "`except`", report),
                "cascade" => {
                    task.cascade = value.boolean("`cascade`", report).unwrap_or(true);
                }
                _ => drop(value.string("`description`", report)),
            }
        }
        if !says_something {
            report.problem(
                value.opening(),
                format!("`invalidates_cache` is missing in {what}"),
                None,
            );
        }
        if named {
            tasks.push(task);
        }
    }
    tasks
}

fn depends_on<'t>(node: &Node<'t>, report: &mut Report<'_>) -> Vec<(Text<'t>, Vec<Text<'t>>)> {
    node.members("`depends_on`", report)
        .unwrap_or_default()
        .into_iter()
        .map(|(name, value)| {
            let what = format!("what `{}` depends on", name.text);
            let from = names(&value, &what, report);
            (name, from)
        })
        .collect()
}

/// A list of names. A duplicate is harmless, and probably a mistake.
fn names<'t>(node: &Node<'t>, what: &str, report: &mut Report<'_>) -> Vec<Text<'t>> {
    let mut seen = std::collections::HashSet::new();
    let mut names = Vec::new();
    for element in node.elements(what, report).unwrap_or_default() {
        let Some(name) = element.string(&format!("a name in {what}"), report) else {
            continue;
        };
        if name.text.is_empty() {
            report.problem(name.span, format!("a name in {what} is empty"), None);
        } else if seen.insert(name.text.clone()) {
            names.push(name);
        } else {
            report.warning(
                name.span,
                format!("`{}` stands twice in {what}", name.text),
                None,
            );
        }
    }
    names
}
