//! Each broken file of tests/cli/diagnostics with all that `rules check` says of it, beside it as text.
//!
//! With `CACHETX_BLESS=1` the texts are written anew: to be read in the diff.

use cachetx::Rules;
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/diagnostics");

fn files(extension: &str) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(FOLDER)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == extension))
        .collect();
    files.sort();
    files
}

/// What `rules check` prints, and its exit code in a last line.
fn check(file: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_cachetx"))
        .args(["rules", "check"])
        .arg(file.file_name().expect("a name"))
        .current_dir(FOLDER)
        .output()
        .expect("it runs");
    assert!(
        output.stderr.is_empty(),
        "{file:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    format!(
        "{text}exit code {}\n",
        output.status.code().expect("it ended by itself")
    )
}

#[test]
fn every_file_gets_the_diagnostics_beside_it() {
    let bless = std::env::var_os("CACHETX_BLESS").is_some();
    let mut wrong = Vec::new();
    for file in files("json") {
        let (found, expected) = (check(&file), file.with_extension("txt"));
        if bless {
            fs::write(&expected, &found).expect("it is written");
        } else if fs::read_to_string(&expected).ok().as_ref() != Some(&found) {
            wrong.push(format!("{}:\n{found}", file.display()));
        }
    }
    assert!(
        wrong.is_empty(),
        "not as in the .txt beside it:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn no_diagnostics_are_left_over() {
    for text in files("txt") {
        assert!(
            text.with_extension("json").exists(),
            "{} belongs to no file",
            text.display()
        );
    }
}

/// The library says the same places as the renderer works out from the spans, and quotes what stands there.
#[test]
fn the_library_gives_the_places_that_are_shown() {
    for file in files("json") {
        let Ok(source) = fs::read_to_string(&file) else {
            continue; // not UTF-8, so nothing can be shown; its place stands in the text
        };
        let name = file.file_name().expect("a name").to_string_lossy();
        let shown: Vec<String> = check(&file)
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("--> ").map(str::to_owned))
            .collect();
        let (problems, warnings) = match Rules::from_json(&source) {
            Ok(rules) => (Vec::new(), rules.warnings().to_vec()),
            Err(error) => (error.problems().to_vec(), Vec::new()),
        };
        let findings = problems.iter().chain(&warnings);
        let given: Vec<String> = findings
            .clone()
            .map(|it| format!("{name}:{}:{}", it.line, it.column))
            .collect();
        assert_eq!(given, shown, "{name}");
        for finding in findings {
            let under = &source[finding.span.clone()];
            match finding.text.strip_suffix('…') {
                Some(cut) => assert!(under.starts_with(cut), "{finding}"),
                None => assert_eq!(finding.text, under, "{finding}"),
            }
        }
    }
}
