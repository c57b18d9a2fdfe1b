//! Finds out, by trying, how operations can run on a server, and loads what they need.

use super::{
    Engine, EngineReport,
    facts::RulesFacts,
    failure::Failure,
    function,
    library::FunctionLibrary,
    lua::Program as _,
    mode::Mode,
    refusal::Meaning,
    reply::{code, is_denied, is_unknown_command, meaning_of},
    report::ServerFacts,
    room::Room,
    script,
    session::Session,
    source::{Dialect, Scripts},
    survey::{self, Survey},
    warning::Warning,
    watch,
    wire::Packed,
};
use crate::model::{Error, error::Kind};
use redis::Value;

/// What a boot found on one server.
pub(super) struct Booted {
    pub(super) mode: Mode,
    pub(super) report: EngineReport,
    /// The warnings of the report.
    pub(super) warnings: Vec<Warning>,
    pub(super) room: Room,
}

/// Assembles a dialect. Tests inject broken scripts.
pub(super) type Assemble = Box<dyn Fn(Dialect) -> Scripts + Send + Sync>;

/// The chosen mode, and what to report about it.
struct Choice {
    mode: Mode,
    loaded: bool,
    warning: Option<String>,
}

impl Choice {
    fn new(mode: Mode) -> Self {
        Self {
            mode,
            loaded: true,
            warning: None,
        }
    }
}

/// Tries on the server what the settings ask for: its behaviour decides, not its version. Usually
/// it takes one round trip, one more for a server without flags, and one for what the report says
/// about rules and permissions.
pub(super) async fn boot(
    session: &mut Session<'_>,
    assemble: &Assemble,
) -> Result<Booted, Failure> {
    let engine = session.peer.config().engine;
    // Fails here, before anything is done, if there is no such database.
    session.enter_locks().await?;
    session.leave_locks().await?;
    let scripts = assembled(session, assemble, Dialect::Flagged);
    let library = FunctionLibrary::of(&scripts);
    let mut replies = session
        .exchange(|packed| {
            survey::pack(packed);
            match engine {
                Engine::Auto | Engine::Script => pack_scripts(&scripts, packed),
                Engine::Function => pack_library(&library, packed),
                Engine::Watch => watch::pack_probe(packed),
            }
        })
        .await?;
    let tried = replies.split_off(survey::REQUESTS);
    let mut survey = Survey::read(replies);
    let choice = match engine {
        Engine::Auto => choose(session, scripts, &tried, assemble).await?,
        Engine::Script => take_scripts(session, scripts, &tried, assemble).await?,
        Engine::Function => take_functions(library, &tried, &survey)?,
        Engine::Watch => {
            watch::check_probe(session, &tried)?;
            Choice::new(Mode::Watch)
        }
    };
    survey
        .warnings
        .extend(choice.warning.clone().map(Warning::from));
    survey.look_closer(session, &choice.mode).await?;
    survey::identify(session, survey.run_id.as_deref());
    let (room, warnings) = (survey.room, survey.warnings.clone());
    let report = report(session, &choice, survey);
    Ok(Booted {
        mode: choice.mode,
        report,
        warnings,
        room,
    })
}

fn assembled(session: &Session<'_>, assemble: &Assemble, dialect: Dialect) -> Scripts {
    let scripts = assemble(dialect);
    match session.peer.databases() {
        None => scripts,
        Some(databases) => scripts.in_databases(databases),
    }
}

/// A digest that no script has: the reply is NOSCRIPT if EVALSHA is allowed.
const NO_SHA: &[u8] = b"0000000000000000000000000000000000000000";

/// Loads the scripts, then tries EVALSHA.
fn pack_scripts(scripts: &Scripts, packed: &mut Packed) {
    script::pack_loads(scripts, packed);
    packed.request(&[b"EVALSHA", NO_SHA, b"0"]);
}

/// Loads the library, then tries FCALL: a server that supports it replies that there is no function
/// with an empty name.
fn pack_library(library: &FunctionLibrary, packed: &mut Packed) {
    library.pack_load(packed);
    packed.request(&[b"FCALL", b"", b"0"]);
}

/// Chooses Script if EVALSHA is allowed and the server can get the scripts, otherwise Watch.
async fn choose(
    session: &mut Session<'_>,
    scripts: Scripts,
    tried: &[Value],
    assemble: &Assemble,
) -> Result<Choice, Failure> {
    let denied = match tried.last() {
        Some(evalsha) if is_denied(evalsha) => "EVALSHA",
        _ if tried.iter().any(is_denied) && eval_is_denied(session).await? => "SCRIPT and EVAL",
        _ => return take_scripts(session, scripts, tried, assemble).await,
    };
    let replies = session.exchange(watch::pack_probe).await?;
    watch::check_probe(session, &replies)?;
    let warning =
        format!("{denied} may not be called: operations run by WATCH, in two round trips each");
    Ok(Choice {
        warning: Some(warning),
        ..Choice::new(Mode::Watch)
    })
}

async fn take_scripts(
    session: &mut Session<'_>,
    scripts: Scripts,
    tried: &[Value],
    assemble: &Assemble,
) -> Result<Choice, Failure> {
    let (loads, evalsha) = tried.split_at(scripts.iter().len());
    if let Some(Value::ServerError(error)) = evalsha.first().filter(|reply| is_denied(reply)) {
        return Err(Failure::Refused(super::reply::server_error(error)));
    }
    let refused = loads.iter().find(|reply| code(reply).is_some());
    let scripts = match refused {
        None => script::checked(scripts, loads)?,
        Some(reply) if is_denied(reply) => {
            return Ok(Choice {
                mode: Mode::Script(unloaded(session, assemble).await?),
                loaded: false,
                warning: Some(
                    "SCRIPT LOAD is denied: each script is sent whole whenever the server lacks it"
                        .to_owned(),
                ),
            });
        }
        // Not this dialect, or a reason for which the other one is refused too.
        Some(_) => {
            let scripts = assembled(session, assemble, Dialect::Plain);
            let replies = session
                .exchange(|packed| script::pack_loads(&scripts, packed))
                .await?;
            script::checked(scripts, &replies)?
        }
    };
    Ok(Choice::new(Mode::Script(scripts)))
}

/// EVAL tells the dialects apart. If it is denied too, the newer one is assumed, in case somebody
/// else has loaded the scripts.
async fn unloaded(session: &mut Session<'_>, assemble: &Assemble) -> Result<Scripts, Failure> {
    let reply = session
        .ask(|packed| packed.request(&[b"EVAL", b"#!lua\nreturn 1", b"0"]))
        .await?;
    let understood = code(&reply).is_none() || is_denied(&reply);
    let dialect = match understood {
        true => Dialect::Flagged,
        false => Dialect::Plain,
    };
    Ok(assembled(session, assemble, dialect))
}

async fn eval_is_denied(session: &mut Session<'_>) -> Result<bool, Failure> {
    let reply = session
        .ask(|packed| packed.request(&[b"EVAL", b"return 1", b"0"]))
        .await?;
    Ok(is_denied(&reply))
}

fn take_functions(
    library: FunctionLibrary,
    tried: &[Value],
    survey: &Survey,
) -> Result<Choice, Failure> {
    let answer = tried.first().unwrap_or(&Value::Nil);
    if is_unknown_command(answer) {
        return Err(Failure::Refused(no_functions(survey)));
    }
    if let Some(Value::ServerError(error)) = tried.last().filter(|reply| is_denied(reply)) {
        return Err(Failure::Refused(super::reply::server_error(error)));
    }
    let refused = match answer {
        _ if is_denied(answer) => Some("is denied: somebody who may has to load"),
        // The library may be loaded already; then it works for what the server still takes.
        Value::ServerError(error) => match meaning_of(error) {
            Meaning::Full | Meaning::NoWrites => Some(
                "is refused while the server takes no writes: without it nothing works that needs",
            ),
            _ => None,
        },
        _ => None,
    };
    if let Some(why) = refused {
        let warning = format!("FUNCTION LOAD {why} the library {}", library.name());
        return Ok(Choice {
            mode: Mode::Function(library),
            loaded: false,
            warning: Some(warning),
        });
    }
    function::check_loaded(&library, answer)?;
    Ok(Choice::new(Mode::Function(library)))
}

fn no_functions(survey: &Survey) -> Error {
    Error::new(Kind::Server {
        message: format!(
            "this server ({} {}) has no FUNCTION: Redis has it from 7.0 on; Engine::Auto, Engine::Script and Engine::Watch work without",
            survey.flavour, survey.version
        ),
    })
}

fn report(session: &Session<'_>, choice: &Choice, survey: Survey) -> EngineReport {
    let (engine, flagged, programs) = match &choice.mode {
        Mode::Script(scripts) => {
            let program = |s: &super::source::Script| (s.name.as_str().to_owned(), s.sha.clone());
            let flagged = scripts.dialect == Dialect::Flagged;
            ("script", flagged, scripts.iter().map(program).collect())
        }
        Mode::Function(library) => {
            let program = |(name, function): (&str, &str)| (name.to_owned(), function.to_owned());
            ("function", true, library.functions().map(program).collect())
        }
        Mode::Watch => ("watch", false, Vec::new()),
    };
    let rules = session.peer.config().rules.as_ref();
    let rules = rules.and_then(|rules| RulesFacts::of(&rules.get()));
    let server = session.peer.shown_url();
    let facts = ServerFacts {
        server: server.clone(),
        ..survey.facts
    };
    EngineReport {
        engine: engine.to_owned(),
        server,
        topology: "single".to_owned(),
        flavour: survey.flavour,
        version: survey.version,
        flagged,
        loaded: choice.loaded,
        programs,
        rules: rules.as_ref().map(|rules| rules.digest.clone()),
        notes: rules.and_then(|rules| rules.slots).into_iter().collect(),
        warnings: survey.warnings.into_iter().map(|it| it.text).collect(),
        servers: vec![facts],
    }
}

/// The error of a failed boot: no operation was sent.
pub(super) fn boot_error(error: &Error) -> Error {
    Error::new(match error.kind() {
        Kind::Unavailable { message } => Kind::Unavailable {
            message: format!("boot: {message}"),
        },
        Kind::NoWrites { message, frees } => Kind::NoWrites {
            message: format!("boot: {message}"),
            frees: *frees,
        },
        Kind::Server { message } => Kind::Server {
            message: format!("boot: {message}"),
        },
        _ => Kind::Server {
            message: format!("boot: {error}"),
        },
    })
}
