//! `cachetx rules check` and `rules expand`: what they print, and their exit codes.

use serde_json::{Value, json};
use std::{
    path::PathBuf,
    process::{Command, Output},
};
use tempfile::TempDir;

const RULES: &str = r#"{
  "version": "1.1",
  "cache_keys": {
    "climate": "nodb_cache:{{{run_id}}}:climate",
    "wepp": "nodb_cache:{{{run_id}}}:wepp",
    "scenario": "nodb_cache:{{{run_id}}}:{scenario}:x",
    "runs": "123456789"
  },
  "depends_on": { "wepp": ["climate"] },
  "rules": {
    "build_climate": { "invalidates_cache": ["climate", "runs"] },
    "scenarios": { "invalidates_cache": ["scenario"] }
  }
}"#;

/// A folder with files of these names and contents.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("it is written");
    }
    folder
}

fn rules(folder: &TempDir, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cachetx"))
        .arg("rules")
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .expect("it runs")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON and nothing else")
}

/// CRC16 bit by bit, as the Redis Cluster specification describes it.
fn slot(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| Some(rest.split_once('}')?.0));
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    let mut crc = 0_u16;
    for byte in hashed.bytes() {
        crc ^= u16::from(byte) << 8;
        for _ in 0..8 {
            crc = if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            };
        }
    }
    crc % 16_384
}

#[test]
fn the_independent_slot_is_the_specifications() {
    for (key, expected) in [
        ("123456789", 12_739),
        ("foo", 12_182),
        ("bar", 5_061),
        ("hello", 866),
    ] {
        assert_eq!(slot(key), expected, "{key}");
    }
    assert_eq!(slot("{user1000}.following"), slot("user1000"));
    assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
    assert_eq!(slot("foo{bar}{zap}"), slot("bar"));
}

#[test]
fn slots_are_those_of_the_specification() {
    let keys = [
        "123456789",
        "foo{{{{bar}}zap",
        "foo{{bar}}{{zap}}",
        "{{user1000}}.following",
        "a{{b",
        "größe",
    ];
    for template in keys {
        let all = json!({
            "version": "1.1",
            "cache_keys": { "it": template },
            "rules": { "all": { "invalidates_cache": ["*"] } },
        });
        let key = template.replace("{{", "{").replace("}}", "}");
        let folder = folder(&[("rules.json", &all.to_string())]);
        let output = rules_expand(&folder, &["--task", "all"]);
        assert_eq!(
            output,
            json!({ "own": null, "keys": [{ "key": key, "controller": "it", "slot": slot(&key) }] })
        );
    }
}

fn rules_expand(folder: &TempDir, arguments: &[&str]) -> Value {
    let output = rules(
        folder,
        &[&["expand", "rules.json", "--format", "json"], arguments].concat(),
    );
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert!(output.stderr.is_empty());
    json_of(&output)
}

#[test]
fn expand_as_json_has_the_own_key_and_the_others() {
    let folder = folder(&[("rules.json", RULES)]);
    let run = "run_id=copacetic-sled";
    let key = |key: &str, controller: &str| json!({ "key": key, "controller": controller, "slot": slot(key) });
    let climate = "nodb_cache:{copacetic-sled}:climate";
    let wepp = "nodb_cache:{copacetic-sled}:wepp";

    assert_eq!(
        rules_expand(&folder, &["--task", "build_climate", "--param", run]),
        json!({ "own": null, "keys": [key(climate, "climate"), key(wepp, "wepp"), key("123456789", "runs")] })
    );
    assert_eq!(
        rules_expand(
            &folder,
            &[
                "--task",
                "build_climate",
                "--param",
                run,
                "--own",
                "climate"
            ]
        ),
        json!({ "own": climate, "keys": [key(wepp, "wepp"), key("123456789", "runs")] })
    );
    assert_eq!(
        rules_expand(&folder, &["--param", run, "--own", "wepp"]),
        json!({ "own": wepp, "keys": [] })
    );
    assert_eq!(
        rules_expand(&folder, &[]),
        json!({ "own": null, "keys": [] })
    );
}

#[test]
fn a_param_given_again_is_a_list() {
    let folder = folder(&[("rules.json", RULES)]);
    let arguments = ["expand", "rules.json", "--task", "scenarios"];
    let params = [
        "--param",
        "scenario=b",
        "--param",
        "run_id=r",
        "--param",
        "scenario=a=1",
    ];
    let output = rules(&folder, &[&arguments[..], &params[..]].concat());
    assert_eq!(code(&output), 0, "{}", text(&output.stderr));
    assert_eq!(
        text(&output.stdout),
        "del nodb_cache:{r}:b:x\ndel nodb_cache:{r}:a=1:x\n"
    );
}

#[test]
fn expand_as_text_says_what_is_set_and_deleted() {
    let folder = folder(&[("rules.json", RULES)]);
    let output = rules(
        &folder,
        &[
            "expand",
            "rules.json",
            "--task",
            "build_climate",
            "--own",
            "wepp",
            "--param",
            "run_id=r",
        ],
    );
    assert_eq!(code(&output), 0);
    assert_eq!(
        text(&output.stdout),
        "set nodb_cache:{r}:wepp\ndel nodb_cache:{r}:climate\ndel 123456789\n"
    );
}

#[test]
fn expand_with_wrong_arguments_exits_with_2_and_prints_no_keys() {
    let folder = folder(&[("rules.json", RULES)]);
    for (arguments, complaint) in [
        (
            &[
                "rules.json",
                "--task",
                "build_climat",
                "--param",
                "run_id=r",
            ][..],
            "did you mean `build_climate`?",
        ),
        (
            &["rules.json", "--task", "build_climate"],
            "param `run_id` is missing",
        ),
        (
            &[
                "rules.json",
                "--task",
                "build_climate",
                "--param",
                "run_id=",
            ],
            "param `run_id` is empty",
        ),
        (
            &[
                "rules.json",
                "--task",
                "build_climate",
                "--param",
                "run_id=a{b",
            ],
            "contains `{`",
        ),
        (
            &["rules.json", "--own", "climat", "--param", "run_id=r"],
            "did you mean `climate`?",
        ),
        (
            &[
                "rules.json",
                "--own",
                "wepp",
                "--param",
                "run_id=a",
                "--param",
                "run_id=b",
            ],
            "exactly one",
        ),
        (
            &["rules.json", "--task", "build_climate", "--param", "run_id"],
            "NAME=VALUE",
        ),
        (
            &["rules.json", "--task", "build_climate", "--param", "=r"],
            "NAME=VALUE",
        ),
        (&["no_such_file.json"], "no_such_file.json"),
        (&["."], "cannot read"),
        (&["rules.json", "--format", "xml"], "xml"),
        (&["rules.json", "--colour"], "--colour"),
        (&[], "<FILE>"),
    ] {
        let output = rules(&folder, &[&["expand"], arguments].concat());
        assert_eq!(code(&output), 2, "{arguments:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.contains(complaint), "{arguments:?}: {said}");
    }
}

#[test]
fn expand_with_broken_rules_exits_with_1_and_shows_them() {
    let folder = folder(&[(
        "rules.json",
        &RULES.replace("[\"climate\"]", "[\"climte\"]"),
    )]);
    let output = rules(
        &folder,
        &["expand", "rules.json", "--task", "build_climate"],
    );
    assert_eq!(code(&output), 1);
    assert!(output.stdout.is_empty());
    let said = text(&output.stderr);
    assert!(
        said.contains("rules.json:9:28") && said.contains("did you mean `climate`?"),
        "{said}"
    );
}

#[test]
fn check_exits_with_0_1_or_2() {
    let files = [
        ("fine.json", RULES),
        ("broken.json", "{}"),
        ("also_broken.json", ""),
    ];
    let folder = folder(&files);
    for (arguments, expected) in [
        (&["fine.json"][..], 0),
        (&["fine.json", "fine.json"], 0),
        (&["broken.json"], 1),
        (&["fine.json", "broken.json", "also_broken.json"], 1),
        (&["broken.json", "no_such_file.json", "fine.json"], 2),
        (&["."], 2),
        (&[], 2),
        (&["fine.json", "--fix"], 2),
    ] {
        let output = rules(&folder, &[&["check"], arguments].concat());
        assert_eq!(code(&output), expected, "{arguments:?}");
    }
}

#[test]
fn check_goes_on_after_a_file_that_cannot_be_read() {
    let folder = folder(&[("fine.json", RULES), ("broken.json", "{}")]);
    let output = rules(
        &folder,
        &["check", "fine.json", "no_such_file.json", "broken.json"],
    );
    let said = text(&output.stdout);
    assert!(said.contains("fine.json: 0 problems, 0 warnings"), "{said}");
    assert!(
        said.contains("broken.json: 3 problems, 0 warnings"),
        "{said}"
    );
    assert!(text(&output.stderr).contains("no_such_file.json"));
}

#[test]
fn check_as_json_lists_every_finding() {
    let doubtful = RULES.replace("[\"scenario\"]", "[\"scenario\", \"scenario\"]");
    let broken = "{\n  \"version\": \"1.0\",\n  \"cache_keys\": { \"größe\": \"{a\", \"größ\": 1 },\n  \"rules\": {}\n}";
    let folder = folder(&[("doubtful.json", &doubtful), ("broken.json", broken)]);
    let output = rules(
        &folder,
        &["check", "--format", "json", "doubtful.json", "broken.json"],
    );
    assert_eq!(code(&output), 1);
    let start = doubtful
        .find("\"scenario\", \"scenario\"")
        .expect("it is there")
        + "\"scenario\", ".len();
    let open = broken.find("{a").expect("it is there");
    let number = broken.find("1 }").expect("it is there");
    assert_eq!(
        json_of(&output),
        json!([
            {
                "file": "doubtful.json",
                "problems": [],
                "warnings": [{
                    "file": "doubtful.json", "line": 12, "column": 54,
                    "span": { "start": start, "end": start + "\"scenario\"".len() },
                    "text": "\"scenario\"",
                    "message": "`scenario` stands twice in `invalidates_cache`",
                    "help": null,
                }],
            },
            {
                "file": "broken.json",
                "problems": [
                    {
                        "file": "broken.json", "line": 3, "column": 29,
                        "span": { "start": open, "end": open + 1 },
                        "text": "{",
                        "message": "this `{` is not closed, in the key of `größe`",
                        "help": "write `{{` and `}}` for literal braces",
                    },
                    {
                        "file": "broken.json", "line": 3, "column": 42,
                        "span": { "start": number, "end": number + 1 },
                        "text": "1",
                        "message": "the cache key of `größ` must be a string, not a number",
                        "help": null,
                    },
                ],
                "warnings": [],
            },
        ])
    );
}

#[test]
fn the_shipped_files_have_no_findings() {
    let rules_folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("rules");
    let output = Command::new(env!("CARGO_BIN_EXE_cachetx"))
        .args(["rules", "check", "nodb.json", "minimal.json"])
        .current_dir(rules_folder)
        .output()
        .expect("it runs");
    assert_eq!(code(&output), 0);
    assert_eq!(
        text(&output.stdout),
        "nodb.json: 0 problems, 0 warnings\nminimal.json: 0 problems, 0 warnings\n"
    );
}

#[test]
fn unknown_subcommands_exit_with_2() {
    let folder = folder(&[]);
    for arguments in [&["chekc"][..], &[]] {
        assert_eq!(code(&rules(&folder, arguments)), 2, "{arguments:?}");
    }
}
