//! `cachetx demo`, with a server and where none can be had.

use serde_json::{Value, json};
use std::process::Command;

fn demo(format: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachetx"));
    command.args(["demo", "--format", format]);
    command
}

/// A folder without servers is all there is.
fn without_servers(command: &mut Command) -> &mut Command {
    command
        .env("CACHETX_SERVERS", "/nowhere")
        .env("PATH", "/nowhere")
}

fn story(command: &mut Command) -> Value {
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON and nothing else")
}

fn holds_together(story: &Value) {
    assert_eq!(story["save"]["outcome"], "committed", "{story}");
    assert_eq!(story["save"]["round_trips"], 2);
    assert_eq!(story["save_without_server"]["outcome"], "deferred");
    let years = ["before", "after", "after_without_server"].map(|at| &story[at]["_input_years"]);
    assert_eq!(years, [&json!(100), &json!(101), &json!(102)]);
    let deleted = story["deleted"].as_array().expect("keys");
    assert!(deleted.len() > 1);
    let (before, after) = (&story["before"]["entries"], &story["after"]["entries"]);
    let left = before.as_u64().expect("a count") - deleted.len() as u64;
    assert_eq!(after.as_u64(), Some(left));
}

#[test]
fn with_a_server() {
    let story = story(&mut demo("json"));
    holds_together(&story);
    assert_ne!(story["server"], "memory");
}

#[test]
fn without_one_it_says_so_and_tells_the_same_story() {
    let story = story(without_servers(&mut demo("json")));
    holds_together(&story);
    assert_eq!(story["server"], "memory");

    let output = without_servers(&mut demo("text"))
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.starts_with("server   NONE, no redis-server"), "{text}");
    assert!(!text.contains("private"), "{text}");
}
