//! `cachetx outbox doctor DIR`: what is in an outbox's folder, and what to do about each file.

use crate::{Exit, Format, failure::Failure, outbox_folder, output};
use cachetx::OutboxFile;
use rustix::fs::{Access, AtFlags, CWD};
use serde_json::{Value, json};
use std::{
    fs::Metadata,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

/// A younger record of a living process is no cause for concern: a crash-safe save records what it
/// is about to delete, and a replay retries every 0.4 s.
const AT_WORK: Duration = Duration::from_secs(10);

/// Permission bits, of the group and of others.
const GROUP: u32 = 0o070;
const WRITE: u32 = 0o022;
const READ: u32 = 0o044;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The outbox's folder: for a store, `.cachetx-outbox` below its root
    dir: PathBuf,
    /// How to write the findings
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// A file, or the folder itself.
struct Finding {
    path: PathBuf,
    /// The permissions, the owner and the group.
    rights: Option<Rights>,
    state: String,
    bytes: Option<u64>,
    records: usize,
    oldest: Option<Duration>,
    damaged: usize,
    torn_bytes: usize,
    to_do: Vec<String>,
}

#[derive(Clone, Copy)]
struct Rights {
    mode: u32,
    uid: u32,
    gid: u32,
}

pub(crate) fn run(arguments: &Arguments) -> io::Result<Exit> {
    let findings = match examine(&arguments.dir) {
        Ok(findings) => findings,
        Err(failure) => return failure.report(None, arguments.format),
    };
    let to_do: usize = findings.iter().map(|finding| finding.to_do.len()).sum();
    match arguments.format {
        Format::Json => {
            let findings: Vec<Value> = findings.iter().map(Finding::as_json).collect();
            output::write_json(&json!({ "findings": findings, "to_do": to_do }))?;
        }
        Format::Text => {
            let text: String = findings.iter().map(Finding::as_text).collect();
            output::write(&format!("{text}{to_do} things to do\n"))?;
        }
    }
    Ok(match to_do {
        0 => Exit::Fine,
        _ => Exit::Problems,
    })
}

fn examine(dir: &Path) -> Result<Vec<Finding>, Failure> {
    outbox_folder::check(dir)?;
    if outbox_folder::is_unmade(dir) {
        let state = "not made yet: nothing was ever recorded";
        return Ok(vec![Finding::new(dir.to_owned(), None, state.to_owned())]);
    }
    let folder = of_folder(dir);
    let above = folder.rights;
    let mut findings = vec![folder];
    match (OutboxFile::list(dir), names(dir)) {
        (Ok(files), Ok(paths)) => {
            let listed = |path: &Path| files.iter().find(|file| file.path == path);
            let all = paths.into_iter();
            findings.extend(all.map(|path| of_file(dir, listed(&path), path, above)));
        }
        // The folder, or one of its files, cannot be read: finding that out is the point here.
        (Err(e), _) => findings[0].to_do.push(e.to_string()),
        (_, Err(e)) => findings[0].to_do.push(e.to_string()),
    }
    Ok(findings)
}

fn names(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(dir)?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

fn of_folder(dir: &Path) -> Finding {
    let own = std::fs::metadata(dir).ok();
    let mut finding = Finding::new(dir.to_owned(), own.as_ref(), "folder".to_owned());
    let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    if let Err(e) = rustix::fs::accessat(CWD, dir, all, AtFlags::EACCESS) {
        finding.to_do.push(format!(
            "this account may not read or write in it ({e}): what its processes cannot tell the server is not recorded; give it the rights, or run this as the owner"
        ));
    }
    let above = outbox_folder::above(dir).and_then(|above| std::fs::metadata(above).ok());
    if let (Some(own), Some(above)) = (own, above)
        && own.gid() == above.gid()
        && above.mode() & !own.mode() & WRITE != 0
    {
        finding.to_do.push(
            "not everybody who may write in the folder above may write here: give it the same rights (chmod)"
                .to_owned(),
        );
    }
    finding
}

fn of_file(
    dir: &Path,
    listed: Option<&OutboxFile>,
    path: PathBuf,
    folder: Option<Rights>,
) -> Finding {
    let own = std::fs::symlink_metadata(&path).ok();
    let kind = path.extension().and_then(|it| it.to_str());
    let Some(file) = listed else {
        let (state, to_do) = match kind {
            Some("new") => (
                "on its way to its name, or left by a dead process: then the next replay removes it",
                None,
            ),
            Some("outbox" | "poison") => (
                "unreadable",
                Some(
                    "this account cannot read it, so it cannot take it over: run this as its owner, or give the right to read",
                ),
            ),
            _ => ("not an outbox's, and left alone", None),
        };
        let mut finding = Finding::new(path, own.as_ref(), state.to_owned());
        finding.to_do.extend(to_do.map(str::to_owned));
        return finding;
    };
    let state = outbox_folder::state(file).to_owned();
    let mut finding = Finding::new(path, own.as_ref(), state);
    finding.records = file.records.len();
    finding.damaged = file.damaged;
    finding.torn_bytes = file.torn_bytes;
    let oldest = file.records.iter().map(|record| record.at).min();
    finding.oldest = oldest.map(|at| at.elapsed().unwrap_or_default());
    finding.to_do = to_do(file, finding.oldest, dir);
    if let (Some(folder), Some(own)) = (folder, finding.rights)
        && unreadable_for_some(folder, own)
    {
        finding.to_do.push(
            "not everybody who may write in the folder can read it, and so take it over: chmod g+rw, or o+rw, as the folder has it"
                .to_owned(),
        );
    }
    finding
}

/// Whether the group, or others, may write to the folder but not read the file.
fn unreadable_for_some(folder: Rights, file: Rights) -> bool {
    let may_write = (folder.mode & WRITE) << 1;
    let lacking = may_write & !file.mode & READ;
    match folder.gid == file.gid {
        true => lacking != 0,
        // Another group's rights say nothing about the folder's.
        false => lacking & !GROUP != 0,
    }
}

fn to_do(file: &OutboxFile, oldest: Option<Duration>, dir: &Path) -> Vec<String> {
    let mut to_do = Vec::new();
    let dir = dir.display();
    if file.path.extension().is_some_and(|it| it == "poison") {
        to_do.push(
            "what these lines would have deleted may be stale until its TTL: see what is still legible in them, run `cachetx invalidate` for it, then delete the file"
                .to_owned(),
        );
        return to_do;
    }
    let late = oldest.is_some_and(|age| age >= AT_WORK);
    if file.alive && late {
        to_do.push(
            "its process lives and does not reach the server: run `cachetx doctor --url …` where it runs"
                .to_owned(),
        );
    }
    if !file.alive && !file.records.is_empty() {
        let server = file.server.as_ref();
        let server = server.map_or_else(String::new, |it| format!(" and names the server `{it}`"));
        to_do.push(format!(
            "its process is dead and nobody has taken it over: start one that uses this outbox{server}, or run `cachetx outbox replay {dir} --url …`"
        ));
    }
    if file.damaged > 0 {
        to_do.push(
            "some lines are damaged, or a later version's: the process that takes the file over sets them aside in a .poison file"
                .to_owned(),
        );
    }
    to_do
}

impl Finding {
    fn new(path: PathBuf, own: Option<&Metadata>, state: String) -> Self {
        Self {
            path,
            rights: own.map(|own| Rights {
                mode: own.mode() & 0o7777,
                uid: own.uid(),
                gid: own.gid(),
            }),
            state,
            bytes: own.filter(|own| own.is_file()).map(Metadata::len),
            records: 0,
            oldest: None,
            damaged: 0,
            torn_bytes: 0,
            to_do: Vec::new(),
        }
    }

    fn as_text(&self) -> String {
        let mut text = format!("{}: {}", self.path.display(), self.state);
        if let Some(rights) = self.rights {
            let Rights { mode, uid, gid } = rights;
            text += &format!(", rights {mode:04o}, owner {uid}, group {gid}");
        }
        if let Some(bytes) = self.bytes {
            text += &format!(", {bytes} bytes");
        }
        if let Some(oldest) = self.oldest {
            let (records, age) = (self.records, oldest.as_secs());
            text += &format!(", {records} records, the oldest {age} s old");
        }
        if self.damaged > 0 {
            text += &format!(", {} damaged lines", self.damaged);
        }
        if self.torn_bytes > 0 {
            text += &format!(", {} bytes torn", self.torn_bytes);
        }
        text.push('\n');
        text.extend(self.to_do.iter().map(|it| format!("  to do: {it}\n")));
        text
    }

    fn as_json(&self) -> Value {
        json!({
            "path": self.path,
            "state": self.state,
            "mode": self.rights.map(|rights| format!("{:04o}", rights.mode)),
            "uid": self.rights.map(|rights| rights.uid),
            "gid": self.rights.map(|rights| rights.gid),
            "bytes": self.bytes,
            "records": self.records,
            "oldest_seconds": self.oldest.map(|age| age.as_secs()),
            "damaged": self.damaged,
            "torn_bytes": self.torn_bytes,
            "to_do": self.to_do,
        })
    }
}
