//! Links lead to files and headings that are there, and so do paths that are named.

use super::{pages, report, repository};
use std::{fs, path::Path};

/// Folders whose files pages name.
const FOLDERS: [&str; 9] = [
    "benches", "docs", "examples", "fuzz", "lua", "rules", "scripts", "src", "tests",
];

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let mut wrong = Vec::new();
    for page in &pages {
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            let folder = page.path.parent().expect("a folder");
            let target = match path {
                "" => Ok(page.path.clone()),
                _ => folder.join(path).canonicalize(),
            };
            let Ok(target) = target else {
                wrong.push(format!("{}: no such file: {link}", page.name()));
                continue;
            };
            let there = pages.iter().find(|page| page.path == target);
            let headings = there.map_or(&[][..], |page| &page.headings);
            if !heading.is_empty() && !headings.iter().any(|it| it == heading) {
                wrong.push(format!("{}: no such heading: {link}", page.name()));
            }
        }
    }
    report(&wrong);
}

#[test]
fn every_path_that_is_named_is_there() {
    let mut wrong = Vec::new();
    for page in pages() {
        // What a changelog names may be gone since.
        if page.path.ends_with("CHANGELOG.md") {
            continue;
        }
        for code in &page.code {
            let Some(path) = path_in(code) else { continue };
            if !is_there(path) {
                wrong.push(format!("{}: no such file: {path}", page.name()));
            }
        }
    }
    report(&wrong);
}

/// A path without what may follow it, such as `::name_of_a_test`.
fn path_in(code: &str) -> Option<&str> {
    let end = code.find("::").unwrap_or(code.len());
    let path = &code[..end];
    let first = path.split('/').next()?;
    let is_path = path.contains('/')
        && FOLDERS.contains(&first)
        && !path.contains(|c: char| c.is_whitespace() || "{…*".contains(c));
    is_path.then_some(path.trim_end_matches('/'))
}

/// A module of tests may be named without its ending.
fn is_there(path: &str) -> bool {
    let path = repository().join(path);
    path.exists() || path.with_extension("rs").exists()
}

#[test]
fn comments_name_files_that_are_there() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches", "examples", "fuzz"] {
        each_source(&repository().join(folder), &mut |file, text| {
            for line in text
                .lines()
                .filter(|line| line.trim_start().starts_with("//"))
            {
                let code = line.split('`').skip(1).step_by(2).filter_map(path_in);
                for path in code.filter(|path| !is_there(path)) {
                    wrong.push(format!("{}: no such file: {path}", file.display()));
                }
            }
        });
    }
    report(&wrong);
}

fn each_source(folder: &Path, see: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            if !path.ends_with("target") {
                each_source(&path, see);
            }
        } else if path.extension().is_some_and(|it| it == "rs") {
            see(&path, &fs::read_to_string(&path).expect("a source"));
        }
    }
}
