//! Every check is needed: if any one is removed from the Lua files, a test here fails.

mod commits;
mod scenes;
mod table;

use super::{
    cuts::{cut_everywhere, cutting},
    histories::{Served, first_difference, hunt},
    *,
};
use crate::engine::source::{Dialect, LIBRARY, ScriptName, library};
use commits::COMMITS;
use scenes::{SCENES, Stage};
use table::{LOCKS_AND_LEASES, Mutation, NO_CHECKS};

/// The number of histories that can reveal a mutation, with a fixed seed.
const HISTORIES: usize = 600;
const SEED: u64 = 1;

/// An edit of an operation's Lua file; `None` changes nothing.
type Edit = Option<&'static Mutation>;

/// The operation's text with the mutation in it, or in a library file that it includes.
fn broken(edit: Edit, name: ScriptName, text: &str) -> String {
    let Some(mutation) = edit else {
        return text.to_owned();
    };
    match mutation.file.strip_prefix("lib/") {
        Some(file) => {
            let include = format!("--@include {file}\n");
            text.replace(&include, &(mutated(mutation, library(file)) + "\n"))
        }
        None if mutation.file == name.as_str() => mutated(mutation, text),
        None => text.to_owned(),
    }
}

fn mutated(mutation: &Mutation, text: &str) -> String {
    let Mutation { file, from, to } = mutation;
    assert_eq!(
        text.matches(from).count(),
        1,
        "lua/{file}.lua has changed: the mutation of `{from}` does not fit it"
    );
    text.replace(from, to)
}

fn only_broken(edit: Edit, dialect: Dialect) -> Scripts {
    Scripts::assemble(dialect, |name, text| broken(edit, name, text))
}

fn cutting_broken(edit: Edit, dialect: Dialect) -> Scripts {
    cutting(dialect, |name, text| broken(edit, name, text))
}

fn served(server: &Server, edit: Edit, scripts: fn(Edit, Dialect) -> Scripts) -> Served {
    let config = ServerConfig::new(server.unix_url());
    let engine = ServerEngine::with_scripts(config, move |dialect| scripts(edit, dialect));
    Served::new("script", server, Box::new(engine.unwrap()))
}

/// What notices the mutation, and how; `None` if nothing does.
fn caught(server: &Server, edit: Edit) -> Option<(&'static str, String)> {
    for (name, scene) in SCENES {
        let mut stage = Stage {
            server,
            plain: plain(&server.unix_url()),
            edit,
        };
        cmd::<()>(&mut stage.plain, &["FLUSHDB"]);
        if let Err(how) = scene(&mut stage) {
            return Some((name, how));
        }
    }
    if let Err(how) = cut_everywhere(&mut served(server, edit, cutting_broken)) {
        return Some(("cuts", how));
    }
    let how = first_difference(&mut served(server, edit, only_broken), SEED, HISTORIES)?;
    Some(("histories", how))
}

fn server() -> Server {
    servers();
    Server::start(ServerBinary::any().unwrap()).unwrap()
}

#[test]
fn nothing_is_noticed_where_nothing_is_taken_out() {
    for binary in servers() {
        assert_eq!(caught(&Server::start(binary).unwrap(), None), None);
    }
}

fn mutations() -> impl Iterator<Item = &'static Mutation> {
    LOCKS_AND_LEASES.iter().chain(COMMITS)
}

/// The hunt, which finds nothing in intact engines, finds this mutation, the same way each time,
/// with a minimal history.
#[test]
fn a_history_that_fails_is_replayed_by_its_seed_and_made_short() {
    let mutation = mutations().find(|m| m.to == "not superseded and not replayed");
    assert!(
        mutation.is_some(),
        "a commit that does not look whether a lock is lost"
    );
    let server = server();
    let hunt = || {
        let broken = served(&server, mutation, only_broken);
        hunt(vec![broken], SEED, 500).expect_err("a lost lock that commits is noticed")
    };
    let (why, history) = hunt();
    assert!(why.contains("Commit"), "{why}");
    assert!(history.len() <= 3, "{history:#?}");
    assert_eq!(format!("{history:?}"), format!("{:?}", hunt().1));
}

/// Two tests, since this is the longest one here and there may be two cores.
#[test]
fn every_check_that_is_taken_out_is_noticed() {
    try_every_second(0);
}

#[test]
fn every_other_check_that_is_taken_out_is_noticed_too() {
    try_every_second(1);
}

fn try_every_second(first: usize) {
    let server = server();
    let mut missed = Vec::new();
    for mutation in mutations().skip(first).step_by(2) {
        let Mutation { file, from, to } = mutation;
        let edit = format!("{file}: {} -> {}", line(from), line(to));
        match caught(&server, Some(mutation)) {
            Some((scene, how)) => {
                let how: String = how.chars().take(200).collect();
                println!("{edit}\n    caught by {scene}: {how}");
            }
            None => missed.push(edit),
        }
    }
    assert!(missed.is_empty(), "not noticed:\n{}", missed.join("\n"));
}

/// What a line contains that decides or does something.
const MARKS: [&str; 12] = [
    "if ",
    " and ",
    " or ",
    "~=",
    "redis.call('SET'",
    "redis.call('P",
    "redis.call('UNLINK'",
    "redis.pcall(",
    "redis.call('HSET'",
    "redis.call('HDEL'",
    "free(",
    "drop(",
];

/// A new check needs a mutation too.
#[test]
fn every_line_that_checks_or_writes_has_a_mutation() {
    let scripts = Scripts::of(Dialect::Plain).iter();
    let files = scripts.map(|s| (s.name.as_str().to_owned(), s.name.file()));
    let library = LIBRARY.map(|(name, text)| (format!("lib/{name}"), text));
    let mut without = Vec::new();
    for (file, text) in files.chain(library) {
        let mutated: Vec<_> = mutations()
            .filter(|mutation| mutation.file == file)
            .filter_map(|mutation| {
                let start = text.find(mutation.from)?;
                Some(start..start + mutation.from.len())
            })
            .collect();
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let range = start..start + line.len();
            start = range.end;
            let code = line.trim();
            let decides = !code.starts_with("--") && MARKS.iter().any(|mark| code.contains(mark));
            let covered = mutated
                .iter()
                .any(|m| m.start < range.end && range.start < m.end);
            if decides && !covered && !NO_CHECKS.contains(&(file.as_str(), code)) {
                without.push(format!("{file}: {code}"));
            }
        }
    }
    assert!(
        without.is_empty(),
        "no mutation of:\n{}",
        without.join("\n")
    );
}

/// Code in one line, for the table.
fn line(code: &str) -> String {
    match code.split_whitespace().collect::<Vec<_>>().join(" ") {
        code if code.is_empty() => "(nothing)".to_owned(),
        code => format!("`{code}`"),
    }
}
