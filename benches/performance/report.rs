//! The document: the headline figures, then sections in the order in which they were measured.

use crate::plot::Plot;
use cachetx::BoxError;
use std::{fmt::Write as _, fs, path::Path};

/// A folder next to the document.
const PLOTS: &str = "performance";

#[derive(Default)]
pub struct Report {
    sections: String,
    headlines: Vec<[String; 2]>,
    plots: Vec<Plot>,
}

impl Report {
    /// Begins a section.
    pub fn section(&mut self, title: &str, text: &str) {
        println!("\n{title}\n");
        let _ = write!(self.sections, "\n## {title}\n\n{}\n", wrapped(text));
    }

    pub fn table(&mut self, table: &Table) {
        println!("{}", table.text());
        let _ = write!(self.sections, "\n{}", table.text());
    }

    pub fn plot(&mut self, plot: Plot) {
        let _ = write!(
            self.sections,
            "\n![{}]({PLOTS}/{}.svg)\n",
            plot.title, plot.file
        );
        self.plots.push(plot);
    }

    /// Adds a figure to the start of the document.
    pub fn headline(&mut self, what: impl Into<String>, figure: impl Into<String>) {
        self.headlines.push([what.into(), figure.into()]);
    }

    pub fn headlines(&self) -> Table {
        let mut table = Table::new(&["work", "measured"]);
        table.rows = self.headlines.iter().map(|row| row.to_vec()).collect();
        table
    }

    /// Writes the document and its plots.
    pub fn write(&self, docs: &Path, introduction: &str) -> Result<(), BoxError> {
        let folder = docs.join(PLOTS);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        for plot in &self.plots {
            plot.draw(&folder)?;
        }
        let headlines = self.headlines().text();
        let text = format!(
            "{introduction}\n## Headlines\n\n{headlines}{}",
            self.sections
        );
        Ok(fs::write(docs.join("performance.md"), text)?)
    }
}

/// Wraps text to lines of at most `WIDTH` characters, unless a word is longer.
pub fn wrapped(text: &str) -> String {
    const WIDTH: usize = 120;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is one from the start");
        if !last.is_empty() && last.len() + word.len() >= WIDTH {
            lines.push(word.to_owned());
        } else {
            let space = if last.is_empty() { "" } else { " " };
            last.push_str(space);
            last.push_str(word);
        }
    }
    lines.join("\n")
}

/// Columns of numbers are right-aligned.
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<S: AsRef<str>>(head: &[S]) -> Self {
        Self {
            head: head.iter().map(|name| name.as_ref().to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// As Markdown.
    pub fn text(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rules: Vec<String> = (0..self.head.len()).map(|n| self.rule(n)).collect();
        let rows = self.rows.iter().map(|row| line(row));
        line(&self.head) + &line(&rules) + &rows.collect::<String>()
    }

    /// Right-aligned if all cells begin with a digit.
    fn rule(&self, column: usize) -> String {
        let number = |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit());
        let cells: Vec<&String> = self.rows.iter().filter_map(|row| row.get(column)).collect();
        let right = !cells.is_empty() && cells.iter().all(|cell| number(cell));
        if right { "---:" } else { "---" }.to_owned()
    }
}
