//! What holds for every subcommand.

use crate::rows::{ROWS, Row, Scene};
use std::{
    collections::BTreeSet,
    process::{Command, Output, Stdio},
};

fn output(mut command: Command) -> Output {
    command.output().expect("it runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// The subcommands that the help of `command` lists.
fn listed(scene: &Scene, command: &str) -> Vec<String> {
    let help = output(scene.command(command, "--help"));
    let help = text(&help.stdout);
    let Some((_, list)) = help.split_once("\nCommands:\n") else {
        return Vec::new();
    };
    let lines = list.lines().take_while(|line| !line.is_empty());
    // What a command does may go on in further lines, which are indented more.
    let names = lines
        .filter(|line| !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    let names = names.filter(|name| *name != "help");
    names
        .map(|name| format!("{command} {name}").trim().to_owned())
        .collect()
}

#[test]
fn every_subcommand_has_a_row() {
    let scene = Scene::start();
    let mut open = listed(&scene, "");
    let mut leaves = BTreeSet::new();
    while let Some(command) = open.pop() {
        let further = listed(&scene, &command);
        if further.is_empty() {
            leaves.insert(command);
        }
        open.extend(further);
    }
    let rows: BTreeSet<String> = ROWS.iter().map(|row| row.command.to_owned()).collect();
    assert_eq!(leaves, rows, "add a row to tests/cli/rows.rs");
}

#[test]
fn each_has_help() {
    let scene = Scene::start();
    for row in &ROWS {
        let help = output(scene.command(row.command, "--help"));
        assert_eq!(help.status.code(), Some(0), "{}", row.command);
        assert!(help.stderr.is_empty(), "{}", row.command);
        let help = text(&help.stdout);
        let usage = format!("Usage: cachetx {}", row.command);
        assert!(help.contains(&usage), "{help}");
        assert_eq!(help.contains("--format"), row.json, "{help}");
        assert_eq!(help.contains("CACHETX_URL"), row.asks_a_server(), "{help}");
    }
    let help = output(scene.command("", "--help"));
    assert!(text(&help.stdout).contains("Exit codes: 0 fine"));
}

#[test]
fn each_ends_with_0_1_and_2() {
    let scene = Scene::start();
    for row in &ROWS {
        for (command, code) in row.outcomes(&scene) {
            let output = output(command);
            assert_eq!(
                output.status.code(),
                Some(code),
                "{}: {output:?}",
                row.command
            );
            let told = !output.stdout.is_empty() || !output.stderr.is_empty();
            // Expanding no task, and an outbox with nothing in it.
            let silent = ["rules expand", "outbox list"].contains(&row.command);
            assert!(told || silent && code == 0, "{}: {output:?}", row.command);
        }
        for arguments in [row.wrong, "--no-such-option"] {
            let wrong = scene.run(row.command, arguments);
            assert_eq!(wrong.status.code(), Some(2), "{}: {wrong:?}", row.command);
            assert!(!wrong.stderr.is_empty(), "{}: {wrong:?}", row.command);
        }
    }
}

#[test]
fn each_writes_json() {
    let scene = Scene::start();
    for row in ROWS.iter().filter(|row| row.json) {
        for (mut command, code) in row.outcomes(&scene) {
            command.args(["--format", "json"]);
            let output = output(command);
            assert_eq!(
                output.status.code(),
                Some(code),
                "{}: {output:?}",
                row.command
            );
            // Where the rules file is broken there may be no result to write.
            if output.stdout.is_empty() && code == 1 {
                assert!(!row.asks_a_server(), "{}: {output:?}", row.command);
                continue;
            }
            let json: Result<serde_json::Value, _> = serde_json::from_slice(&output.stdout);
            assert!(json.is_ok(), "{}: {json:?}: {output:?}", row.command);
        }
    }
}

/// A reader that closes the pipe early (`| head`) is not an error.
#[test]
fn a_closed_pipe_leaves_the_exit_code_as_it_is() {
    let scene = Scene::start();
    for row in &ROWS {
        let help = (scene.command(row.command, "--help"), 0);
        for (mut command, code) in row.outcomes(&scene).into_iter().chain([help]) {
            let (reader, writer) = std::io::pipe().expect("a pipe");
            drop(reader);
            let child = command.stdout(writer).stderr(Stdio::piped()).spawn();
            drop(command); // with it the writing end that this process has
            let output = child.expect("it runs").wait_with_output().expect("it ends");
            assert_eq!(
                output.status.code(),
                Some(code),
                "{}: {output:?}",
                row.command
            );
            let said = text(&output.stderr);
            assert!(!said.contains("panicked"), "{}: {said}", row.command);
            assert!(said.is_empty() || code == 1, "{}: {said}", row.command);
        }
    }
}

#[test]
fn colour_follows_the_environment() {
    let scene = Scene::start();
    for row in &ROWS {
        for (forced, refused) in [(false, false), (true, false), (true, true)] {
            let coloured = |mut command: Command| {
                if forced {
                    command.env("CLICOLOR_FORCE", "1");
                }
                if refused {
                    command.env("NO_COLOR", "1");
                }
                let output = output(command);
                output.stdout.contains(&0x1b) || output.stderr.contains(&0x1b)
            };
            let wanted = forced && !refused;
            for part in ["--help", "--no-such-option"] {
                let help = coloured(scene.command(row.command, part));
                assert_eq!(help, wanted, "{} {part}", row.command);
            }
            for (command, code) in row.outcomes(&scene) {
                let wanted = wanted && shows_source(row, code);
                assert_eq!(coloured(command), wanted, "{}", row.command);
            }
        }
    }
}

/// Whether it quotes a broken rules file, which is what has colours.
fn shows_source(row: &Row, code: i32) -> bool {
    code == 1 && matches!(row.found, crate::rows::Found::With(line) if line.contains("broken.json"))
}
