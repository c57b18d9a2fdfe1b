//! Collects the problems of one rules file, so that all are reported at once and in the file's
//! order.

use crate::model::{Problem, limits::MAX_PROBLEMS, text};
use std::ops::Range;

/// The number of characters of the offending text that a problem quotes.
const QUOTED_CHARS: usize = 60;

/// Suggestions are searched for this many unknown names of a file: each search compares with every
/// known name.
const MAX_SUGGESTIONS: usize = 2 * MAX_PROBLEMS;

/// The problems and warnings of one text.
pub(super) struct Report<'t> {
    file: &'t str,
    text: &'t str,
    problems: Findings,
    warnings: Findings,
    suggestions_left: usize,
}

#[derive(Default)]
struct Findings {
    kept: Vec<Finding>,
    /// Found past the limit.
    dropped: usize,
}

struct Finding {
    span: Range<usize>,
    message: String,
    help: Option<String>,
}

impl<'t> Report<'t> {
    pub(super) fn new(file: &'t str, text: &'t str) -> Self {
        Self {
            file,
            text,
            problems: Findings::default(),
            warnings: Findings::default(),
            suggestions_left: MAX_SUGGESTIONS,
        }
    }

    pub(super) fn problem(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.problems.add(span, message.into(), help);
    }

    pub(super) fn warning(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        help: Option<String>,
    ) {
        self.warnings.add(span, message.into(), help);
    }

    pub(super) fn has_problems(&self) -> bool {
        !self.problems.kept.is_empty()
    }

    /// "Did you mean …?" for an unknown name, or else `otherwise`.
    pub(super) fn suggest<'c>(
        &mut self,
        given: &str,
        candidates: impl IntoIterator<Item = &'c str>,
        otherwise: &str,
    ) -> Option<String> {
        let found = match self.suggestions_left.checked_sub(1) {
            Some(left) => {
                self.suggestions_left = left;
                super::suggest::did_you_mean(given, candidates)
            }
            None => None,
        };
        Some(found.unwrap_or_else(|| otherwise.to_owned()))
    }

    /// Line and column of a place in the text, for a message that points at a second place.
    pub(super) fn place(&self, at: usize) -> String {
        let mut cursor = Cursor::new(self.text);
        let (line, column) = cursor.advance(at);
        format!("{line}:{column}")
    }

    /// Problems, then warnings, each in the order of the text.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
        let Self {
            file,
            text,
            problems,
            warnings,
            ..
        } = self;
        (problems.finish(file, text), warnings.finish(file, text))
    }
}

impl Findings {
    fn add(&mut self, span: Range<usize>, message: String, help: Option<String>) {
        self.kept.push(Finding {
            span,
            message,
            help,
        });
        // The first problems in the file are wanted, not the first ones found: so sort and cut from
        // time to time.
        if self.kept.len() >= 4 * MAX_PROBLEMS {
            self.cut();
        }
    }

    fn cut(&mut self) {
        // A stable sort: problems at one place stay in the order in which they were found.
        self.kept
            .sort_by_key(|finding| (finding.span.start, finding.span.end));
        self.dropped += self.kept.len().saturating_sub(MAX_PROBLEMS);
        self.kept.truncate(MAX_PROBLEMS);
    }

    fn finish(mut self, file: &str, text: &str) -> Vec<Problem> {
        self.cut();
        let mut cursor = Cursor::new(text);
        let mut problems: Vec<Problem> = self
            .kept
            .into_iter()
            .map(|finding| {
                let (line, column) = cursor.advance(finding.span.start);
                Problem {
                    file: file.to_owned(),
                    line,
                    column,
                    text: quoted(text, &finding.span),
                    span: finding.span,
                    message: finding.message,
                    help: finding.help,
                }
            })
            .collect();
        if let (Some(last), 1..) = (problems.last(), self.dropped) {
            let more = Problem {
                message: format!("and {} more, not listed", self.dropped),
                help: None,
                ..last.clone()
            };
            problems.push(more);
        }
        problems
    }
}

/// The text of a span, shortened if it is long.
fn quoted(text: &str, span: &Range<usize>) -> String {
    let under = text.get(span.clone()).unwrap_or_default();
    match under.char_indices().nth(QUOTED_CHARS) {
        Some((cut, _)) => format!("{}…", &under[..cut]),
        None => under.to_owned(),
    }
}

/// Counts lines and characters forwards, so that many places need only one pass.
struct Cursor<'t> {
    text: &'t str,
    at: usize,
    line: u32,
    line_start: usize,
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            line_start: 0,
        }
    }

    /// The place of `to`, which must not be before the previous one.
    fn advance(&mut self, to: usize) -> (u32, u32) {
        let to = text::floor(self.text, to);
        for (offset, _) in self.text[self.at..to].match_indices('\n') {
            self.line += 1;
            self.line_start = self.at + offset + 1;
        }
        self.at = to;
        let column = self.text[self.line_start..to].chars().count() + 1;
        (self.line, u32::try_from(column).unwrap_or(u32::MAX))
    }
}
