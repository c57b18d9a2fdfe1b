//! `cachetx rules graph`. The drawings of docs/ are what it draws; with `CACHETX_BLESS=1` they are written.

use crate::rules_tools::{as_json, fine, folder, run};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

#[test]
fn the_drawings_of_docs_are_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (file, task) in [
        ("docs/rules-nodb.svg", &[][..]),
        ("docs/rules-build_climate.svg", &["--task", "build_climate"]),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_cachetx"))
            .args(["rules", "graph", "rules/nodb.json", "--format", "svg"])
            .args(task)
            .current_dir(root)
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{output:?}");
        let drawn = String::from_utf8(output.stdout).expect("UTF-8");
        let path = root.join(file);
        if std::env::var_os("CACHETX_BLESS").is_some() {
            fs::write(&path, &drawn).expect("it is written");
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == drawn,
            "{file} is not what `rules graph` draws: CACHETX_BLESS=1 writes it"
        );
    }
}

#[test]
fn graphs_have_every_node_in_every_format() {
    let folder = folder();
    let graph = ["rules", "graph", "shop.json"];
    let dot = fine(&folder, &graph);
    assert!(
        dot.starts_with("digraph rules {") && dot.ends_with("}\n"),
        "{dot}"
    );
    let mermaid = fine(&folder, &[&graph[..], &["--format", "mermaid"]].concat());
    assert!(
        mermaid.contains("n1([\"season\"])") && mermaid.contains("n1 -. includes .-> n0"),
        "{mermaid}"
    );
    assert!(mermaid.contains("rebuild #40;no cascade#41;"), "{mermaid}");
    let svg = fine(&folder, &[&graph[..], &["--format", "svg"]].concat());
    assert!(
        svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    for name in [
        "sale",
        "season",
        "product",
        "price_list",
        "home_page",
        "* every controller",
    ] {
        assert!(dot.contains(&format!("label=\"{name}\"")), "{dot}");
        assert!(svg.contains(&format!(">{name}</text>")), "{svg}");
    }
}

#[test]
fn a_task_s_reach_stands_out_of_the_whole_graph() {
    let folder = folder();
    let names = |json: &Value| -> Vec<String> {
        let tasks = json["tasks"].as_array().into_iter().flatten();
        let names = tasks.filter_map(|it| it["name"].as_str());
        names.map(str::to_owned).collect()
    };
    let season = ["rules", "graph", "shop.json", "--task", "season"];
    let whole = as_json(&folder, &season);
    assert_eq!(names(&whole), ["sale", "season", "rebuild"]);
    let reach = json!({
        "tasks": ["sale", "season"],
        "controllers": ["product", "price_list", "home_page"],
    });
    assert_eq!(whole["reach"], reach);
    let alone = as_json(&folder, &[&season[..], &["--only-reach"]].concat());
    assert_eq!(names(&alone), ["sale", "season"]);
    assert!(alone.get("reach").is_none());
    for (format, pale) in [
        ("dot", "label=\"rebuild (no cascade)\", fillcolor=\"white\""),
        ("mermaid", "class n2,n6 behind"),
        ("svg", "fill=\"#64748b\">rebuild (no cascade)</text>"),
    ] {
        let text = fine(&folder, &[&season[..], &["--format", format]].concat());
        assert_eq!(text.matches(pale).count(), 1, "{text}");
        let all = fine(
            &folder,
            &["rules", "graph", "shop.json", "--format", format],
        );
        assert!(!all.contains(pale), "{all}");
    }
    let lone = run(&folder, &["rules", "graph", "shop.json", "--only-reach"]);
    assert_eq!(lone.status.code(), Some(2));
}

#[test]
fn odd_names_and_no_nodes_make_valid_drawings() {
    let folder = TempDir::new().expect("a temporary folder");
    let odd = json!({
        "version": "1.1",
        "cache_keys": { "a<&>\"\\'": "a:{x}", "größe": "b" },
        "depends_on": { "größe": ["a<&>\"\\'"] },
        "rules": { "\"]; t": { "invalidates_cache": ["*"] } },
    });
    let none = json!({ "version": "1.0", "cache_keys": {}, "rules": {} });
    for (name, rules) in [("odd.json", odd), ("none.json", none)] {
        std::fs::write(folder.path().join(name), rules.to_string()).expect("it is written");
        for (format, label) in [
            ("dot", r#"[label="a<&>\"\\'", "#),
            ("mermaid", r#"["a#60;#38;#62;#34;#92;#39;"]"#),
            ("svg", r#">a&lt;&amp;&gt;"\'</text>"#),
        ] {
            let text = fine(&folder, &["rules", "graph", name, "--format", format]);
            assert_eq!(text.contains(label), name == "odd.json", "{text}");
        }
    }
}

#[test]
fn a_graph_that_is_too_big_for_a_drawing_is_refused_as_svg_only() {
    let folder = TempDir::new().expect("a temporary folder");
    let names: Vec<String> = (0..300).map(|n| format!("c{n}")).collect();
    let keys: serde_json::Map<_, _> = names
        .iter()
        .map(|name| (name.clone(), json!(name)))
        .collect();
    let chain: serde_json::Map<_, _> = names
        .windows(2)
        .map(|it| (it[1].clone(), json!([it[0]])))
        .collect();
    let task = json!({ "invalidates_cache": names });
    let rules = json!({ "version": "1.1", "cache_keys": keys, "depends_on": chain, "rules": { "all": task } });
    std::fs::write(folder.path().join("big.json"), rules.to_string()).expect("it is written");
    let refused = run(&folder, &["rules", "graph", "big.json", "--format", "svg"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(
        refused.stdout.is_empty()
            && String::from_utf8_lossy(&refused.stderr).contains("--format dot")
    );
    let dot = fine(&folder, &["rules", "graph", "big.json"]);
    assert_eq!(dot.matches(" -> ").count(), 300 + 299);
}
