//! The permissions that each engine needs: for `cachetx acl`, and for the boot, which reports gaps.

use super::{Engine, facts::RulesFacts, mode::Mode};
use crate::{
    model::{Error, Result, error::Kind},
    op::keys,
    rules::{Rules, Template},
};
use std::{collections::BTreeSet, fmt};

/// A command that an engine needs.
struct Need {
    /// Its name in an ACL rule.
    command: &'static str,
    /// A call that changes nothing if the key (`KEY`) does not exist; empty if there is no such
    /// call.
    probe: &'static [&'static str],
}

const KEY: &str = "KEY";

const fn need(command: &'static str, probe: &'static [&'static str]) -> Need {
    Need { command, probe }
}

/// What operations do to keys, in every engine.
const EVERYWHERE: [Need; 15] = [
    need("mget", &["MGET", KEY]),
    need("get", &["GET", KEY]),
    need("getex", &["GETEX", KEY]),
    need("pttl", &["PTTL", KEY]),
    need("set", &["SET", KEY, "", "XX"]),
    need("pexpire", &["PEXPIRE", KEY, "1"]),
    need("unlink", &["UNLINK", KEY]),
    need("hmget", &["HMGET", KEY, "f"]),
    need("hdel", &["HDEL", KEY, "f"]),
    need("hset", &[]),
    need("time", &["TIME"]),
    need("type", &["TYPE", KEY]),
    need("incr", &[]),
    need("multi", &[]),
    need("exec", &[]),
];

const SCRIPT: [Need; 2] = [need("evalsha", &[]), need("script|load", &[])];
const FUNCTION: [Need; 2] = [need("fcall", &[]), need("function|load", &[])];
const WATCH: [Need; 2] = [need("watch", &[]), need("discard", &[])];
const SELECT: Need = need("select", &[]);
/// Which node serves what, and keys on their way from node to node.
const CLUSTER: [Need; 2] = [need("cluster|slots", &[]), need("asking", &[])];
const WAIT: Need = need("wait", &[]);
/// To tell waiters that a lock is free, and to be told.
const MESSAGES: [&str; 3] = ["publish", "subscribe", "unsubscribe"];

fn needs(engine: Engine) -> Vec<Need> {
    let mut needs: Vec<Need> = match engine {
        Engine::Auto | Engine::Script => SCRIPT.into(),
        Engine::Function => FUNCTION.into(),
        Engine::Watch => WATCH.into(),
    };
    needs.extend(EVERYWHERE);
    needs
}

/// Harmless calls, each refused if a permission is missing.
pub(super) fn probes(mode: &Mode, rules: &RulesFacts) -> Vec<Vec<String>> {
    let Some(key) = rules.free_key() else {
        return Vec::new();
    };
    let needs = match mode {
        Mode::Script(_) => needs(Engine::Script),
        Mode::Function(_) => needs(Engine::Function),
        Mode::Watch => needs(Engine::Watch),
    };
    let commands = needs.iter().filter(|need| !need.probe.is_empty());
    let commands = commands.map(|need| {
        let words = need.probe.iter();
        words
            .map(|word| if *word == KEY { key.as_str() } else { word })
            .map(str::to_owned)
            .collect()
    });
    let keys = rules.samples.iter().flat_map(|key| {
        let stamp = keys::sibling(key, "stamp");
        [key.clone(), stamp].map(|key| vec!["GET".to_owned(), key])
    });
    commands.chain(keys).collect()
}

/// The least permissions that a user of a server needs: commands and keys.
///
/// # Examples
///
/// ```
/// use cachetx::{Acl, Engine, Rules};
///
/// let rules = Rules::from_path("rules/nodb.json")?;
/// let acl = Acl::new(Engine::Watch).rules(&rules);
/// assert!(acl.commands().any(|command| command == "multi"));
/// assert!(acl.keys().any(|pattern| pattern == "nodb_cache:{*}:climate"));
/// println!("ACL SETUSER worker on >password resetkeys -@all {acl}");
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Acl {
    engine: Engine,
    select: bool,
    cluster: bool,
    wait: bool,
    messages: bool,
    keys: BTreeSet<String>,
    channels: BTreeSet<String>,
}

impl Acl {
    /// The commands of an engine. For [`Engine::Auto`] those of Script, which it takes if it may.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self {
            engine,
            select: false,
            cluster: false,
            wait: false,
            messages: true,
            keys: BTreeSet::new(),
            channels: BTreeSet::new(),
        }
    }

    /// For a database other than 0, or a lock database.
    #[must_use]
    pub fn with_databases(mut self) -> Self {
        self.select = true;
        self
    }

    /// For a Cluster; each of its nodes needs the user.
    #[must_use]
    pub fn for_cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// For saves that wait for replicas ([`Save::wait_replicas`](crate::Save::wait_replicas)).
    #[must_use]
    pub fn with_wait(mut self) -> Self {
        self.wait = true;
        self
    }

    /// Leaves out what only messages need: `publish`, `subscribe`, `unsubscribe` and channels.
    /// Locks work without it, but waiters for a lock, and a holder whose lock an operator clears,
    /// notice only when they ask now and then.
    #[must_use]
    pub fn without_messages(mut self) -> Self {
        self.messages = false;
        self
    }

    /// Adds the keys of these rules: values, the keys beside them, and the channels of their locks.
    #[must_use]
    pub fn rules(mut self, rules: &Rules) -> Self {
        for template in rules.templates() {
            let literals: Vec<&str> = template.literals().collect();
            let value = pattern(&literals);
            match template.hash_tag_literals() {
                Some(tag) => {
                    self.keys
                        .insert(format!("{{{}}}:cachetx:leases", pattern(&tag)));
                    self.keys.insert(format!("{value}:*"));
                    self.channels.insert(format!("{value}:lock:free"));
                }
                None => {
                    let leases = keys::leases("", (literals.len() > 1).then_some("*"));
                    self.keys.insert(leases);
                    self.keys.insert(format!("{{{value}}}:*"));
                    self.channels.insert(format!("{{{value}}}:lock:free"));
                }
            }
            self.keys.insert(value);
        }
        self
    }

    /// Adds the locks of a store with its own lock key
    /// ([`StoreBuilder::lock_key`](crate::StoreBuilder::lock_key)).
    ///
    /// # Errors
    ///
    /// Not a valid template.
    pub fn lock_key(mut self, template: &str) -> Result<Self> {
        let parsed = Template::parse(template)
            .map_err(|why| Error::new(Kind::Config(format!("the lock key `{template}`: {why}"))))?;
        let lock = pattern(&parsed.literals().collect::<Vec<_>>());
        let beside = match parsed.hash_tag_literals() {
            Some(_) => lock.clone(),
            None => format!("{{{lock}}}"),
        };
        self.keys.insert(format!("{beside}:fence"));
        self.channels.insert(format!("{beside}:free"));
        self.keys.insert(lock);
        Ok(self)
    }

    /// The commands without which operations fail, by their names in ACL rules: `get`,
    /// `script|load`.
    pub fn commands(&self) -> impl Iterator<Item = &'static str> {
        let mut needs = needs(self.engine);
        if self.select {
            needs.push(SELECT);
        }
        if self.cluster {
            needs.extend(CLUSTER);
        }
        if self.wait {
            needs.push(WAIT);
        }
        needs.into_iter().map(|need| need.command)
    }

    /// The key patterns.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(String::as_str)
    }

    /// The commands that messages need; none [without messages](Self::without_messages).
    pub fn message_commands(&self) -> impl Iterator<Item = &'static str> {
        MESSAGES.into_iter().filter(|_| self.messages)
    }

    /// The patterns of the channels for messages; none [without messages](Self::without_messages).
    pub fn channels(&self) -> impl Iterator<Item = &str> {
        let channels = self.channels.iter().filter(|_| self.messages);
        channels.map(String::as_str)
    }
}

/// The words for `ACL SETUSER`, after `-@all`: `+get ~nodb_cache:*:climate … +publish …
/// resetchannels &…`. From `+publish` on they are for messages, and optional.
impl fmt::Display for Acl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let commands = self.commands().map(|command| format!("+{command}"));
        let keys = self.keys().map(|pattern| format!("~{pattern}"));
        let messages = self.message_commands().map(|command| format!("+{command}"));
        let channels = self.channels().map(|pattern| format!("&{pattern}"));
        // Redis 6.2 allows new users all channels, and then accepts no pattern.
        let reset = self.messages.then(|| "resetchannels".to_owned());
        let messages = messages.chain(reset).chain(channels);
        let words = commands.chain(keys).chain(messages);
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}

/// The glob for a template's keys: any value between its literals.
fn pattern(literals: &[&str]) -> String {
    let escaped = literals.iter().map(|literal| {
        let mut text = String::with_capacity(literal.len());
        for character in literal.chars() {
            if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
                text.push('\\');
            }
            text.push(character);
        }
        text
    });
    escaped.collect::<Vec<_>>().join("*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_hold_literals_and_what_is_kept_beside() {
        let rules = Rules::from_json(
            r#"{ "version": "1.0", "rules": {},
                 "cache_keys": { "a": "x[1]:{run}:a", "b": "y:{{{run}-{part}}}:b", "c": "runs" } }"#,
        )
        .unwrap();
        let acl = Acl::new(Engine::Script).rules(&rules);
        assert_eq!(
            acl.keys().collect::<Vec<_>>(),
            [
                "cachetx:leases",
                "cachetx:leases:*",
                "runs",
                r"x\[1\]:*:a",
                "y:{*-*}:b",
                "y:{*-*}:b:*",
                "{*-*}:cachetx:leases",
                "{runs}:*",
                r"{x\[1\]:*:a}:*",
            ]
        );
        let channels = [
            "y:{*-*}:b:lock:free",
            "{runs}:lock:free",
            r"{x\[1\]:*:a}:lock:free",
        ];
        assert_eq!(acl.channels().collect::<Vec<_>>(), channels);
        assert!(acl.to_string().contains(" +publish +subscribe "));
        let mute = acl.without_messages();
        assert_eq!(mute.channels().count(), 0);
        assert!(!mute.to_string().contains("publish"));
        let acl = Acl::new(Engine::Watch).with_databases();
        let acl = acl.lock_key("lock:{run}:{controller}").unwrap();
        assert_eq!(
            acl.keys().collect::<Vec<_>>(),
            ["lock:*:*", "{lock:*:*}:fence"]
        );
        assert_eq!(acl.channels().collect::<Vec<_>>(), ["{lock:*:*}:free"]);
        assert!(acl.to_string().starts_with("+watch "));
        assert!(acl.commands().any(|command| command == "select"));
        assert!(Acl::new(Engine::Auto).lock_key("{").is_err());
    }
}
