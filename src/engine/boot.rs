//! Loads the scripts and says what it found.

use super::{
    reply::{code, server_error},
    session::{Failure, Session, nonsense},
    source::{Dialect, Scripts},
    wire::Packed,
};
use crate::Error;
use redis::Value;
use std::fmt;

/// What a boot found on the server, and what it loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineReport {
    /// How operations run: `script`.
    pub engine: String,
    /// `redis` or `valkey`; `unknown` where the server may not be asked.
    pub flavour: String,
    /// The server's version; `unknown` where the server may not be asked.
    pub version: String,
    /// Which servers there are: `single`, `cluster of 3 primaries`, `sentinel mymaster`.
    pub topology: String,
    /// Whether scripts carry a `#!lua` line, whose flags let a full server refuse them before they start.
    pub flagged: bool,
    /// Whether scripts could be loaded; where SCRIPT is denied they are sent whole at first use.
    pub loaded: bool,
    /// Each script's name and SHA-1.
    pub scripts: Vec<(String, String)>,
    /// What works, and not as it should.
    pub warnings: Vec<String>,
}

impl fmt::Display for EngineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "engine {} on {} {}, {}: {} scripts {}{}",
            self.engine,
            self.flavour,
            self.version,
            self.topology,
            self.scripts.len(),
            if self.loaded { "loaded" } else { "sent whole" },
            if self.flagged { "" } else { ", without flags" },
        )?;
        for (name, sha) in &self.scripts {
            write!(f, "\n  {name} {sha}")?;
        }
        for warning in &self.warnings {
            write!(f, "\n  warning: {warning}")?;
        }
        Ok(())
    }
}

/// The scripts that the server understands.
#[derive(Debug)]
pub(super) struct Booted {
    pub(super) scripts: Scripts,
    pub(super) report: EngineReport,
}

/// How to assemble a dialect; tests put broken scripts in.
pub(super) type Assemble = fn(Dialect) -> Scripts;

/// Tries the dialects on the server, the flagged one first: what it understands counts, not its version.
pub(super) fn boot(session: &mut Session<'_>, assemble: Assemble) -> Result<Booted, Failure> {
    let scripts = assemble(Dialect::Flagged);
    let mut replies = session.exchange(|packed| {
        pack_loads(&scripts, packed);
        packed.request(&[b"INFO", b"server"]);
    })?;
    let info = replies.pop().unwrap_or(Value::Nil);
    let (scripts, loaded) = match first_error(&replies) {
        None => (checked(scripts, &replies)?, true),
        Some("NOPERM") => (unloaded(session, assemble)?, false),
        // Not this dialect, or something that the other one is refused for too.
        Some(_) => {
            let scripts = assemble(Dialect::Plain);
            let replies = session.exchange(|packed| pack_loads(&scripts, packed))?;
            (checked(scripts, &replies)?, true)
        }
    };
    let report = report(&scripts, loaded, &info);
    Ok(Booted { scripts, report })
}

fn pack_loads(scripts: &Scripts, packed: &mut Packed) {
    for script in scripts.iter() {
        packed.request(&[b"SCRIPT", b"LOAD", script.text.as_bytes()]);
    }
}

fn first_error(replies: &[Value]) -> Option<&str> {
    replies.iter().find_map(code)
}

/// Holds the server's digests against ours.
fn checked(scripts: Scripts, replies: &[Value]) -> Result<Scripts, Failure> {
    if replies.len() != scripts.iter().len() {
        return Err(nonsense("SCRIPT LOAD"));
    }
    for (script, reply) in scripts.iter().zip(replies) {
        check_sha(&script.sha, reply)?;
    }
    Ok(scripts)
}

/// Whether `reply` to SCRIPT LOAD is the digest that EVALSHA will be called with.
pub(super) fn check_sha(sha: &str, reply: &Value) -> Result<(), Failure> {
    match reply {
        Value::BulkString(answer) if answer == sha.as_bytes() => Ok(()),
        Value::ServerError(error) => Err(Failure::Refused(server_error(error))),
        _ => Err(nonsense("SCRIPT LOAD gave another digest")),
    }
}

/// SCRIPT is denied: EVAL tells the dialects apart, and where that is denied too the newer one is assumed, in case that
/// somebody else has loaded the scripts.
fn unloaded(session: &mut Session<'_>, assemble: Assemble) -> Result<Scripts, Failure> {
    let reply = session.ask(|packed| packed.request(&[b"EVAL", b"#!lua\nreturn 1", b"0"]))?;
    Ok(assemble(match code(&reply) {
        None | Some("NOPERM") => Dialect::Flagged,
        Some(_) => Dialect::Plain,
    }))
}

fn report(scripts: &Scripts, loaded: bool, info: &Value) -> EngineReport {
    let info = match info {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::VerbatimString { text, .. } => text.clone(),
        _ => String::new(),
    };
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
    };
    let valkey = field("valkey_version:");
    let redis = field("redis_version:");
    let flavour = match (&valkey, &redis) {
        (Some(_), _) => "valkey",
        (None, Some(_)) => "redis",
        (None, None) => "unknown",
    };
    let mut warnings = Vec::new();
    if !loaded {
        warnings.push(
            "SCRIPT LOAD is denied: each script is sent whole whenever the server lacks it"
                .to_owned(),
        );
    }
    EngineReport {
        engine: "script".to_owned(),
        flavour: flavour.to_owned(),
        version: valkey.or(redis).unwrap_or_else(|| "unknown".to_owned()),
        topology: "single".to_owned(),
        flagged: scripts.dialect == Dialect::Flagged,
        loaded,
        scripts: scripts
            .iter()
            .map(|script| (script.name.as_str().to_owned(), script.sha.clone()))
            .collect(),
        warnings,
    }
}

/// The failure of a boot, as an error of its own: no operation was sent.
pub(super) fn boot_error(error: &Error) -> Error {
    Error::new(match error.is_unavailable() {
        true => crate::error::Kind::Unavailable {
            message: format!("boot: {error}"),
        },
        false => crate::error::Kind::Server {
            message: format!("boot: {error}"),
        },
    })
}
