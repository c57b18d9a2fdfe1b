//! Instructions of the client, counted by callgrind: the program runs itself under valgrind, with a
//! variable set as a sign.
//!
//! Only what runs inside [`counted`], on its thread, is counted. Valgrind writes one file for each
//! call of it.

use cachetx::BoxError;
use std::{
    fs,
    process::{Command, Stdio},
};

/// Repetitions that are counted together, so that occasional work counts in proportion.
pub const REPEATS: u64 = 20;

/// Runs work that callgrind counts. [`run`] refers to it by name.
#[inline(never)]
pub fn counted(work: &mut dyn FnMut()) {
    for _ in 0..REPEATS {
        work();
    }
    // Keeps the call above from becoming a tail call, which would end this function too early.
    std::hint::black_box(());
}

/// The version of valgrind, if it is installed.
pub fn version() -> Option<String> {
    let output = Command::new("valgrind").arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The instructions of each of `items` items. Runs this program with these arguments and this
/// variable set; it must call [`counted`] once for each item, in order.
pub fn run(arguments: &[&str], variable: &str, items: usize) -> Result<Vec<u64>, BoxError> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("out");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .args([
            "--toggle-collect=*::callgrind::counted",
            "--dump-after=*::callgrind::counted",
        ])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe()?)
        .args(arguments)
        .env(variable, "1")
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("under valgrind: {}: {text}", output.status).into());
    }
    (1..=items)
        .map(|n| {
            let text = fs::read_to_string(out.with_extension(n.to_string()))?;
            let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
            let total: u64 = totals.ok_or("no totals")?.trim().parse()?;
            Ok(total / REPEATS)
        })
        .collect()
}
