//! The documentation is held against the code: code blocks, commands, links and paths.
#![cfg(feature = "cli")]

mod blocks;
mod commands;
mod links;
mod log_lines;
mod page;

use page::{Block, Page};
use std::{
    fs,
    path::{Path, PathBuf},
};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every page that people read.
fn pages() -> Vec<Page> {
    let mut files = Vec::new();
    for folder in ["", "docs", "docs/guide"] {
        let folder = repository().join(folder);
        files.extend(files_in(&folder, "md"));
    }
    assert!(files.len() > 20, "{files:?}");
    files.sort();
    files.iter().map(|file| Page::read(file)).collect()
}

fn files_in(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let files = entries.map(|entry| entry.expect("an entry").path());
    files
        .filter(|file| file.extension().is_some_and(|found| found == ending))
        .collect()
}

/// Panics with everything that is wrong.
fn report(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
