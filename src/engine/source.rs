//! Assembles the Lua files into scripts.

use crate::model::limits;
use std::sync::OnceLock;

/// The form of a script for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// With a `#!lua` line, whose flags let the server refuse a script before it starts: Redis from
    /// 7.0, Valkey.
    Flagged,
    /// Without such a line: for Redis 6.2 it is a syntax error.
    Plain,
}

/// An operation that is a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScriptName {
    Acquire,
    Renew,
    Release,
    Prepare,
    Commit,
    Invalidate,
    Lease,
    Extend,
    GiveBack,
    Fill,
}

/// One operation's Lua file, which may include others by a line `--@include <name>`, and its flags.
struct File {
    name: ScriptName,
    text: &'static str,
    /// Set only if nothing is stored: a full server must refuse what sets, and must not refuse what
    /// frees.
    allow_oom: bool,
}

const FILES: [File; 10] = [
    File {
        name: ScriptName::Acquire,
        text: include_str!("../../lua/acquire.lua"),
        allow_oom: false,
    },
    File {
        name: ScriptName::Renew,
        text: include_str!("../../lua/renew.lua"),
        allow_oom: true,
    },
    File {
        name: ScriptName::Release,
        text: include_str!("../../lua/release.lua"),
        allow_oom: true,
    },
    File {
        name: ScriptName::Prepare,
        text: include_str!("../../lua/prepare.lua"),
        allow_oom: false,
    },
    File {
        name: ScriptName::Commit,
        text: include_str!("../../lua/commit.lua"),
        allow_oom: false,
    },
    File {
        name: ScriptName::Invalidate,
        text: include_str!("../../lua/invalidate.lua"),
        allow_oom: true,
    },
    File {
        name: ScriptName::Lease,
        text: include_str!("../../lua/lease.lua"),
        allow_oom: false,
    },
    File {
        name: ScriptName::Extend,
        text: include_str!("../../lua/extend.lua"),
        allow_oom: false,
    },
    File {
        name: ScriptName::GiveBack,
        text: include_str!("../../lua/give_back.lua"),
        allow_oom: true,
    },
    File {
        name: ScriptName::Fill,
        text: include_str!("../../lua/fill.lua"),
        allow_oom: false,
    },
];

pub(super) const LIBRARY: [(&str, &str); 8] = [
    ("decimal", include_str!("../../lua/lib/decimal.lua")),
    ("free", include_str!("../../lua/lib/free.lua")),
    ("in_flight", include_str!("../../lua/lib/in_flight.lua")),
    ("lease", include_str!("../../lua/lib/lease.lua")),
    ("marks", include_str!("../../lua/lib/marks.lua")),
    ("own_lease", include_str!("../../lua/lib/own_lease.lua")),
    ("stamp", include_str!("../../lua/lib/stamp.lua")),
    ("unlink", include_str!("../../lua/lib/unlink.lua")),
];

const INCLUDE: &str = "--@include ";

/// Marks where a file continues in the lock's or the cache's database, and the statement for that.
/// It is left out if both are one database. A script's selection ends with the script.
const SELECT: &str = "--@select ";

/// Set if locks and their fences are in another database than the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Databases {
    pub(super) lock: u32,
    pub(super) cache: u32,
}

/// A script as sent to the server.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) name: ScriptName,
    pub(crate) text: String,
    /// SHA-1 of the text in lower-case hex, for EVALSHA.
    pub(crate) sha: String,
    pub(super) allow_oom: bool,
    /// The text before the databases are filled in.
    source: String,
}

/// All scripts in one dialect.
#[derive(Clone, Debug)]
pub(crate) struct Scripts {
    pub(crate) dialect: Dialect,
    scripts: Vec<Script>,
}

impl Scripts {
    /// The library's scripts, assembled at first use.
    pub(crate) fn of(dialect: Dialect) -> &'static Self {
        static FLAGGED: OnceLock<Scripts> = OnceLock::new();
        static PLAIN: OnceLock<Scripts> = OnceLock::new();
        let cell = match dialect {
            Dialect::Flagged => &FLAGGED,
            Dialect::Plain => &PLAIN,
        };
        cell.get_or_init(|| Self::assemble(dialect, |_, text| text.to_owned()))
    }

    /// `edit` gets each operation's own text first; tests break it there.
    pub(super) fn assemble(dialect: Dialect, edit: impl Fn(ScriptName, &str) -> String) -> Self {
        let scripts = FILES.iter().map(|file| {
            let source = assemble(dialect, file.allow_oom, &edit(file.name, file.text));
            Script::new(file.name, file.allow_oom, source, None)
        });
        Self {
            dialect,
            scripts: scripts.collect(),
        }
    }

    /// The same scripts, for locks in a database of their own.
    pub(super) fn in_databases(self, databases: Databases) -> Self {
        let scripts = self.scripts.into_iter().map(|script| {
            Script::new(
                script.name,
                script.allow_oom,
                script.source,
                Some(databases),
            )
        });
        Self {
            dialect: self.dialect,
            scripts: scripts.collect(),
        }
    }

    pub(crate) fn get(&self, name: ScriptName) -> &Script {
        // FILES is in the order of the names; a test checks that.
        &self.scripts[name as usize]
    }

    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Script> {
        self.scripts.iter()
    }
}

impl Script {
    fn new(
        name: ScriptName,
        allow_oom: bool,
        source: String,
        databases: Option<Databases>,
    ) -> Self {
        let text = select(&source, databases);
        Self {
            name,
            sha: sha1_smol::Sha1::from(&text).digest().to_string(),
            text,
            allow_oom,
            source,
        }
    }

    /// The text without its `#!lua` line.
    pub(super) fn body(&self) -> &str {
        match self.text.split_once('\n') {
            Some((first, rest)) if first.starts_with("#!") => rest,
            _ => &self.text,
        }
    }
}

impl ScriptName {
    /// The name of the Lua file.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Acquire => "acquire",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Commit => "commit",
            Self::Invalidate => "invalidate",
            Self::Lease => "lease",
            Self::Extend => "extend",
            Self::GiveBack => "give_back",
            Self::Fill => "fill",
            Self::Prepare => "prepare",
        }
    }

    /// The Lua file's text as in the repository.
    #[cfg(all(test, feature = "testing"))]
    pub(super) fn file(self) -> &'static str {
        FILES[self as usize].text
    }
}

fn assemble(dialect: Dialect, allow_oom: bool, text: &str) -> String {
    let mut script = match (dialect, allow_oom) {
        (Dialect::Flagged, false) => "#!lua\n".to_owned(),
        (Dialect::Flagged, true) => "#!lua flags=allow-oom\n".to_owned(),
        (Dialect::Plain, _) => String::new(),
    };
    for line in text.lines() {
        match line.strip_prefix(INCLUDE) {
            Some("limits") => script.push_str(&limits_text(dialect)),
            Some(name) => library(name).lines().for_each(|l| push(&mut script, l)),
            None => push(&mut script, line),
        }
    }
    script
}

/// Fills the databases in.
fn select(source: &str, databases: Option<Databases>) -> String {
    let mut text = String::with_capacity(source.len());
    for line in source.lines() {
        match (line.trim_start().strip_prefix(SELECT), databases) {
            (None, _) => {
                text.push_str(line);
                text.push('\n');
            }
            (Some(_), None) => {}
            (Some(which), Some(databases)) => {
                let (which, statement) = which.split_once(' ').unwrap_or((which, ""));
                let number = match which {
                    "lock" => databases.lock,
                    _ => databases.cache,
                };
                text.push_str(&format!("redis.call('SELECT', '{number}')\n{statement}\n"));
            }
        }
    }
    text
}

/// Comments are for people: servers need not hash and keep them.
fn push(script: &mut String, line: &str) {
    let code = line.trim_start();
    if !line.is_empty() && (!code.starts_with("--") || code.starts_with(SELECT)) {
        script.push_str(line);
        script.push('\n');
    }
}

/// The `limits` that Lua needs, so that each number is defined once.
fn limits_text(dialect: Dialect) -> String {
    format!(
        "local UNLINK_CHUNK, MAX_MARKS, MAX_FENCE, FENCE_LIFE, REFUSE_OOM = {}, {}, '{}', '{}', {}\n",
        limits::UNLINK_CHUNK,
        limits::MAX_MARKS,
        limits::MAX_FENCE,
        limits::FENCE_LIFE.as_millis(),
        dialect == Dialect::Plain,
    )
}

pub(super) fn library(name: &str) -> &'static str {
    let found = LIBRARY.iter().find(|(n, _)| *n == name);
    // An unknown name fails the test that assembles everything; the server would report a missing
    // function.
    found.map_or("", |(_, text)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_library_fit_together() {
        for (index, file) in FILES.iter().enumerate() {
            assert_eq!(file.name as usize, index);
            let includes = file.text.lines().filter_map(|l| l.strip_prefix(INCLUDE));
            for include in includes.filter(|name| *name != "limits") {
                assert!(!library(include).is_empty(), "{include}");
            }
            let op = format!("{:?}", file.name).to_lowercase();
            assert_eq!(op, file.name.as_str().replace('_', ""));
        }
    }

    #[test]
    fn databases_are_worked_in_where_the_files_say() {
        let usual = Scripts::of(Dialect::Flagged);
        assert!(usual.iter().all(|script| !script.text.contains("SELECT")));
        let apart = usual.clone().in_databases(Databases { lock: 0, cache: 13 });
        let selects = |name| {
            let text = &apart.get(name).text;
            let numbers = text.split("'SELECT', '").skip(1);
            numbers
                .map(|rest| rest.split('\'').next().unwrap_or_default())
                .collect::<Vec<_>>()
        };
        assert_eq!(selects(ScriptName::Acquire), ["0"]);
        assert_eq!(selects(ScriptName::Commit), ["0", "13", "0"]);
        assert_eq!(selects(ScriptName::Invalidate), ["0", "13", "0"]);
        let leases = [
            ScriptName::Lease,
            ScriptName::Extend,
            ScriptName::GiveBack,
            ScriptName::Fill,
        ];
        for (a, b) in usual.iter().zip(apart.iter()) {
            assert_eq!(a.sha == b.sha, leases.contains(&a.name));
            assert!(a.text.starts_with("#!lua") && b.text.starts_with("#!lua"));
        }
    }

    #[test]
    fn dialects_differ_in_what_a_full_server_needs() {
        let flagged = Scripts::of(Dialect::Flagged);
        let plain = Scripts::of(Dialect::Plain);
        let first = |scripts: &'static Scripts, name| scripts.get(name).text.lines().next();
        assert_eq!(first(flagged, ScriptName::Commit), Some("#!lua"));
        assert_eq!(
            first(flagged, ScriptName::Invalidate),
            Some("#!lua flags=allow-oom")
        );
        assert!(plain.iter().all(|script| !script.text.contains("#!")));
        assert!(flagged.iter().all(|script| script.sha.len() == 40));
    }
}
