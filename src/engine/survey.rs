//! What a boot learns about a server besides how to run operations. What the server denies is left
//! out.

use super::{
    acl,
    facts::RulesFacts,
    failure::{Failure, nonsense},
    mode::Mode,
    notice::{self, Notice},
    reply::{code, is_denied, server_error},
    report::ServerFacts,
    room::Room,
    run_id::{Identity, RunId},
    session::Session,
    warning::Warning,
    wire::Packed,
};
use redis::{FromRedisValue, Value};
use std::collections::BTreeMap;

/// How many replies [`pack`] asks for.
pub(super) const REQUESTS: usize = 9;

pub(super) fn pack(packed: &mut Packed) {
    packed.request(&[b"INFO", b"server"]);
    packed.request(&[b"INFO", b"memory"]);
    packed.request(&[b"INFO", b"persistence"]);
    packed.request(&[b"CONFIG", b"GET", b"save"]);
    packed.request(&[b"TIME"]);
    packed.request(&[b"HGETALL", notice::RULES_KEY.as_bytes()]);
    // One pattern each: Redis 6.2 takes no more.
    packed.request(&[b"CONFIG", b"GET", BULK.as_bytes()]);
    packed.request(&[b"CONFIG", b"GET", QUERY.as_bytes()]);
    packed.request(&[b"INFO", b"replication"]);
}

const BULK: &str = "proto-max-bulk-len";
const QUERY: &str = "client-query-buffer-limit";

/// The run id of the connection's server. Requested once per connection, since no connection
/// outlives a run.
pub(super) async fn run_id(session: &mut Session<'_>) -> Result<RunId, Failure> {
    match known_run(session) {
        Some(run) => Ok(run),
        None => ask_run_id(session).await,
    }
}

/// Always requests the run id, which also shows that the connection works.
pub(super) async fn ask_run_id(session: &mut Session<'_>) -> Result<RunId, Failure> {
    let reply = session
        .ask(|packed| packed.request(&[b"INFO", b"server"]))
        .await?;
    if let Value::ServerError(error) = &reply
        && !is_denied(&reply)
    {
        return Err(Failure::Refused(server_error(error)));
    }
    identify(session, field(&info(&reply), "run_id"));
    known_run(session).ok_or_else(|| nonsense("INFO"))
}

/// `None` if it was not requested yet.
fn known_run(session: &Session<'_>) -> Option<RunId> {
    match &session.identity {
        Identity::Told(run) => Some(run.clone()),
        Identity::Untold => Some(session.peer.untold_run()),
        Identity::Unasked => None,
    }
}

/// Remembers the run id that the server gave.
pub(super) fn identify(session: &mut Session<'_>, run_id: Option<&str>) {
    session.identity = match run_id {
        Some(name) => Identity::Told(RunId::told(name)),
        None => Identity::Untold,
    };
}

pub(super) struct Survey {
    /// `redis`, `valkey` or `unknown`.
    pub(super) flavour: String,
    pub(super) version: String,
    pub(super) run_id: Option<String>,
    pub(super) warnings: Vec<Warning>,
    pub(super) room: Room,
    /// Without the server's name.
    pub(super) facts: ServerFacts,
    /// The server's time, in s; `None` if it is denied.
    now_s: Option<u64>,
    /// The notices that boots left, by the digest of their rules.
    seen: BTreeMap<String, Notice>,
}

impl Survey {
    pub(super) fn read(replies: Vec<Value>) -> Self {
        let mut replies = replies.into_iter();
        let mut next = || replies.next().unwrap_or(Value::Nil);
        let (server, memory, persistence) = (info(&next()), info(&next()), info(&next()));
        let (save, time, seen) = (pairs(next()), texts(next()), pairs(next()));
        let bytes = |reply: Value, name: &str| pairs(reply).get(name)?.parse().ok();
        let usual = Room::default();
        let room = Room {
            bulk: bytes(next(), BULK).unwrap_or(usual.bulk),
            query: bytes(next(), QUERY).unwrap_or(usual.query),
        };
        let facts = facts(&memory, &persistence, &save, &info(&next()));
        let valkey = field(&server, "valkey_version");
        let redis = field(&server, "redis_version");
        let flavour = match (valkey, redis) {
            (Some(_), _) => "valkey",
            (None, Some(_)) => "redis",
            (None, None) => "unknown",
        };
        let warnings = eviction(&memory).into_iter();
        let seen = seen
            .into_iter()
            .filter_map(|(digest, notice)| Some((digest, Notice::parse(&notice)?)));
        Self {
            flavour: flavour.to_owned(),
            version: valkey.or(redis).unwrap_or("unknown").to_owned(),
            run_id: field(&server, "run_id").map(str::to_owned),
            warnings: warnings
                .chain(persisted(&persistence, &save))
                .map(Warning::from)
                .collect(),
            room,
            facts,
            now_s: time.first().and_then(|seconds| seconds.parse().ok()),
            seen: seen.collect(),
        }
    }

    /// Checks what concerns the rules: other versions of them, and what the ACL denies of what they
    /// need. Leaves a notice of these rules too, unless the cache is told not to.
    pub(super) async fn look_closer(
        &mut self,
        session: &mut Session<'_>,
        mode: &Mode,
    ) -> Result<(), Failure> {
        let config = session.peer.config();
        let rules = config.rules.as_ref();
        let Some(rules) = rules.and_then(|rules| RulesFacts::of(&rules.get())) else {
            return Ok(());
        };
        let outdated = self.compare(&rules);
        let now_s = self.now_s.filter(|_| config.leaves_notice);
        let probes = acl::probes(mode, &rules);
        let mut published = 0;
        let replies = session
            .exchange(|packed| {
                if let Some(now_s) = now_s {
                    notice::publish(&rules, now_s, &outdated, packed);
                    published = packed.count;
                }
                for probe in &probes {
                    let words: Vec<&[u8]> = probe.iter().map(|word| word.as_bytes()).collect();
                    packed.request(&words);
                }
            })
            .await?;
        let gaps = replies.iter().skip(published).zip(&probes);
        for (reply, probe) in gaps {
            if let (Value::ServerError(error), Some("NOPERM")) = (reply, code(reply)) {
                let call = probe[..probe.len().min(2)].join(" ");
                let gap = format!("the ACL denies `{call}`: {}", server_error(error));
                self.warnings.push(gap.into());
            }
        }
        Ok(())
    }

    /// Warns of other rules for the same keys; returns the digests of outdated notices.
    fn compare(&mut self, rules: &RulesFacts) -> Vec<String> {
        let now_s = self.now_s.unwrap_or_default();
        let mut outdated = Vec::new();
        for (digest, notice) in self
            .seen
            .iter()
            .filter(|(digest, _)| **digest != rules.digest)
        {
            if notice.is_outdated(now_s) {
                outdated.push(digest.clone());
            } else if notice.may_concern(&rules.rules) {
                self.warnings.push(notice.warning(digest, rules, now_s));
            }
        }
        outdated
    }
}

fn facts(
    memory: &str,
    persistence: &str,
    save: &BTreeMap<String, String>,
    replication: &str,
) -> ServerFacts {
    let text = |info, name| field(info, name).map(str::to_owned);
    ServerFacts {
        server: String::new(),
        maxmemory_bytes: field(memory, "maxmemory").and_then(|bytes| bytes.parse().ok()),
        maxmemory_policy: text(memory, "maxmemory_policy"),
        appendonly: field(persistence, "aof_enabled").map(|enabled| enabled == "1"),
        save: save.get("save").cloned(),
        role: text(replication, "role"),
        replicas: field(replication, "connected_slaves").and_then(|count| count.parse().ok()),
    }
}

/// All locks, leases and marks expire, so no policy but `noeviction` spares them.
fn eviction(memory: &str) -> Option<String> {
    let policy = field(memory, "maxmemory_policy").filter(|policy| *policy != "noeviction")?;
    field(memory, "maxmemory").filter(|limit| *limit != "0")?;
    Some(format!(
        "maxmemory-policy {policy} can drop locks, leases and marks when memory runs out: use noeviction, or memory enough"
    ))
}

fn persisted(persistence: &str, save: &BTreeMap<String, String>) -> Option<String> {
    let snapshots = save.get("save").is_some_and(|points| !points.is_empty());
    let log = field(persistence, "aof_enabled")?;
    (snapshots && log == "0").then(|| {
        "RDB snapshots without AOF: a server that crashes comes back with entries that were deleted since its last snapshot"
            .to_owned()
    })
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = info.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(str::trim)
}

fn info(reply: &Value) -> String {
    match reply {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::VerbatimString { text, .. } => text.clone(),
        _ => String::new(),
    }
}

fn texts(reply: Value) -> Vec<String> {
    FromRedisValue::from_redis_value(reply).unwrap_or_default()
}

fn pairs(reply: Value) -> BTreeMap<String, String> {
    FromRedisValue::from_redis_value(reply).unwrap_or_default()
}
