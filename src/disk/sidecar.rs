//! The sidecar's content: one line of fixed length, so that overwriting it leaves nothing of the
//! old line.

use super::{JournalId, Sidecar, folder, os_lock::Lockable, rights};
use crate::model::limits::MAX_FENCE;
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use std::{fs::File, io, os::unix::fs::FileExt};
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &str = "cachetx 2";
const LINE_BYTES: usize = 86;
/// The format before journals: without the field for one.
const MAGIC_1: &str = "cachetx 1";
/// Stands in the journal field when there is none.
const NO_JOURNAL: &str = "----------------";

pub(super) fn name(file: &str) -> String {
    format!(".{file}.cachetx")
}

/// The document that a sidecar of this name belongs to.
pub(super) fn document(name: &str) -> Option<&str> {
    name.strip_prefix('.')?.strip_suffix(".cachetx")
}

pub(super) fn line(content: &Sidecar) -> String {
    let journal = content.journal.map(|id| id.to_string());
    let journal = journal.as_deref().unwrap_or(NO_JOURNAL);
    sealed(format!("{} {journal}", numbers(MAGIC, content)))
}

fn numbers(magic: &str, content: &Sidecar) -> String {
    let (fence, mtime_ns) = (content.fence, content.mtime_ns.max(0));
    format!("{magic} {fence:020} {mtime_ns:020}")
}

pub(super) fn sealed(body: String) -> String {
    let digest = xxh3_64(body.as_bytes());
    format!("{body} {digest:016x}\n")
}

/// `None` unless it is one whole line: for example a new, empty sidecar, or one torn by a power
/// loss.
pub(super) fn parse(text: &[u8]) -> Option<Sidecar> {
    let text = std::str::from_utf8(text).ok()?;
    let first = text.starts_with(MAGIC_1);
    let magic = if first { MAGIC_1 } else { MAGIC };
    let mut words = text.strip_prefix(magic)?.split_ascii_whitespace();
    let mut content = Sidecar {
        fence: words.next()?.parse().ok().filter(|f| *f <= MAX_FENCE)?,
        mtime_ns: words.next()?.parse().ok()?,
        journal: None,
    };
    if first {
        return (sealed(numbers(magic, &content)) == text).then_some(content);
    }
    content.journal = match words.next()? {
        NO_JOURNAL => None,
        name => Some(JournalId::parse(name)?),
    };
    (line(&content) == text).then_some(content)
}

/// A damaged sidecar counts as empty: the stamp check protects the file without it.
pub(super) fn read(file: &File) -> io::Result<Sidecar> {
    let mut text = [0; LINE_BYTES + 1];
    let mut len = 0;
    while len < text.len() {
        match file.read_at(&mut text[len..], len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(parse(&text[..len]).unwrap_or_else(|| {
        if len > 0 {
            log::warn!("a sidecar is damaged and taken as empty; its fence is lost, the stamp check still holds");
        }
        Sidecar::default()
    }))
}

pub(super) fn write(file: &File, content: &Sidecar) -> io::Result<()> {
    file.write_all_at(line(content).as_bytes(), 0)?;
    // Only a damaged sidecar is longer. A needless `set_len` would make ext4 write the block with
    // the next sync.
    match file.metadata()?.len() > LINE_BYTES as u64 {
        true => file.set_len(LINE_BYTES as u64),
        false => Ok(()),
    }
}

/// Reads the sidecar without its lock, if it exists.
pub(super) fn peek(dir: &File, file: &str) -> Result<Option<Sidecar>, io::Error> {
    match folder::open_at(dir, &name(file), OFlags::RDONLY, Mode::empty()) {
        Ok(sidecar) => read(&sidecar).map(Some),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// The sidecar with its OS lock. `None` if another holder has the lock, or if the name no longer
/// leads to the locked file: the next writer would lock a different one.
pub(super) fn try_lock(dir: &File, file: &str) -> io::Result<Option<Lockable>> {
    let name = name(file);
    let new = Mode::from_raw_mode(0o666);
    let opened = folder::open_at(dir, &name, OFlags::RDWR | OFlags::CREATE, new);
    let sidecar = Lockable::from(opened.map_err(|e| refused(e, &name))?);
    if !sidecar.try_lock()? || !folder::leads_to(dir, &name, &sidecar)? {
        return Ok(None);
    }
    // On every lock: the document's rights may have changed, and the next save by the sidecar's
    // owner corrects the sidecar's.
    rights::share_sidecar(&sidecar, dir, file);
    Ok(Some(sidecar))
}

/// Adds what to do about a sidecar whose rights are narrower than the document's.
fn refused(e: Errno, name: &str) -> io::Error {
    let source = io::Error::from(e);
    if e != Errno::ACCESS {
        return source;
    }
    let hint = "its owner's next save gives it the rights of the document and of their folder";
    io::Error::new(source.kind(), format!("{name}: {source}: {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_stated_length_and_reads_back() {
        for content in [
            Sidecar::default(),
            Sidecar {
                fence: MAX_FENCE,
                mtime_ns: i64::MAX,
                journal: JournalId::parse("0123456789abcdef"),
            },
        ] {
            assert_eq!(line(&content).len(), LINE_BYTES);
            assert_eq!(parse(line(&content).as_bytes()), Some(content));
        }
    }

    #[test]
    fn a_line_without_the_word_for_a_journal_is_read() {
        let content = Sidecar {
            fence: 17,
            mtime_ns: 1_700_000_000_000_000_000,
            journal: None,
        };
        let old = sealed(numbers(MAGIC_1, &content));
        assert_eq!(old.len(), 69);
        assert_eq!(parse(old.as_bytes()), Some(content));
        let mixed = old.replace(MAGIC_1, MAGIC);
        assert_eq!(parse(mixed.as_bytes()), None);
    }

    #[test]
    fn any_damage_is_noticed() {
        let whole = line(&Sidecar {
            fence: 17,
            mtime_ns: 1_700_000_000_000_000_000,
            journal: JournalId::parse("00000000000000ff"),
        });
        assert_eq!(parse(b""), None);
        for at in 0..whole.len() {
            let mut torn = whole.clone().into_bytes();
            torn[at] ^= 1;
            assert_eq!(parse(&torn), None, "byte {at} changed");
            assert_eq!(parse(&whole.as_bytes()[..at]), None, "cut at {at}");
        }
    }
}
