//! `cachetx rules explain`, `diff`, `needs` and `schema`, the annotations of `rules
//! check`, completions and manual pages.

use serde_json::{Value, json};
use std::{
    path::Path,
    process::{Command, Output},
};
use tempfile::TempDir;

const SHOP: &str = r#"{
  "version": "1.1",
  "cache_keys": {
    "product": "shop:{{{shop_id}}}:product:{sku}",
    "price_list": "shop:{{{shop_id}}}:prices",
    "home_page": "shop:{{{shop_id}}}:home:{fragment}"
  },
  "depends_on": { "price_list": ["product"], "home_page": ["price_list"] },
  "rules": {
    "sale": { "invalidates_cache": ["product"] },
    "season": { "includes": ["sale"] },
    "rebuild": { "invalidates_cache": ["*"], "except": ["product"], "cascade": false }
  }
}"#;

pub fn folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let fewer = SHOP.replace(r#", "home_page": ["price_list"]"#, "");
    let longer = SHOP.replace(
        "\"version\": \"1.1\",",
        "\"version\": \"1.1\", \"default_ttl_seconds\": 60,",
    );
    for (name, text) in [
        ("shop.json", SHOP),
        ("fewer.json", &fewer),
        ("longer.json", &longer),
        ("broken.json", "{}"),
    ] {
        std::fs::write(folder.path().join(name), text).expect("it is written");
    }
    folder
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cachetx"));
    command.args(arguments).current_dir(folder);
    command
}

pub fn run(folder: &TempDir, arguments: &[&str]) -> Output {
    let output = command(folder.path(), arguments).output();
    output.expect("it runs")
}

pub fn fine(folder: &TempDir, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

pub fn as_json(folder: &TempDir, arguments: &[&str]) -> Value {
    let text = fine(folder, &[arguments, &["--format", "json"]].concat());
    serde_json::from_str(&text).expect("JSON and nothing else")
}

#[test]
fn every_command_exits_with_0_1_or_2() {
    let folder = folder();
    for (arguments, expected) in [
        (&["explain", "shop.json", "--task", "sale"][..], 0),
        (&["explain", "shop.json", "--own", "product"], 0),
        (&["explain", "shop.json", "--entry", "product"], 0),
        (&["explain", "broken.json", "--task", "sale"], 1),
        (&["explain", "shop.json"], 2),
        (&["explain", "shop.json", "--task", "sail"], 2),
        (&["explain", "shop.json", "--entry", "produce"], 2),
        (
            &[
                "explain",
                "shop.json",
                "--entry",
                "product",
                "--task",
                "sale",
            ],
            2,
        ),
        (
            &[
                "explain",
                "shop.json",
                "--task",
                "sale",
                "--param",
                "shop_id=",
            ],
            2,
        ),
        (&["explain", "none.json", "--task", "sale"], 2),
        (
            &[
                "explain",
                "shop.json",
                "--entry",
                "product",
                "--param",
                "sku=tea",
            ],
            2,
        ),
        (&["diff", "shop.json", "shop.json"], 0),
        (&["diff", "fewer.json", "shop.json"], 0),
        (&["diff", "shop.json", "longer.json"], 0),
        (&["diff", "shop.json", "fewer.json"], 1),
        (&["diff", "shop.json", "broken.json"], 1),
        (&["diff", "shop.json", "none.json"], 2),
        (&["diff", "broken.json", "none.json"], 2),
        (&["diff", "shop.json"], 2),
        (&["needs", "shop.json"], 0),
        (&["needs", "broken.json"], 1),
        (&["needs", "none.json"], 2),
        (&["graph", "shop.json"], 0),
        (&["graph", "broken.json"], 1),
        (&["graph", "shop.json", "--task", "sail"], 2),
        (&["graph", "shop.json", "--format", "png"], 2),
        (&["schema"], 0),
        (&["schema", "shop.json"], 2),
        (&["check", "shop.json", "--format", "github"], 0),
        (&["check", "broken.json", "--format", "github"], 1),
        (&["check", "none.json", "--format", "github"], 2),
    ] {
        let output = run(&folder, &[&["rules"], arguments].concat());
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{arguments:?}: {output:?}"
        );
        assert_eq!(
            output.stderr.is_empty(),
            expected == 0
                || arguments[0] == "check" && expected == 1
                || arguments[2..] == ["fewer.json"],
            "{arguments:?}"
        );
    }
    for (arguments, expected) in [
        (&["completions", "bash"][..], 0),
        (&["completions", "cmd"], 2),
        (&["completions"], 2),
        (&["man"], 0),
        (&["man", "rules", "diff"], 0),
        (&["man", "rules", "dif"], 2),
    ] {
        let output = run(&folder, arguments);
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{arguments:?}: {output:?}"
        );
    }
}

#[test]
fn explain_says_why_each_key_is_deleted() {
    let folder = folder();
    let text = fine(
        &folder,
        &[
            "rules",
            "explain",
            "shop.json",
            "--task",
            "season",
            "--own",
            "price_list",
            "--param",
            "shop_id=s",
            "--param",
            "fragment=top",
            "--param",
            "fragment=new",
            "--param",
            "sku=tea",
        ],
    );
    assert_eq!(
        text,
        "product  shop:{{{shop_id}}}:product:{sku}\n\
         \x20 del shop:{s}:product:tea (slot 3828)\n\
         \x20 task season -> sale: product\n\
         home_page  shop:{{{shop_id}}}:home:{fragment}\n\
         \x20 del shop:{s}:home:top (slot 3828)\n\
         \x20 del shop:{s}:home:new (slot 3828)\n\
         \x20 task season -> sale: product -> price_list -> home_page\n\
         \x20 save of price_list -> home_page\n"
    );
    let json = as_json(
        &folder,
        &[
            "rules",
            "explain",
            "shop.json",
            "--task",
            "season",
            "--param",
            "shop_id=s",
        ],
    );
    assert_eq!(json["own"], Value::Null);
    assert_eq!(json["entries"][0]["keys"], json!([]));
    assert_eq!(
        json["entries"][1],
        json!({
            "controller": "price_list",
            "template": "shop:{{{shop_id}}}:prices",
            "keys": [{ "key": "shop:{s}:prices", "slot": 3_828 }],
            "reasons": [{ "cause": "task", "includes": ["season", "sale"], "every": false, "cascade": ["product", "price_list"] }],
        })
    );
}

#[test]
fn explain_entry_lists_every_task_and_save() {
    let folder = folder();
    let entry = ["rules", "explain", "shop.json", "--entry", "home_page"];
    assert_eq!(
        fine(&folder, &entry),
        "home_page  shop:{{{shop_id}}}:home:{fragment}\n\
         \x20 task sale: product -> price_list -> home_page\n\
         \x20 task season -> sale: product -> price_list -> home_page\n\
         \x20 task rebuild: * -> home_page\n\
         \x20 save of product -> price_list -> home_page\n\
         \x20 save of price_list -> home_page\n"
    );
    assert_eq!(
        as_json(&folder, &entry)["reasons"].as_array().map(Vec::len),
        Some(5)
    );
}

#[test]
fn diff_names_what_is_no_longer_deleted_first() {
    let folder = folder();
    let lost = run(&folder, &["rules", "diff", "longer.json", "fewer.json"]);
    assert_eq!(lost.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&lost.stdout),
        "task sale no longer deletes: home_page\n\
         task season no longer deletes: home_page\n\
         save of product no longer deletes: home_page\n\
         save of price_list no longer deletes: home_page\n\
         ttl of product: 60 s -> 259200 s\n\
         ttl of price_list: 60 s -> 259200 s\n\
         ttl of home_page: 60 s -> 259200 s\n"
    );
    assert_eq!(
        fine(&folder, &["rules", "diff", "shop.json", "shop.json"]),
        "no difference\n"
    );
    let json = as_json(&folder, &["rules", "diff", "fewer.json", "shop.json"]);
    assert_eq!(
        json["saves"][0],
        json!({ "name": "product", "no_longer_deleted": [], "newly_deleted": ["home_page"] })
    );
}

#[test]
fn needs_says_which_params_a_save_takes_and_why() {
    let folder = folder();
    assert_eq!(
        fine(&folder, &["rules", "needs", "shop.json"]),
        "a save of `product` needs the params shop_id, sku, fragment: `home_page` has {fragment}\n\
         a save of `price_list` needs the params shop_id, fragment: `home_page` has {fragment}\n\
         a save of `home_page` needs the params shop_id, fragment\n"
    );
    let json = as_json(&folder, &["rules", "needs", "shop.json"]);
    assert_eq!(
        json[0]["further"],
        json!([{ "param": "fragment", "because_of": ["home_page"] }])
    );
}

#[test]
fn check_writes_annotations_for_github() {
    let folder = folder();
    let broken = "{ \"version\": \"1.0\",\n  \"cache_keys\": { \"100%\": 1 },\n  \"rules\": {} }";
    std::fs::write(folder.path().join("a,b.json"), broken).expect("it is written");
    let output = run(
        &folder,
        &["rules", "check", "a,b.json", "--format", "github"],
    );
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "::error file=a%2Cb.json,line=2,col=27::the cache key of `100%25` must be a string, not a number\n"
    );
    let warned = fine(
        &folder,
        &["rules", "check", "shop.json", "--format", "github"],
    );
    assert!(
        warned.starts_with("::warning file=shop.json,line=8,col=34::a save of `product` needs the param `fragment` beside its own, because `home_page` depends on it%0Ahelp: "),
        "{warned}"
    );
}

#[test]
fn completions_and_manual_pages_name_the_commands() {
    let folder = folder();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = fine(&folder, &["completions", shell]);
        assert!(
            script.contains("cachetx") && script.contains("explain"),
            "{shell}"
        );
    }
    let page = fine(&folder, &["man"]);
    assert!(
        page.contains(".SH SUBCOMMANDS") && page.contains("completions"),
        "{page}"
    );
    let page = fine(&folder, &["man", "rules", "explain"]);
    assert!(
        page.contains("\\-\\-entry") && page.contains("cachetx rules explain"),
        "{page}"
    );
}

/// Rules with many tasks that delete one entry, which many others are derived from, in a chain.
fn many() -> (String, String) {
    let controllers: Vec<String> = (0..300).map(|n| format!("c{n:03}")).collect();
    let keys: serde_json::Map<_, _> = controllers
        .iter()
        .map(|name| (name.clone(), json!(name)))
        .collect();
    let chain: serde_json::Map<_, _> = controllers
        .windows(2)
        .map(|it| (it[1].clone(), json!([it[0]])))
        .collect();
    let tasks: serde_json::Map<_, _> = (0..300)
        .map(|n| (format!("t{n:03}"), json!({ "invalidates_cache": ["c000"] })))
        .collect();
    let file = |chain: Value| {
        json!({ "version": "1.1", "cache_keys": keys, "depends_on": chain, "rules": tasks })
            .to_string()
    };
    (file(json!(chain)), file(json!({})))
}

#[test]
fn lists_of_explanations_and_differences_are_cut_in_text_and_whole_in_json() {
    let folder = folder();
    let (chained, loose) = many();
    std::fs::write(folder.path().join("chained.json"), chained).expect("it is written");
    std::fs::write(folder.path().join("loose.json"), loose).expect("it is written");
    let entry = ["rules", "explain", "chained.json", "--entry", "c299"];
    let text = fine(&folder, &entry);
    let lines: Vec<&str> = text.lines().collect();
    // 300 tasks, and 299 saves.
    assert_eq!(lines.len(), 1 + 200 + 1);
    assert_eq!(lines[201], "and 399 more (--format json has all)");
    assert!(
        lines[1].starts_with("  task t000: c000 -> c001 -> "),
        "{}",
        lines[1]
    );
    assert!(lines[1].ends_with(" -> c031 and 268 more"), "{}", lines[1]);
    let whole = as_json(&folder, &entry);
    assert_eq!(whole["reasons"].as_array().map(Vec::len), Some(599));
    assert_eq!(
        whole["reasons"][0]["cascade"].as_array().map(Vec::len),
        Some(300)
    );

    let diff = run(&folder, &["rules", "diff", "chained.json", "loose.json"]);
    assert_eq!(diff.status.code(), Some(1));
    let text = String::from_utf8(diff.stdout).expect("UTF-8");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 200 + 1);
    assert!(
        lines[0].starts_with("task t000 no longer deletes: c001, c002, "),
        "{}",
        lines[0]
    );
    assert!(lines[0].ends_with(", c032 and 267 more"), "{}", lines[0]);
    assert_eq!(lines[200], "and 399 more (--format json has all)");
}
