//! Each code block is one of a language that is checked.

use super::{Block, Page, files_in, pages, report, repository};
use cachetx::{Params, Rules};
use std::fs;

/// Examples whose code pages quote; each is compiled, and run as a test.
const EXAMPLES: [&str; 3] = ["guide", "shop", "test_my_rules"];

#[test]
fn every_code_block_is_compiled_or_run() {
    let examples = examples();
    let mut wrong = Vec::new();
    for page in pages() {
        // Its Rust is run as a test of documentation.
        let is_readme = page.path == repository().join("README.md");
        for block in &page.blocks {
            let complaint = match block.language.as_str() {
                "rust" if is_readme => None,
                "rust" => (!examples.iter().any(|example| quotes(example, &block.text)))
                    .then(|| "not quoted from an example".to_owned()),
                "json" => Rules::from_json(&block.text)
                    .err()
                    .map(|error| error.to_string()),
                "toml" => block
                    .text
                    .parse::<toml_edit::DocumentMut>()
                    .err()
                    .map(|error| error.to_string()),
                // Run by another test; or a drawing, or output.
                "sh" | "text" => None,
                other => Some(format!("a block of `{other}`, which nothing checks")),
            };
            wrong.extend(complaint.map(|it| format!("{}: {it}:\n{}", page.name(), block.text)));
        }
    }
    report(&wrong);
}

fn examples() -> Vec<String> {
    let folders = EXAMPLES
        .iter()
        .map(|name| repository().join("examples").join(name));
    let files = folders
        .filter(|folder| folder.exists())
        .flat_map(|folder| files_in(&folder, "rs"));
    files
        .map(|file| fs::read_to_string(file).expect("an example"))
        .collect()
}

/// Whether the block's lines stand together in the example, indented by any depth.
fn quotes(example: &str, block: &str) -> bool {
    let (lines, wanted): (Vec<&str>, Vec<&str>) =
        (example.lines().collect(), block.lines().collect());
    lines.windows(wanted.len()).any(|found| {
        let depth = |line: &str| line.len() - line.trim_start().len();
        let by = depth(found[0]) - depth(wanted[0]).min(depth(found[0]));
        let is_same = |(found, wanted): (&&str, &&str)| match wanted.is_empty() {
            true => found.is_empty(),
            false => found.get(by..) == Some(wanted) && found[..by].trim().is_empty(),
        };
        found.iter().zip(&wanted).all(is_same)
    })
}

#[test]
fn negative_control_a_block_that_differs_is_no_quotation() {
    let example = "fn f() {\n    let a = 1;\n\n    g(a);\n}\n";
    assert!(quotes(example, "let a = 1;\n\ng(a);\n"));
    assert!(!quotes(example, "let a = 2;\n\ng(a);\n"));
    assert!(!quotes(example, "let a = 1;\ng(a);\n"));
    assert!(!quotes(example, "  g(a);\n}\n"));
}

#[test]
fn the_keys_beside_readme_s_rules_are_those_they_compile_to() {
    let rules = Rules::from_path(repository().join("rules/shop.json")).expect("rules");
    let params = Params::from([("shop_id", "main-street"), ("sku", "tea")]);
    let deleted = rules
        .expand_for("product", ["reprice"], &params)
        .expect("keys");
    let readme = Page::read(&repository().join("README.md"));
    let shown = in_language(&readme.blocks, "text").next().expect("a block");
    let mut found = 0;
    for line in shown.text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [.., verb @ ("set" | "deleted" | "kept"), key] = words[..] else {
            continue;
        };
        found += 1;
        let is_own = rules.key("product", &params).expect("a key") == key;
        let is_deleted = deleted.iter().any(|it| it == key);
        assert_eq!(
            (is_own, is_deleted),
            (verb == "set", verb == "deleted"),
            "{line}"
        );
    }
    assert_eq!(found, 4, "{}", shown.text);
}

#[test]
fn readme_shows_what_rules_check_says() {
    let readme = Page::read(&repository().join("README.md"));
    let expected = fs::read_to_string(repository().join("tests/cli/diagnostics/broken.txt"));
    let expected = expected.expect("a file");
    let (shown, _) = expected.split_once("exit code").expect("an exit code");
    let block = format!("$ cachetx rules check broken.json\n{shown}");
    let is_shown = in_language(&readme.blocks, "text").any(|it| it.text == block);
    assert!(is_shown, "README has to show:\n{block}");
}

/// Blocks of one language.
pub fn in_language<'a>(blocks: &'a [Block], language: &'a str) -> impl Iterator<Item = &'a Block> {
    blocks
        .iter()
        .filter(move |block| block.language == language)
}
