//! What docs/operations.md says of log lines is what the code logs.

use super::{report, repository};
use std::{fs, path::Path};

#[test]
fn every_log_line_that_is_explained_is_in_the_code() {
    let page = fs::read_to_string(repository().join("docs/operations.md")).expect("the page");
    let (_, table) = page.split_once("## Log lines").expect("a section");
    let (table, _) = table.split_once("\n## ").expect("a next section");
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let mut code = String::new();
    read_all(&repository().join("src"), &mut code);
    let (mut wrong, mut found) = (Vec::new(), 0);
    for row in rows {
        let messages = row.split('|').nth(1).expect("a message");
        for message in messages.split('`').skip(1).step_by(2) {
            found += 1;
            // What stands for a value is left out.
            let parts = message.split('…').map(str::trim);
            wrong.extend(
                parts
                    .filter(|part| !code.contains(*part))
                    .map(|part| format!("nothing logs `{part}`")),
            );
        }
    }
    report(&wrong);
    assert!(found > 15, "only {found} messages were found");
}

fn read_all(folder: &Path, code: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => read_all(&path, code),
            false => code.push_str(&fs::read_to_string(&path).unwrap_or_default()),
        }
    }
}
