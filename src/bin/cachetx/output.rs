//! Writing: results to standard output, complaints to standard error, neither ever by a macro that panics on a closed pipe.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use anstream::{AutoStream, ColorChoice, stream::RawStream};
use cachetx::Problem;
use std::io::Write;

/// Writes a result. Where nobody reads the rest (`| head`), that is no fault, and the exit code stays what it is.
pub(crate) fn write(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// A number with its noun: `1 record`, `2 records`.
pub(crate) fn counted(n: u64, one: &str, many: &str) -> String {
    let noun = if n == 1 { one } else { many };
    format!("{n} {noun}")
}

/// Writes a result as JSON.
pub(crate) fn write_json(value: &serde_json::Value) -> std::io::Result<()> {
    write(&format!("{value:#}\n"))
}

/// Writes a result that serializes as JSON.
pub(crate) fn write_serialized(value: &impl serde::Serialize) -> std::io::Result<()> {
    write_json(&serde_json::to_value(value)?)
}

/// Writes one line to standard error. If that fails too, there is nobody left to tell.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "error: {text}");
}

/// Writes diagnostics to standard error.
pub(crate) fn complain_rendered(rendered: &str) {
    let _ = std::io::stderr().lock().write_all(rendered.as_bytes());
}

/// How much a finding matters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    Error,
    Warning,
}

/// A finding with its line of the file, as rustc shows it; in colour if `to` is a terminal, unless `NO_COLOR` or
/// `CLICOLOR_FORCE` say otherwise.
pub(crate) fn render(
    problem: &Problem,
    severity: Severity,
    source: Option<&str>,
    to: &impl RawStream,
) -> String {
    let level = match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    // A file that cannot be shown (not UTF-8, changed meanwhile) still gets its message and place.
    let Some(source) = source.filter(|source| source.get(problem.span.clone()).is_some()) else {
        let word = match severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        return format!("{word}: {problem}\n\n");
    };
    let annotation = AnnotationKind::Primary.span(problem.span.clone());
    let snippet = Snippet::source(source)
        .path(problem.file.as_str())
        .annotation(annotation);
    let title = level.primary_title(problem.message.as_str());
    let mut report: Vec<Group<'_>> = vec![title.element(snippet)];
    if let Some(help) = &problem.help {
        report.push(Group::with_title(
            Level::HELP.secondary_title(help.as_str()),
        ));
    }
    let renderer = match AutoStream::choice(to) {
        ColorChoice::Never => Renderer::plain(),
        _ => Renderer::styled(),
    };
    format!("{}\n\n", renderer.render(&report))
}
