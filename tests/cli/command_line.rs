//! `cachetx boot` and `cachetx acl`, as a shell sees them.

use cachetx::{
    Cache, Rules,
    testing::{Server, ServerBinary},
};
use std::process::{Command, Output};

fn cachetx(arguments: &[&str]) -> Output {
    let command = Command::new(env!("CARGO_BIN_EXE_cachetx"))
        .args(arguments)
        .output();
    command.unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

#[test]
fn boot_reports_and_its_exit_code_says_whether_there_are_warnings() {
    for binary in ServerBinary::all() {
        let server = Server::start(binary).unwrap();
        let url = server.url();
        for engine in ["auto", "script", "watch"] {
            let boot = ["boot", "--url", &url, "--engine", engine];
            let rules = ["--rules", "rules/nodb.json", "--format", "json"];
            let output = cachetx(&[&boot[..], &rules].concat());
            assert_eq!(output.status.code(), Some(0), "{output:?}");
            let report = json(&output);
            let expected = if engine == "watch" { "watch" } else { "script" };
            assert_eq!(report["engine"], expected);
            assert_eq!(report["rules"].as_str().map(str::len), Some(16));
            let text = cachetx(&boot);
            let text = String::from_utf8(text.stdout).unwrap();
            assert!(text.contains(report["version"].as_str().unwrap()), "{text}");
        }
        // Who looks leaves nothing: the processes above had other rules.
        let boot = ["boot", "--url", &url, "--rules", "rules/minimal.json"];
        let output = cachetx(&boot);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        // Nor is another application's rules another version of these: no key can be equal.
        let run = |rules: &str| {
            let rules = Rules::from_json(rules).unwrap();
            Cache::builder(rules).url(&url).open().unwrap()
        };
        let minimal = std::fs::read_to_string("rules/minimal.json").unwrap();
        let _other = run(&minimal.replace("nodb_cache", "shop"));
        assert_eq!(cachetx(&boot).status.code(), Some(0));
        let _older = run(&minimal.replace(r#"["climate", "wepp"]"#, r#"["climate"]"#));
        let output = cachetx(&boot);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("other rules"), "{text}");
    }
}

#[test]
fn boot_tells_a_server_that_is_away_from_wrong_usage() {
    let away = ["boot", "--url", "redis://127.0.0.1:1/", "--format", "json"];
    let output = cachetx(&away);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        json(&output)["error"]
            .as_str()
            .unwrap()
            .contains("unavailable")
    );
    let no_url = cachetx(&["boot", "--url", "nonsense"]);
    assert_eq!(no_url.status.code(), Some(2));
    let no_file = [
        "boot",
        "--url",
        "redis://127.0.0.1:1/",
        "--rules",
        "none.json",
    ];
    assert_eq!(cachetx(&no_file).status.code(), Some(2));
}

#[test]
fn acl_prints_words_for_setuser() {
    let acl = ["acl", "--engine", "script", "--rules", "rules/nodb.json"];
    let output = cachetx(&acl);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["+evalsha", "+script|load", "~nodb_cache:{*}:climate"] {
        assert!(text.split_whitespace().any(|w| w == word), "{word}: {text}");
    }
    let json = json(&cachetx(&[&acl[..], &["--format", "json"]].concat()));
    let words = |name: &str| json[name].as_array().map(Vec::len).unwrap();
    let mute = cachetx(&[&acl[..], &["--without-messages"]].concat());
    let mute = String::from_utf8(mute.stdout).unwrap();
    assert_eq!(
        words("commands") + words("keys"),
        mute.split_whitespace().count()
    );
    let optional = text.strip_prefix(mute.trim_end()).unwrap();
    let optional: Vec<&str> = optional.split_whitespace().collect();
    assert_eq!(optional[..3], ["+publish", "+subscribe", "+unsubscribe"]);
    assert!(
        optional.contains(&"&nodb_cache:{*}:climate:lock:free"),
        "{text}"
    );
    let channels = json["optional"]["channels"].as_array().unwrap();
    assert_eq!(optional[3..].len(), 1 + channels.len());
    let more = cachetx(&[&acl[..], &["--cluster", "--wait", "--databases"]].concat());
    let more = String::from_utf8(more.stdout).unwrap();
    for word in ["+cluster|slots", "+asking", "+wait", "+select"] {
        assert!(more.split_whitespace().any(|w| w == word), "{word}: {more}");
    }
    let wrong = cachetx(&["acl", "--lock-key", "{"]);
    assert_eq!(wrong.status.code(), Some(2));
}
