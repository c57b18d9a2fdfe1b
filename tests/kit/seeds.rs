//! What the fuzz targets run, on every committed seed.

use cachetx::{Rules, testing::fuzz};
use std::fs;

fn seeds(target: &str, run: impl Fn(&[u8])) {
    let folder = format!("{}/fuzz/seeds/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut seeds = 0;
    for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder}: {e}")) {
        let path = entry.expect("an entry").path();
        println!("{}", path.display());
        run(&fs::read(&path).expect("a seed"));
        seeds += 1;
    }
    assert!(seeds > 2, "{folder} has {seeds} seeds");
}

#[test]
fn each_target_has_a_program_and_seeds() {
    let names = |folder: &str| -> Vec<String> {
        let folder = format!("{}/fuzz/{folder}", env!("CARGO_MANIFEST_DIR"));
        let names = fs::read_dir(folder).expect("it is there").map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_stem().expect("a name");
            name.to_string_lossy().into_owned()
        });
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    };
    let targets = names("targets");
    assert_eq!(targets, names("seeds"));
    let run = [
        "document",
        "expansion",
        "own_rules",
        "raw_object",
        "recovery",
        "reply",
        "rules_text",
        "take_over",
    ];
    assert_eq!(targets, run, "a test below runs each");
}

#[test]
fn rules_text() {
    seeds("rules_text", fuzz::rules_text);
}

#[test]
fn expansion() {
    seeds("expansion", fuzz::expansion);
}

#[test]
fn own_rules() {
    let rules = Rules::from_path("rules/nodb.json").expect("it compiles");
    seeds("own_rules", |bytes| fuzz::own_rules(&rules, bytes));
}

#[test]
fn reply() {
    seeds("reply", fuzz::reply);
}

#[test]
fn recovery() {
    seeds("recovery", fuzz::recovery);
}

#[test]
fn take_over() {
    seeds("take_over", fuzz::take_over);
}

#[test]
fn document() {
    seeds("document", fuzz::document);
}

#[test]
fn raw_object() {
    seeds("raw_object", fuzz::raw_object);
}
