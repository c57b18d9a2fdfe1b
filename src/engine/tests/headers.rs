//! Compares the headers of the Lua files with the Rust side, and the digests with the servers'.

use super::*;
use crate::{
    engine::{
        call::Call,
        reply,
        source::{Dialect, ScriptName},
    },
    op::{Op, Release, Renew},
};
use redis::Value;
use std::collections::BTreeSet;

/// The names in one section of a header, without the `*` that marks what may repeat.
fn section(file: &str, title: &str) -> Vec<String> {
    let header = file.lines().take_while(|line| line.starts_with("--"));
    let lines = header.map(|line| line.trim_start_matches("--"));
    lines
        .skip_while(|line| line.trim() != title)
        .skip(1)
        .take_while(|line| line.starts_with("   "))
        // Further lines of an explanation have no name.
        .filter(|line| !line.starts_with("    "))
        .filter_map(|line| line.split_whitespace().next())
        .map(|name| name.trim_end_matches('*').to_owned())
        .collect()
}

fn call_of(name: ScriptName) -> Op {
    match name {
        ScriptName::Acquire => acquire("l", "me", 0).into_op(),
        ScriptName::Renew => Renew {
            lock: lock("l", "me"),
            fence_key: "f".to_owned(),
            ttl_ms: 1,
        }
        .into_op(),
        ScriptName::Release => Release {
            lock: lock("l", "me"),
        }
        .into_op(),
        ScriptName::Prepare => prepare(&["a"]).into_op(),
        ScriptName::Commit => {
            let elsewhere = Entry {
                value: "a".into(),
                leases: "elsewhere".into(),
            };
            let mut op = commit(b"x", &[]);
            op.dependents.push(elsewhere);
            op.into_op()
        }
        ScriptName::Invalidate => Invalidate {
            raises: vec![raise("a")],
            release: Some(lock("l", "me")),
            ..invalidate(&["a"])
        }
        .into_op(),
        ScriptName::Lease => lease("a").into_op(),
        ScriptName::Extend => extend("a").into_op(),
        ScriptName::GiveBack => give_back("a").into_op(),
        ScriptName::Fill => fill("a", b"x").into_op(),
    }
}

#[test]
fn headers_list_the_keys_and_arguments_that_are_sent() {
    for script in Scripts::of(Dialect::Plain).iter() {
        let (file, op) = (script.name.file(), call_of(script.name));
        let (keys, args) = Call::new(&op).unwrap().names();
        assert_eq!(section(file, "KEYS"), keys, "{:?}", script.name);
        assert_eq!(section(file, "ARGV"), args, "{:?}", script.name);
    }
}

#[test]
fn headers_list_the_replies_that_are_given_and_understood() {
    for script in Scripts::of(Dialect::Plain).iter() {
        let file = script.name.file();
        let listed: BTreeSet<_> = section(file, "Replies").into_iter().collect();
        let words = script.text.split("return ").skip(1).filter_map(|rest| {
            let word = rest.trim_start_matches("{ ").strip_prefix('\'')?;
            word.split('\'').next()
        });
        // A mark is not a reply.
        let mut given: BTreeSet<_> = words
            .filter(|word| !word.contains(':'))
            .map(str::to_owned)
            .collect();
        if script.text.trim_end().ends_with("return removed") {
            given.insert("integer".to_owned());
        }
        assert_eq!(listed, given, "{:?}", script.name);
        assert!(!listed.is_empty());
        let is_understood = |reply| reply::typed(&call_of(script.name), reply).is_ok();
        let understands = |word: &String| {
            let first = Value::BulkString(word.clone().into_bytes());
            let with = |numbers: usize| {
                let mut parts = vec![first.clone()];
                parts.resize(1 + numbers, Value::BulkString(b"1".to_vec()));
                Value::Array(parts)
            };
            match word.as_str() {
                "integer" => is_understood(Value::Int(1)),
                _ => {
                    is_understood(first.clone()) || [1, 2].map(with).into_iter().any(is_understood)
                }
            }
        };
        assert!(listed.iter().all(understands), "{listed:?}");
    }
}

#[test]
fn digests_are_the_servers_own() {
    on_every_server_in(&[Engine::Script], |bed| {
        let report = bed.engine.report().unwrap();
        assert_eq!(report.programs.len(), 10);
        for (name, sha) in &report.programs {
            let there: Vec<bool> = bed.cmd(&["SCRIPT", "EXISTS", sha]);
            assert_eq!(there, [true], "{name}");
        }
        // The server's name and version, and the dialect that it understands.
        let binary = bed.server.binary();
        let version = binary.version();
        assert_eq!(report.flagged, version.0 >= 7, "{report}");
        let shown = format!("{}-{}", report.flavour, report.version);
        assert_eq!(shown, binary.to_string());
        assert!(report.loaded && report.warnings.is_empty() && report.engine == "script");
        assert!(report.to_string().contains(&report.programs[0].1));
    });
}

#[test]
fn functions_are_in_one_library_and_versions_live_side_by_side() {
    on_every_server_in(&[Engine::Function], |bed| {
        let report = bed.engine.report().unwrap();
        assert!(report.loaded && report.warnings.is_empty() && report.engine == "function");
        // Another process, and another version of the crate.
        ServerEngine::open(bed.config()).unwrap();
        let other = |dialect| {
            Scripts::assemble(dialect, |_, text| {
                text.replace("is_there and removed", "is_there and 7")
                    .replace("return removed", "return 7")
            })
        };
        let newer = ServerEngine::with_scripts(bed.config(), other).unwrap();
        bed.hold();
        assert_eq!(run(&newer, commit(b"new", &["a"])).unwrap(), committed(7));
        bed.hold();
        let ask = Commit {
            id: "c2".to_owned(),
            ..commit(b"new", &["a"])
        };
        assert_eq!(bed.run(ask), committed(0));
        let libraries: Vec<Value> = bed.cmd(&["FUNCTION", "LIST"]);
        assert_eq!(libraries.len(), 2);
        let functions = &newer.report().unwrap().programs;
        assert_eq!(functions.len(), report.programs.len());
        assert!(functions.iter().all(|f| !report.programs.contains(f)));
    });
}

#[test]
fn a_server_without_functions_is_told_by_its_version_and_with_what_to_do() {
    for binary in servers().iter().filter(|b| !has(b, Engine::Function)) {
        let server = Server::start(binary).unwrap();
        let opened = ServerEngine::open(config(server.url(), Engine::Function));
        let message = opened.map(|_| ()).unwrap_err().to_string();
        for part in ["redis 6.2", "no FUNCTION", "Engine::Script"] {
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn where_function_load_is_denied_somebody_else_may_have_loaded_it() {
    let users = |_: &ServerBinary| {
        let rule = "bob on >pw ~* +@all -function";
        Some(
            ServerOptions::new()
                .user("default on nopass ~* +@all")
                .user(rule),
        )
    };
    on_every_server_with(&[Engine::Function], users, |bed| {
        let bob = bed.config_at(bed.server.url_as("bob", "pw"));
        let engine = ServerEngine::open(bob.clone()).unwrap();
        let report = engine.report().unwrap();
        assert!(!report.loaded && report.warnings.len() == 1, "{report}");
        assert!(run(&engine, invalidate(&["a"])).is_ok());
        bed.cmd::<()>(&["FUNCTION", "FLUSH"]);
        let message = refusal(run(&engine, invalidate(&["a"])));
        assert!(message.contains("NOPERM"), "{message}");
    });
}
