//! The document, its dependents, and connections.

use cachetx::{BoxError, Params, Rules};
use redis::{Connection, ConnectionInfo, IntoConnectionInfo as _, io::tcp::TcpSettings};
use std::{fmt, sync::Arc, time::Duration};

pub const RUN: &str = "copacetic-sled";
pub const TASK: &str = "build";
/// Bytes of a dependent's entry.
const DEPENDENT_BYTES: usize = 256;
/// For all ways. Long, so that a short stall of the machine does not end a run.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// How much a save writes and deletes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub bytes: usize,
    pub dependents: usize,
}

impl Size {
    pub const fn new(kib: usize, dependents: usize) -> Self {
        Self {
            bytes: kib << 10,
            dependents,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} KiB, {} dependents",
            self.bytes >> 10,
            self.dependents
        )
    }
}

/// One document of the run: its keys and the value that is saved.
#[derive(Clone)]
pub struct Scene {
    pub size: Size,
    pub rules: Rules,
    /// The rules file.
    pub rules_text: String,
    /// The document's name in the rules.
    pub controller: String,
    /// Other documents with the same dependents, one for each way of updating: no other way sets
    /// their entries.
    pub updated: [String; 2],
    pub own: String,
    pub dependents: Vec<String>,
    pub value: Arc<[u8]>,
}

impl Scene {
    pub fn new(size: Size) -> Result<Self, BoxError> {
        Ok(Self::many(size, 1)?.remove(0))
    }

    /// This many documents of one run. A save of any of them deletes the same dependents.
    pub fn many(size: Size, documents: usize) -> Result<Vec<Self>, BoxError> {
        let rules_text = rules(documents + 2, size.dependents);
        let rules = Rules::from_json(&rules_text)?;
        let value: Arc<[u8]> = format!("\"{}\"", "v".repeat(size.bytes - 2))
            .into_bytes()
            .into();
        (0..documents)
            .map(|n| {
                let controller = controller(n);
                let dependents = rules.expand_for(&controller, [TASK], &params())?;
                Ok(Self {
                    size,
                    own: rules.key(&controller, &params())?,
                    dependents: dependents.iter().map(str::to_owned).collect(),
                    rules: rules.clone(),
                    rules_text: rules_text.clone(),
                    controller,
                    updated: [documents, documents + 1].map(self::controller),
                    value: Arc::clone(&value),
                })
            })
            .collect()
    }

    /// Sets all dependents, so that there is something to delete.
    pub fn warm(&self, connection: &mut Connection) -> redis::RedisResult<()> {
        if self.dependents.is_empty() {
            return Ok(());
        }
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

fn controller(n: usize) -> String {
    format!("document_{n:02}")
}

/// Documents, and a task that makes this many other entries out of date.
fn rules(documents: usize, dependents: usize) -> String {
    let derived: Vec<String> = (0..dependents).map(|n| format!("derived_{n:03}")).collect();
    let names = derived
        .iter()
        .cloned()
        .chain((0..documents).map(controller));
    let keys: serde_json::Map<String, serde_json::Value> = names
        .map(|name| {
            let key = format!("nodb_cache:{{{{{{run_id}}}}}}:{name}");
            (name, key.into())
        })
        .collect();
    serde_json::json!({
        "version": "1.0",
        "cache_keys": keys,
        "rules": { TASK: { "invalidates_cache": derived } },
    })
    .to_string()
}

/// A connection with the library's settings: no delay, and bounded waits.
pub fn connect(url: &str) -> redis::RedisResult<Connection> {
    let info: ConnectionInfo = url.into_connection_info()?;
    let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
    let connection = redis::Client::open(info)?.get_connection()?;
    connection.set_read_timeout(Some(RESPONSE_TIMEOUT))?;
    connection.set_write_timeout(Some(RESPONSE_TIMEOUT))?;
    Ok(connection)
}
