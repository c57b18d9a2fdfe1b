//! The two sides that run a history: the model, and an engine on a server.

use super::{
    super::{cmd, plain},
    step::Step,
};
use crate::{
    engine::{
        MemoryEngine, MemoryServer, Performer,
        memory::{Content, bytes},
    },
    op::{Fault, Op, Reply},
    testing::Server,
};
use redis::Value;
use std::{collections::BTreeMap, time::Duration};

/// Every key with its content and its remaining life in ms; `None` never expires.
pub(in super::super) type Dump = BTreeMap<String, (Content, Option<u64>)>;

/// A side that can run a history.
pub(in super::super) trait Side {
    fn perform(&self, op: &Op) -> Result<Reply, Fault>;
    fn set(&mut self, key: &str, text: &str, life_ms: Option<u64>);
    fn delete(&mut self, key: &str);
    /// Does nothing if the key holds a string.
    fn set_field(&mut self, key: &str, field: &str, text: &str);
    fn advance(&mut self, ms: u64);
    /// By the clock that ends leases and marks.
    fn now_ms(&mut self) -> u64;
    fn dump(&mut self) -> Dump;

    /// Runs a step; returns the reply if it is an operation.
    fn take(&mut self, step: &Step) -> Option<Result<Reply, Fault>> {
        match step {
            Step::Operation(operation) => return Some(self.perform(&operation.to_op())),
            Step::Set(key, text, life_ms) => self.set(key, text, life_ms.filter(in_bounds)),
            Step::Delete(key) => self.delete(key),
            Step::SetField(key, field, text) => self.set_field(key, field, text),
            Step::SetFlight(key, field, owner, left_ms) => {
                let expires_ms = self.now_ms() + left_ms;
                self.set_field(key, field, &format!("{owner}:{expires_ms}"));
            }
            Step::Advance(ms) => self.advance(*ms),
        }
        None
    }
}

/// A foreign program only sets valid lives.
fn in_bounds(life_ms: &u64) -> bool {
    (1..=crate::model::limits::MAX_LIFE_MS).contains(life_ms)
}

pub(in super::super) struct Model {
    server: MemoryServer,
    engine: MemoryEngine,
}

impl Model {
    pub(in super::super) fn new() -> Self {
        let server = MemoryServer::with_manual_clock();
        // Later than any time that a foreign program writes.
        server.advance(Duration::from_secs(1_000));
        let engine = MemoryEngine::new(server.clone());
        Self { server, engine }
    }
}

impl Side for Model {
    fn perform(&self, op: &Op) -> Result<Reply, Fault> {
        self.engine.perform(op)
    }

    fn set(&mut self, key: &str, text: &str, life_ms: Option<u64>) {
        self.server
            .keyspace()
            .unwrap()
            .set(key, bytes(text), life_ms);
    }

    fn delete(&mut self, key: &str) {
        self.server.keyspace().unwrap().remove(key);
    }

    fn set_field(&mut self, key: &str, field: &str, text: &str) {
        let mut keys = self.server.keyspace().unwrap();
        keys.set_field(key, field, bytes(text));
    }

    fn advance(&mut self, ms: u64) {
        self.server.advance(Duration::from_millis(ms));
    }

    fn now_ms(&mut self) -> u64 {
        self.server.keyspace().unwrap().now_ms()
    }

    fn dump(&mut self) -> Dump {
        self.server.keyspace().unwrap().dump()
    }
}

/// An engine on the test's own server, which is emptied for each history.
pub(in super::super) struct Served {
    /// For messages.
    pub(in super::super) name: String,
    engine: Box<dyn Performer>,
    plain: redis::Connection,
}

/// Takes `ARGV[1]` ms from the life of every key, lease and mark: advances the time.
const ADVANCE: &str = "
for _, key in ipairs(redis.call('KEYS', '*')) do
    if redis.call('TYPE', key).ok == 'hash' then
        for _, field in ipairs(redis.call('HKEYS', key)) do
            local text = redis.call('HGET', key, field)
            local left = string.gsub(text, '[^ ]+', function(flight)
                local owner, ends = string.match(flight, '^([lw]:[^:]*:)([1-9]%d*)$')
                if owner and #ends >= 13 and #ends <= 16 then
                    return owner .. string.format('%.0f', tonumber(ends) - tonumber(ARGV[1]))
                end
            end)
            redis.call('HSET', key, field, left)
        end
    end
    local left = redis.call('PTTL', key)
    if left >= 0 then
        redis.call('PEXPIRE', key, string.format('%.0f', left - tonumber(ARGV[1])))
    end
end";

const DUMP: &str = "
local dump = {}
for i, key in ipairs(redis.call('KEYS', '*')) do
    local hash = redis.call('TYPE', key).ok == 'hash'
    dump[i] = { key, redis.call('PTTL', key), redis.call(hash and 'HGETALL' or 'GET', key) }
end
return dump";

impl Served {
    pub(in super::super) fn new(name: &str, server: &Server, engine: Box<dyn Performer>) -> Self {
        Self {
            name: format!("{} on {}", name, server.binary()),
            engine,
            plain: plain(&server.unix_url()),
        }
    }

    pub(in super::super) fn empty(&mut self) {
        cmd::<()>(&mut self.plain, &["FLUSHDB"]);
    }
}

impl Side for Served {
    fn perform(&self, op: &Op) -> Result<Reply, Fault> {
        self.engine.perform(op)
    }

    fn set(&mut self, key: &str, text: &str, life_ms: Option<u64>) {
        let life = life_ms.map(|ms| ms.to_string());
        let mut line = vec!["SET", key, text];
        line.extend(life.iter().flat_map(|ms| ["PX", ms]));
        cmd(&mut self.plain, &line)
    }

    fn delete(&mut self, key: &str) {
        cmd(&mut self.plain, &["DEL", key])
    }

    fn set_field(&mut self, key: &str, field: &str, text: &str) {
        let set = redis::cmd("HSET")
            .arg(&[key, field, text])
            .exec(&mut self.plain);
        if let Err(e) = set {
            assert_eq!(e.code(), Some("WRONGTYPE"), "{e}");
        }
    }

    fn advance(&mut self, ms: u64) {
        cmd(&mut self.plain, &["EVAL", ADVANCE, "0", &ms.to_string()])
    }

    fn now_ms(&mut self) -> u64 {
        let (seconds, micros): (u64, u64) = cmd(&mut self.plain, &["TIME"]);
        seconds * 1_000 + micros / 1_000
    }

    fn dump(&mut self) -> Dump {
        let items: Vec<(String, i64, Value)> = cmd(&mut self.plain, &["EVAL", DUMP, "0"]);
        let items = items.into_iter().map(|(key, left, content)| {
            let content = match content {
                Value::BulkString(text) => Content::Text(text.into()),
                hash => Content::Hash(fields(hash)),
            };
            (key, (content, u64::try_from(left).ok()))
        });
        items.collect()
    }
}

fn fields(hash: Value) -> BTreeMap<String, crate::model::Bytes> {
    let fields: Vec<(String, Vec<u8>)> = redis::from_redis_value(hash).expect("fields and texts");
    let fields = fields.into_iter().map(|(name, text)| (name, text.into()));
    fields.collect()
}
