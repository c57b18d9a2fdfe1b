//! The report of a boot.

use crate::model::counted;
use serde::Serialize;
use std::fmt;

/// What a boot found on the server, and what it loaded.
///
/// Information that the server denies (`INFO`, `CONFIG GET` and the like may be denied) is left
/// out.
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// let report = cache.report().ok_or("the server was never reached")?;
/// for warning in &report.warnings {
///     eprintln!("{warning}");
/// }
/// println!("{report}");
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct EngineReport {
    /// How operations run: `script`, `function` or `watch`.
    pub engine: String,
    /// The server, without credentials; in a Cluster, all that were booted.
    pub server: String,
    /// `single`, `cluster of 3 primaries`, `sentinel mymaster`.
    pub topology: String,
    /// `redis` or `valkey`; `unknown` if the server denies it.
    pub flavour: String,
    /// The server's version; `unknown` if the server denies it.
    pub version: String,
    /// Whether scripts carry a `#!lua` line, whose flags let a full server refuse them before they
    /// start.
    pub flagged: bool,
    /// Whether all that the engine needs could be loaded. If SCRIPT is denied, scripts are sent
    /// whole at first use.
    pub loaded: bool,
    /// Each operation that is Lua on the server, with its script's SHA-1 or its function's name.
    pub programs: Vec<(String, String)>,
    /// The digest of the rules in force ([`Rules::digest`](crate::Rules::digest)).
    pub rules: Option<String>,
    /// Notes that need no action.
    pub notes: Vec<String>,
    /// What works, but not as it should.
    pub warnings: Vec<String>,
    /// How each server that was booted is set up.
    pub servers: Vec<ServerFacts>,
}

/// How one server is set up, as it reports itself; `None` for what it denies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServerFacts {
    /// The server, without credentials.
    pub server: String,
    /// `maxmemory`, in bytes; 0 means no limit.
    pub maxmemory_bytes: Option<u64>,
    /// `maxmemory-policy`: what the server evicts when its memory is full.
    pub maxmemory_policy: Option<String>,
    /// Whether it writes an append-only file.
    pub appendonly: Option<bool>,
    /// When it writes snapshots (`save`); empty means never.
    pub save: Option<String>,
    /// `master` or `slave`.
    pub role: Option<String>,
    /// The number of connected replicas.
    pub replicas: Option<u64>,
}

impl EngineReport {
    /// Adds another server of the same Cluster.
    pub(super) fn take_in(&mut self, other: &Self) {
        self.server = format!("{}, {}", self.server, other.server);
        self.loaded &= other.loaded;
        self.servers.extend_from_slice(&other.servers);
        for warning in &other.warnings {
            if !self.warnings.contains(warning) {
                self.warnings.push(warning.clone());
            }
        }
    }

    /// The report as a JSON object with the fields' names.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings and booleans: nothing in it can fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for EngineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "engine {} on {} {} (",
            self.engine, self.flavour, self.version
        )?;
        // In memory there is no address.
        if !self.server.is_empty() {
            write!(f, "{}, ", self.server)?;
        }
        write!(f, "{})", self.topology)?;
        if !self.programs.is_empty() {
            let loaded = if self.loaded { "loaded" } else { "not loaded" };
            let flags = if self.flagged { "" } else { ", without flags" };
            let programs = counted(self.programs.len(), "program", "programs");
            write!(f, ": {programs} {loaded}{flags}")?;
        }
        for (operation, program) in &self.programs {
            write!(f, "\n  {operation} {program}")?;
        }
        if let Some(rules) = &self.rules {
            write!(f, "\n  rules {rules}")?;
        }
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        for warning in &self.warnings {
            write!(f, "\n  warning: {warning}")?;
        }
        Ok(())
    }
}
