//! What a boot chooses and reports.

use super::*;
use crate::rules::{LiveRules, Rules};

const AUTO: &[Engine] = &[Engine::Auto];

fn rules(keys: &str) -> Rules {
    let text = format!(r#"{{ "version": "1.0", "cache_keys": {keys}, "rules": {{}} }}"#);
    Rules::from_json(&text).unwrap()
}

/// The engine that Auto chooses, which must work.
fn chosen(bed: &mut Bed, url: String) -> String {
    let engine = ServerEngine::open(config(url, Engine::Auto)).unwrap();
    bed.cmd::<()>(&["FLUSHDB"]);
    run(&engine, acquire("l", "me", 0)).unwrap();
    assert_eq!(run(&engine, commit(b"new", &["a"])).unwrap(), committed(0));
    let report = engine.report().unwrap();
    assert_eq!(
        report.warnings.len(),
        usize::from(report.engine == "watch"),
        "{report}"
    );
    report.engine
}

#[test]
fn auto_takes_scripts_and_where_they_are_denied_watch() {
    for (rule, expected) in [
        ("", "script"),
        ("-info -config -time", "script"),
        ("-evalsha", "watch"),
        ("-evalsha -eval -script -info -config -time", "watch"),
        ("-eval -script", "watch"),
        ("-@scripting", "watch"),
    ] {
        let users = |_: &ServerBinary| Some(bob(&format!("~* +@all {rule}")));
        on_every_server_with(AUTO, users, |bed| {
            let url = bed.server.url_as("bob", "pw");
            assert_eq!(chosen(bed, url), expected, "{rule}");
        });
    }
}

#[test]
fn auto_takes_watch_where_commands_were_renamed_away() {
    for (renamed, expected) in [
        (&["evalsha"][..], "watch"),
        (&["script", "eval"], "watch"),
        (&["info", "config"], "script"),
    ] {
        let options = |_: &ServerBinary| {
            let options = ServerOptions::new();
            Some(
                renamed
                    .iter()
                    .fold(options, |options, name| options.rename_command(name, "")),
            )
        };
        on_every_server_with(AUTO, options, |bed| {
            let url = bed.server.url();
            assert_eq!(chosen(bed, url), expected, "{renamed:?}");
        });
    }
}

#[test]
fn with_script_renamed_away_scripts_are_sent_whole() {
    let options = |_: &ServerBinary| Some(ServerOptions::new().rename_command("script", ""));
    on_every_server_with(AUTO, options, |bed| {
        let report = bed.engine.report().unwrap();
        assert!(report.engine == "script" && !report.loaded, "{report}");
        assert!(run(&bed.engine, acquire("l", "me", 0)).is_ok());
    });
}

#[test]
fn a_permission_that_goes_later_makes_the_next_call_choose_again() {
    let users = |_: &ServerBinary| Some(bob("~* +@all"));
    on_every_server_with(AUTO, users, |bed| {
        let url = bed.server.url_as("bob", "pw");
        let engine = ServerEngine::open(config(url, Engine::Auto)).unwrap();
        assert_eq!(engine.report().unwrap().engine, "script");
        bed.cmd::<()>(&["ACL", "SETUSER", "bob", "-evalsha"]);
        let message = refusal(run(&engine, invalidate(&["a"])));
        assert!(message.contains("NOPERM"), "{message}");
        run(&engine, invalidate(&["a"])).unwrap();
        assert_eq!(engine.report().unwrap().engine, "watch");
    });
}

#[test]
fn the_report_says_what_the_server_is_and_how_it_may_hurt() {
    let options = |_: &ServerBinary| {
        let options = ServerOptions::new();
        Some(
            options
                .config("maxmemory", "100mb")
                .config("maxmemory-policy", "volatile-lru"),
        )
    };
    on_every_server_with(ENGINES, options, |bed| {
        bed.cmd::<()>(&["CONFIG", "SET", "save", "3600 1"]);
        let engine = ServerEngine::open(bed.config()).unwrap();
        let report = engine.report().unwrap();
        let [eviction, snapshots] = &report.warnings[..] else {
            panic!("{report}");
        };
        assert!(
            eviction.contains("volatile-lru") && snapshots.contains("RDB"),
            "{report}"
        );
        assert_eq!(report.topology, "single");
        assert_eq!(report.server, bed.server.url());
        let json: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!(json["engine"], report.engine.as_str());
        assert_eq!(json["warnings"].as_array().map(Vec::len), Some(2));
        let shown = report.to_string();
        assert!(shown.contains(&report.version) && shown.contains("warning: maxmemory-policy"));
    });
}

#[test]
fn rules_of_others_and_rules_that_span_slots_are_told() {
    on_every_server(|bed| {
        let on = bed.config();
        let with = |rules: &Rules| {
            let config = ServerConfig {
                rules: Some(Arc::new(LiveRules::new(rules.clone()))),
                ..on.clone()
            };
            ServerEngine::open(config).unwrap().report().unwrap()
        };
        let old = rules(r#"{ "a": "{{{run}}}:a" }"#);
        let new = Rules::from_json(
            r#"{ "version": "1.0", "cache_keys": { "a": "{{{run}}}:a", "b": "{run}:b" },
                 "rules": { "t": { "invalidates_cache": ["a", "b"] } } }"#,
        )
        .unwrap();
        for _ in 0..2 {
            let report = with(&old);
            assert!(
                report.warnings.is_empty() && report.notes.is_empty(),
                "{report}"
            );
            assert_eq!(report.rules, Some(old.digest()));
        }
        let report = with(&new);
        assert!(report.notes[0].contains("hash slots") && report.notes[0].contains("`t`"));
        let [other] = &report.warnings[..] else {
            panic!("{report}");
        };
        assert!(
            other.contains(&old.digest()) && other.contains(&new.digest()),
            "{other}"
        );
        // A notice without keys, as earlier versions left it, may concern any rules.
        let key = crate::engine::notice::RULES_KEY;
        let now = now(bed);
        bed.cmd::<()>(&["HSET", key, &old.digest(), &now]);
        assert_eq!(with(&new).warnings.len(), 1);
        // It forgets them after some time, and the whole hash in the end.
        bed.cmd::<()>(&["HSET", key, &old.digest(), "1"]);
        assert!(with(&new).warnings.is_empty());
        assert_eq!(bed.cmd::<i32>(&["HLEN", key]), 1);
        assert!(bed.pttl(key) > 6 * 24 * 3_600_000);
    });
}

/// The server's time, in s.
fn now(bed: &mut Bed) -> String {
    bed.cmd::<Vec<String>>(&["TIME"]).swap_remove(0)
}

#[test]
fn another_application_is_no_other_version_and_who_only_looks_tells_nobody() {
    on_every_server(|bed| {
        let on = bed.config();
        let boot = |rules: &Rules, leaves_notice| {
            let config = ServerConfig {
                rules: Some(Arc::new(LiveRules::new(rules.clone()))),
                leaves_notice,
                ..on.clone()
            };
            ServerEngine::open(config).unwrap().report().unwrap()
        };
        let [nodb, shop] = ["nodb:{run}:a", "shop:{sku}:a"].map(|key| {
            let keys = format!(r#"{{ "a": "{key}" }}"#);
            rules(&keys)
        });
        for rules in [&nodb, &shop, &nodb] {
            let report = boot(rules, true);
            assert!(report.warnings.is_empty(), "{report}");
        }
        let newer = rules(r#"{ "a": "shop:{sku}:a", "b": "shop:{sku}:b" }"#);
        for _ in 0..2 {
            let warnings = boot(&newer, false).warnings;
            assert!(
                matches!(&warnings[..], [one] if one.contains(&shop.digest())),
                "{warnings:?}"
            );
            assert!(boot(&shop, true).warnings.is_empty());
        }
        boot(&newer, true);
        assert_eq!(boot(&shop, true).warnings.len(), 1);
    });
}

#[test]
fn digests_differ_where_rules_delete_otherwise() {
    let texts = [
        r#"{ "version": "1.0", "cache_keys": { "a": "a:{r}", "b": "b:{r}" }, "rules": { "t": { "invalidates_cache": ["a"] } } }"#,
        r#"{ "version": "1.0", "cache_keys": { "a": "a:{r}", "b": "b:{r}" }, "rules": { "t": { "invalidates_cache": ["b"] } } }"#,
        r#"{ "version": "1.0", "cache_keys": { "a": "a:{r}", "b": "b:{s}" }, "rules": { "t": { "invalidates_cache": ["a"] } } }"#,
        r#"{ "version": "1.1", "cache_keys": { "a": "a:{r}", "b": "b:{r}" }, "rules": { "t": { "invalidates_cache": ["a"] } }, "default_ttl_seconds": 9 }"#,
        r#"{ "version": "1.1", "cache_keys": { "a": "a:{r}", "b": "b:{r}" }, "rules": { "t": { "invalidates_cache": ["a"], "cascade": false } }, "depends_on": { "b": ["a"] } }"#,
    ];
    let digests: std::collections::BTreeSet<_> = texts
        .iter()
        .map(|text| Rules::from_json(text).unwrap().digest())
        .collect();
    assert_eq!(digests.len(), texts.len());
    let spaced = texts[0].replace(": ", ":   ");
    assert!(digests.contains(&Rules::from_json(&spaced).unwrap().digest()));
}
