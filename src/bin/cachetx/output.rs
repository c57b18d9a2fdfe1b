//! Writes results to standard output and errors to standard error, never with a macro that panics
//! on a closed pipe.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use anstream::{AutoStream, ColorChoice, stream::RawStream};
use cachetx::Problem;
use std::io::Write;

/// Writes a result. If nobody reads the rest (`| head`), that is not an error, and the exit code
/// stays the same.
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
    let text = redacted(text);
    let _ = writeln!(std::io::stderr().lock(), "error: {text}");
}

/// Like `complain`, for what does not stop a command.
pub(crate) fn warn(text: &str) {
    let text = redacted(text);
    let _ = writeln!(std::io::stderr().lock(), "warning: {text}");
}

/// The text without users and passwords of URLs, since messages quote a URL that is given in a
/// wrong place. In a line with several URLs, the text between them may be removed too.
pub(crate) fn redacted(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(redacted_line).collect();
    lines.join("\n")
}

fn redacted_line(line: &str) -> String {
    let Some((before, after)) = line.split_once("://") else {
        return line.to_owned();
    };
    // The last `@`: a password may contain others, and spaces.
    let (login, rest) = match after.rsplit_once('@') {
        Some((_, rest)) => ("…@", rest),
        None => ("", after),
    };
    // A Unix socket's password is in the query.
    match rest.split_once('?').filter(|_| before.ends_with("unix")) {
        Some((path, _)) => format!("{before}://{login}{path}?…"),
        None => format!("{before}://{login}{rest}"),
    }
}

/// The most lines of one list in a text: some screens of a terminal. Rules may have 4,096 tasks and
/// as many controllers, each of which may delete the same entry, or have changed.
pub(crate) const MAX_LINES: usize = 200;
/// The most names in one of these lines: some lines of a terminal. There may be 4,096.
pub(crate) const MAX_NAMES: usize = 32;

/// The first `most` lines of a result; JSON has all.
pub(crate) fn bounded(lines: &[String], most: usize) -> String {
    let shown: String = lines
        .iter()
        .take(most)
        .map(|line| format!("{line}\n"))
        .collect();
    match lines.len().saturating_sub(most) {
        0 => shown,
        more => format!("{shown}and {more} more (--format json has all)\n"),
    }
}

/// Names in one line, cut after `most`.
pub(crate) fn bounded_names(names: &[String], between: &str, most: usize) -> String {
    let shown = &names[..names.len().min(most)];
    match names.len() - shown.len() {
        0 => shown.join(between),
        more => format!("{} and {more} more", shown.join(between)),
    }
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
    // A file that cannot be shown (not UTF-8, changed meanwhile) still gets its message and
    // position.
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
