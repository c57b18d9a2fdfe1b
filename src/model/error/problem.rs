use std::{fmt, ops::Range};

/// One thing that is wrong (or doubtful) in a rules file, and its position.
///
/// # Examples
///
/// ```
/// use cachetx::Rules;
///
/// let error = Rules::from_json(r#"{ "version": "1.0", "cache_keys": {}, "rulez": {} }"#)
///     .expect_err("a field is misspelt");
/// for problem in error.problems() {
///     println!("{}:{}: {}", problem.line, problem.column, problem.message);
/// }
/// assert!(error.problems().iter().any(|problem| problem.text.contains("rulez")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The file's name as given; `<rules>` for text that came from no file.
    pub file: String,
    /// Line, counted from 1.
    pub line: u32,
    /// Column in characters, counted from 1.
    pub column: u32,
    /// The offending text's byte range in the file.
    pub span: Range<usize>,
    /// The offending text itself, shortened if it is long.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.message
        )?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

/// All problems, one per line.
pub(super) struct Listing<'a>(pub(super) &'a [Problem]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            fmt::Display::fmt(problem, f)?;
        }
        Ok(())
    }
}
