//! Commands that pages show are run.

use super::{blocks::in_language, pages, report, repository};
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

/// What other tests run, or what changes the machine.
const ELSEWHERE: [&str; 4] = ["make ", "cargo ", "curl ", "FUZZ_"];

#[test]
fn every_command_of_cachetx_runs_as_it_is_shown() {
    let folder = TempDir::new().expect("a folder");
    copy_rules(folder.path());
    let (mut wrong, mut ran) = (Vec::new(), 0);
    for page in pages() {
        for line in in_language(&page.blocks, "sh").flat_map(|block| block.text.lines()) {
            let line = line.split(" # ").next().unwrap_or(line).trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if ELSEWHERE.iter().any(|start| line.starts_with(start)) {
                wrong.extend(unknown_target(line).map(|it| format!("{}: {it}", page.name())));
                continue;
            }
            if !line.starts_with("cachetx ") {
                wrong.push(format!("{}: nothing runs `{line}`", page.name()));
                continue;
            }
            ran += 1;
            wrong.extend(run(line, folder.path()).map(|it| format!("{}: {it}", page.name())));
        }
    }
    report(&wrong);
    assert!(ran > 10, "only {ran} commands were found");
}

fn copy_rules(to: &Path) {
    let rules = to.join("rules");
    fs::create_dir(&rules).expect("made");
    for file in ["shop.json", "nodb.json", "minimal.json"] {
        fs::copy(repository().join("rules").join(file), rules.join(file)).expect("copied");
    }
}

/// By a shell, since some write files.
fn run(line: &str, folder: &Path) -> Option<String> {
    let binary = Path::new(env!("CARGO_BIN_EXE_cachetx"));
    let path = std::env::var("PATH").unwrap_or_default();
    let ran = Command::new("sh")
        .args(["-c", line])
        .current_dir(folder)
        .env(
            "PATH",
            format!("{}:{path}", binary.parent().expect("a folder").display()),
        )
        .output()
        .expect("a shell");
    // 1 is an answer: it found something.
    let is_fine = matches!(ran.status.code(), Some(0 | 1));
    (!is_fine).then(|| format!("`{line}`: {}", String::from_utf8_lossy(&ran.stderr)))
}

#[test]
fn every_command_that_is_named_is_there() {
    let mut wrong = Vec::new();
    for page in pages() {
        for code in page.code.iter().filter(|code| code.starts_with("cachetx ")) {
            let words = code.split_whitespace().skip(1);
            let words: Vec<&str> = words.take_while(|word| is_subcommand(word)).collect();
            if words.is_empty() {
                continue;
            }
            let ran = Command::new(env!("CARGO_BIN_EXE_cachetx"))
                .args(words)
                .arg("--help")
                .output();
            if !ran.expect("it runs").status.success() {
                wrong.push(format!("{}: no such command: `{code}`", page.name()));
            }
        }
    }
    report(&wrong);
}

fn is_subcommand(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_lowercase())
}

/// A target that the Makefile does not have.
fn unknown_target(line: &str) -> Option<String> {
    let target = line.split_once("make ")?.1.split_whitespace().next()?;
    let makefile = fs::read_to_string(repository().join("Makefile")).expect("a Makefile");
    let is_there = makefile
        .lines()
        .any(|it| it.starts_with(&format!("{target}:")));
    (!is_there).then(|| format!("no target `{target}`"))
}
