//! `cachetx rules check FILE…`: everything that is wrong or doubtful, by file.

use crate::{
    Exit,
    output::{self, Severity, render},
};
use cachetx::{Error, Problem, Rules};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Rules files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// How to write the findings
    #[arg(long, value_enum, default_value_t)]
    format: FindingsFormat,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum FindingsFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
    /// As annotations of GitHub Actions
    Github,
}

/// What was found in one file.
struct Findings {
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

pub(crate) fn run(arguments: &Arguments) -> std::io::Result<Exit> {
    let mut exit = Exit::Fine;
    let mut text = String::new();
    let mut list = Vec::new();
    for file in &arguments.files {
        match findings(file) {
            Ok(found) => {
                if !found.problems.is_empty() {
                    exit = exit.max(Exit::Problems);
                }
                match arguments.format {
                    FindingsFormat::Json => list.push(as_json(file, &found)),
                    FindingsFormat::Text => text.push_str(&as_text(file, &found)),
                    FindingsFormat::Github => text.push_str(&as_annotations(&found)),
                }
            }
            // An unreadable file is a wrong argument; the others are still checked.
            Err(error) => {
                output::complain(&error.to_string());
                exit = Exit::Usage;
            }
        }
    }
    match arguments.format {
        FindingsFormat::Json => output::write_json(&Value::Array(list))?,
        FindingsFormat::Text | FindingsFormat::Github => output::write(&text)?,
    }
    Ok(exit)
}

fn findings(file: &Path) -> Result<Findings, Error> {
    match Rules::from_path(file) {
        Ok(rules) => Ok(Findings {
            problems: Vec::new(),
            warnings: rules.warnings().to_vec(),
        }),
        Err(error) if error.is_rules() => Ok(Findings {
            problems: error.problems().to_vec(),
            warnings: Vec::new(),
        }),
        Err(error) => Err(error),
    }
}

fn as_text(file: &Path, found: &Findings) -> String {
    let source = std::fs::read_to_string(file).ok();
    let shown = |problems: &[Problem], severity| -> String {
        problems
            .iter()
            .map(|problem| render(problem, severity, source.as_deref(), &std::io::stdout()))
            .collect()
    };
    let mut text = shown(&found.problems, Severity::Error);
    text.push_str(&shown(&found.warnings, Severity::Warning));
    let verdict = format!(
        "{}: {}, {}\n",
        file.display(),
        output::counted(found.problems.len() as u64, "problem", "problems"),
        output::counted(found.warnings.len() as u64, "warning", "warnings")
    );
    text + &verdict
}

/// Workflow commands of GitHub Actions, a line for each finding.
fn as_annotations(found: &Findings) -> String {
    let line = |level: &str, problem: &Problem| {
        let mut message = problem.message.clone();
        if let Some(help) = &problem.help {
            message += &format!("\nhelp: {help}");
        }
        let message = escaped(&message, &[]);
        let file = escaped(&problem.file, &[':', ',']);
        let (line, column) = (problem.line, problem.column);
        format!("::{level} file={file},line={line},col={column}::{message}\n")
    };
    let problems = found.problems.iter().map(|it| line("error", it));
    let warnings = found.warnings.iter().map(|it| line("warning", it));
    problems.chain(warnings).collect()
}

/// The text with `%`, line ends and the characters of `more` percent-encoded.
fn escaped(text: &str, more: &[char]) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '%' | '\r' | '\n') || more.contains(&character) {
            escaped += &format!("%{:02X}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

fn as_json(file: &Path, found: &Findings) -> Value {
    let list = |problems: &[Problem]| -> Vec<Value> {
        problems
            .iter()
            .map(|problem| {
                json!({
                    "file": problem.file,
                    "line": problem.line,
                    "column": problem.column,
                    "span": { "start": problem.span.start, "end": problem.span.end },
                    "text": problem.text,
                    "message": problem.message,
                    "help": problem.help,
                })
            })
            .collect()
    };
    json!({
        "file": file.display().to_string(),
        "problems": list(&found.problems),
        "warnings": list(&found.warnings),
    })
}
