//! The committed counts: sections with one count a line.

use std::fmt;

/// By how much of the committed number another one may differ: allocations and instructions may by chance, and ids by their length.
const TOLERANCE: f64 = 0.02;
const HEADER: &str = "# What a save costs, counted. `make bench-check` compares it: text and numbers below 50 exactly, others within 2 %.
# `make bench-check ACCEPT=1` writes it. Sections of servers that are not here are kept.
";
const INSTRUCTIONS: &str = "instructions";

#[derive(Clone, Debug)]
pub struct Section {
    title: String,
    lines: Vec<(String, String)>,
}

impl Section {
    pub fn new(title: String) -> Self {
        Self {
            title,
            lines: Vec::new(),
        }
    }

    pub fn count(&mut self, name: &str, count: u64) {
        self.text(name, &count);
    }

    pub fn text(&mut self, name: &str, value: &impl ToString) {
        self.lines.push((name.to_owned(), value.to_string()));
    }

    fn value(&self, name: &str) -> Option<&str> {
        let line = self.lines.iter().find(|line| line.0 == name)?;
        Some(&line.1)
    }
}

#[derive(Clone, Debug, Default)]
pub struct Counts(Vec<Section>);

impl Counts {
    pub fn add(&mut self, section: Section) {
        self.0.push(section);
    }

    pub fn read(text: &str) -> Self {
        let mut counts = Self::default();
        for line in text.lines() {
            if let Some(title) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                counts.add(Section::new(title.to_owned()));
            } else if let (Some((name, value)), Some(section)) =
                (line.split_once(" = "), counts.0.last_mut())
            {
                section.text(name, &value);
            }
        }
        counts
    }

    fn section(&self, title: &str) -> Option<&Section> {
        self.0.iter().find(|section| section.title == title)
    }

    /// Titles of sections that the committed counts do not have.
    pub fn missing_in(&self, committed: &Self) -> Vec<&str> {
        let titles = self.0.iter().map(|section| section.title.as_str());
        titles
            .filter(|title| committed.section(title).is_none())
            .collect()
    }

    /// What was found in place of this, in the sections that both have.
    pub fn differences(&self, found: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        for section in &found.0 {
            let Some(committed) = self.section(&section.title) else {
                continue;
            };
            let names = section.lines.iter().chain(&committed.lines);
            let mut names: Vec<&str> = names.map(|line| line.0.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let (was, is) = (committed.value(name), section.value(name));
                if !same(was, is) {
                    differences.push(format!(
                        "  [{}] {name}: {} committed, {} found",
                        section.title,
                        was.unwrap_or("nothing"),
                        is.unwrap_or("nothing"),
                    ));
                }
            }
        }
        differences
    }

    /// These with what was found in their place; those of other compilers are out of date then.
    pub fn accept(mut self, found: &Self) -> Self {
        if found.0.iter().any(is_of_a_compiler) {
            self.0.retain(|section| !is_of_a_compiler(section));
        }
        for section in &found.0 {
            match self.0.iter_mut().find(|s| s.title == section.title) {
                Some(committed) => *committed = section.clone(),
                None => self.add(section.clone()),
            }
        }
        self
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEADER)?;
        for section in &self.0 {
            write!(f, "\n[{}]\n", section.title)?;
            for (name, value) in &section.lines {
                writeln!(f, "{name} = {value}")?;
            }
        }
        Ok(())
    }
}

fn is_of_a_compiler(section: &Section) -> bool {
    section.title.starts_with(INSTRUCTIONS)
}

fn same(committed: Option<&str>, found: Option<&str>) -> bool {
    let number = |value: Option<&str>| value?.parse::<f64>().ok();
    match (number(committed), number(found)) {
        (Some(committed), Some(found)) => (committed - found).abs() <= TOLERANCE * committed,
        _ => committed == found,
    }
}

#[test]
fn what_differs_is_said_and_accepted() {
    let text = "[a]\nround trips = 2\nbytes = 1000\ncommands = SET 1\n\n[of an absent server]\nbytes = 1\n";
    let committed = Counts::read(text);
    let with = |bytes: u64, commands: &str| {
        let mut section = Section::new("a".to_owned());
        section.count("round trips", 2);
        section.count("bytes", bytes);
        section.text("commands", &commands);
        Counts(vec![section])
    };
    assert!(committed.differences(&with(1020, "SET 1")).is_empty());
    assert_eq!(
        committed.differences(&with(1021, "SET 1")),
        ["  [a] bytes: 1000 committed, 1021 found"]
    );
    let other = with(1000, "SET 2");
    assert_eq!(
        committed.differences(&other),
        ["  [a] commands: SET 1 committed, SET 2 found"]
    );
    let accepted = Counts::read(&committed.accept(&other).to_string());
    assert!(accepted.differences(&other).is_empty());
    assert!(accepted.section("of an absent server").is_some());
}
