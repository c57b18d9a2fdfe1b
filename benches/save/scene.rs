//! What both sides save: one document and its dependents.

use cachetx::{BoxError, Params, Rules};
use serde::{Deserialize, Serialize};

pub const RUN: &str = "copacetic-sled";
pub const CONTROLLER: &str = "document";
pub const TASK: &str = "build";
/// Bytes of a dependent's entry.
const DEPENDENT_BYTES: usize = 256;

#[derive(Serialize, Deserialize)]
pub struct Content {
    pub saves: u64,
    pub note: String,
}

impl Content {
    pub fn of(bytes: usize) -> Self {
        Self {
            saves: 0,
            note: "n".repeat(bytes),
        }
    }
}

/// The keys on the server.
#[derive(Clone)]
pub struct Names {
    pub own: String,
    pub dependents: Vec<String>,
}

impl Names {
    pub fn new(rules: &Rules) -> Result<Self, BoxError> {
        let dependents = rules.expand_for(CONTROLLER, [TASK], &params())?;
        Ok(Self {
            own: rules.key(CONTROLLER, &params())?,
            dependents: dependents.iter().map(str::to_owned).collect(),
        })
    }

    /// Puts all dependents there, so that there is something to delete.
    pub fn warm(&self, connection: &mut redis::Connection) -> redis::RedisResult<()> {
        let value = [b'd'; DEPENDENT_BYTES];
        let mut set = redis::cmd("MSET");
        for key in &self.dependents {
            set.arg(key).arg(&value);
        }
        set.exec(connection)
    }
}

pub fn params() -> Params {
    Params::new().with("run_id", RUN)
}

/// A document, and a task that makes so many other entries out of date.
pub fn rules(dependents: usize) -> Result<Rules, BoxError> {
    let names: Vec<String> = (0..dependents).map(|n| format!("derived_{n:03}")).collect();
    let keys = names.iter().map(String::as_str).chain([CONTROLLER]);
    let keys = keys.map(|name| (name, format!("nodb_cache:{{{{{{run_id}}}}}}:{name}").into()));
    let keys: serde_json::Map<String, serde_json::Value> =
        keys.map(|(name, key)| (name.to_owned(), key)).collect();
    let text = serde_json::json!({
        "version": "1.0",
        "cache_keys": keys,
        "rules": { TASK: { "invalidates_cache": names } },
    });
    Ok(Rules::from_json(&text.to_string())?)
}
