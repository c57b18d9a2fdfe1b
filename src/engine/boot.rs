//! Loads the scripts and says what it found.

use super::{
    Engine, function,
    library::Library,
    reply::{code, is_denied, is_unknown_command},
    script,
    session::{Failure, Session},
    source::{Dialect, Scripts},
    watch,
};
use crate::{Error, error::Kind};
use redis::Value;
use std::fmt;

/// What a boot found on the server, and what it loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineReport {
    /// How operations run: `script`, `function` or `watch`.
    pub engine: String,
    /// `redis` or `valkey`; `unknown` where the server may not be asked.
    pub flavour: String,
    /// The server's version; `unknown` where the server may not be asked.
    pub version: String,
    /// Whether scripts carry a `#!lua` line, whose flags let a full server refuse them before they start.
    pub flagged: bool,
    /// Whether all that the engine needs could be loaded; where SCRIPT is denied scripts are sent whole at first use.
    pub loaded: bool,
    /// Each operation that is Lua on the server, with its script's SHA-1 or its function's name.
    pub programs: Vec<(String, String)>,
    /// What works, and not as it should.
    pub warnings: Vec<String>,
}

impl fmt::Display for EngineReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "engine {} on {} {}: {} programs {}{}",
            self.engine,
            self.flavour,
            self.version,
            self.programs.len(),
            if self.loaded { "loaded" } else { "not loaded" },
            if self.flagged { "" } else { ", without flags" },
        )?;
        for (name, sha) in &self.programs {
            write!(f, "\n  {name} {sha}")?;
        }
        for warning in &self.warnings {
            write!(f, "\n  warning: {warning}")?;
        }
        Ok(())
    }
}

/// What a boot found on one server.
pub(super) struct Booted {
    pub(super) mode: Mode,
    pub(super) report: EngineReport,
}

/// How operations run on one server.
pub(super) enum Mode {
    /// As the scripts that the server understands.
    Script(Scripts),
    Function(Library),
    /// Without Lua.
    Watch,
}

/// How to assemble a dialect; tests put broken scripts in.
pub(super) type Assemble = fn(Dialect) -> Scripts;

/// Tries on the server what `engine` asks for: what it understands counts, not its version.
pub(super) fn boot(
    session: &mut Session<'_>,
    engine: Engine,
    assemble: Assemble,
) -> Result<Booted, Failure> {
    match engine {
        Engine::Auto | Engine::Script => boot_scripts(session, assemble),
        Engine::Watch => boot_watch(session),
        Engine::Function => boot_functions(session, assemble),
    }
}

/// Tries the flagged dialect first.
fn boot_scripts(session: &mut Session<'_>, assemble: Assemble) -> Result<Booted, Failure> {
    let scripts = assemble(Dialect::Flagged);
    let mut replies = session.exchange(|packed| {
        script::pack_loads(&scripts, packed);
        packed.request(&[b"INFO", b"server"]);
    })?;
    let found = Found::in_info(&replies.pop().unwrap_or(Value::Nil));
    let (scripts, loaded) = match first_error(&replies) {
        None => (script::checked(scripts, &replies)?, true),
        Some("NOPERM") => (unloaded(session, assemble)?, false),
        // Not this dialect, or something that the other one is refused for too.
        Some(_) => {
            let scripts = assemble(Dialect::Plain);
            let replies = session.exchange(|packed| script::pack_loads(&scripts, packed))?;
            (script::checked(scripts, &replies)?, true)
        }
    };
    let mut warnings = Vec::new();
    if !loaded {
        warnings.push(
            "SCRIPT LOAD is denied: each script is sent whole whenever the server lacks it"
                .to_owned(),
        );
    }
    let programs = scripts
        .iter()
        .map(|script| (script.name.as_str().to_owned(), script.sha.clone()));
    let report = EngineReport {
        engine: "script".to_owned(),
        flavour: found.flavour,
        version: found.version,
        flagged: scripts.dialect == Dialect::Flagged,
        loaded,
        programs: programs.collect(),
        warnings,
    };
    let mode = Mode::Script(scripts);
    Ok(Booted { mode, report })
}

fn first_error(replies: &[Value]) -> Option<&str> {
    replies.iter().find_map(code)
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

/// Functions know flags wherever there are any.
fn boot_functions(session: &mut Session<'_>, assemble: Assemble) -> Result<Booted, Failure> {
    let library = Library::of(&assemble(Dialect::Flagged));
    let mut replies = session.exchange(|packed| {
        function::pack_load(&library, packed);
        packed.request(&[b"INFO", b"server"]);
    })?;
    let found = Found::in_info(&replies.pop().unwrap_or(Value::Nil));
    let answer = replies.pop().unwrap_or(Value::Nil);
    if is_unknown_command(&answer) {
        return Err(Failure::Refused(no_functions(&found)));
    }
    let mut warnings = Vec::new();
    let loaded = !is_denied(&answer);
    match loaded {
        true => function::check_loaded(&library, &answer)?,
        false => warnings.push(format!(
            "FUNCTION LOAD is denied: somebody who may has to load the library {}",
            library.name
        )),
    }
    let functions = library
        .functions()
        .map(|(name, function)| (name.as_str().to_owned(), function.clone()));
    let report = EngineReport {
        engine: "function".to_owned(),
        flavour: found.flavour,
        version: found.version,
        flagged: true,
        loaded,
        programs: functions.collect(),
        warnings,
    };
    let mode = Mode::Function(library);
    Ok(Booted { mode, report })
}

/// Nothing to load; but whether transactions can be opened is known from here on.
fn boot_watch(session: &mut Session<'_>) -> Result<Booted, Failure> {
    let mut replies = session.exchange(|packed| {
        watch::pack_probe(packed);
        packed.request(&[b"INFO", b"server"]);
    })?;
    let found = Found::in_info(&replies.pop().unwrap_or(Value::Nil));
    watch::check_probe(session, &replies)?;
    let report = EngineReport {
        engine: "watch".to_owned(),
        flavour: found.flavour,
        version: found.version,
        flagged: false,
        loaded: true,
        programs: Vec::new(),
        warnings: Vec::new(),
    };
    let mode = Mode::Watch;
    Ok(Booted { mode, report })
}

fn no_functions(found: &Found) -> Error {
    Error::new(Kind::Server {
        message: format!(
            "this server ({} {}) has no FUNCTION: Redis has it from 7.0 on; Engine::Auto, Engine::Script and Engine::Watch work without",
            found.flavour, found.version
        ),
    })
}

/// What the server says of itself.
struct Found {
    flavour: String,
    version: String,
}

impl Found {
    fn in_info(reply: &Value) -> Self {
        let info = match reply {
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
        Self {
            flavour: flavour.to_owned(),
            version: valkey.or(redis).unwrap_or_else(|| "unknown".to_owned()),
        }
    }
}

/// The failure of a boot, as an error of its own: no operation was sent.
pub(super) fn boot_error(error: &Error) -> Error {
    Error::new(match error.is_unavailable() {
        true => Kind::Unavailable {
            message: format!("boot: {error}"),
        },
        false => Kind::Server {
            message: format!("boot: {error}"),
        },
    })
}
