//! Journals: what a transaction is about to do to several documents, made durable before it begins.
//!
//! A journal is a file `<16 hex digits>.journal` in the folder `.cachetx-journal` below the root.
//! Its owner holds its OS lock. It holds one line, `<version> <digest> <JSON>`, or nothing yet. A
//! journal that is not whole means that the transaction did not happen.

use super::{
    Invalidation, folder,
    os_lock::Lockable,
    outbox::line::{self, Keys, Sealed},
    rights,
};
use crate::model::{Place, Stamp, limits};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

/// Folder below the root. Hidden; no run folder is.
pub(crate) const FOLDER: &str = ".cachetx-journal";
const SUFFIX: &str = ".journal";

/// Names a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct JournalId(u64);

impl JournalId {
    /// From its 16 hex digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = crate::model::token::is_hex_64(text).then_some(text)?;
        u64::from_str_radix(digits, 16).ok().map(Self)
    }

    /// # Errors
    ///
    /// The operating system gives no random numbers.
    pub(crate) fn random() -> crate::model::Result<Self> {
        let text = crate::model::token::hex_128()?;
        // The first half of the token; always hex digits.
        Ok(Self::parse(&text[..16]).unwrap_or(Self(0)))
    }

    /// The next id to try if this one is taken.
    pub(crate) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// The journal's place below the root.
    pub(crate) fn place(self) -> Place {
        Place {
            folder: FOLDER.into(),
            file: format!("{self}{SUFFIX}").into(),
        }
    }
}

impl fmt::Display for JournalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What a transaction is about to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Journal {
    /// Sorted in the order in which their sidecars are locked.
    pub(crate) members: Vec<Member>,
    /// Entries to delete and locks to release once all files are in place.
    pub(crate) invalidations: Vec<Invalidation>,
}

/// One document of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) place: Place,
    /// The token of the temporary file that becomes the document.
    pub(crate) temp: String,
    /// The document's stamp before the transaction, and its stamp after.
    pub(crate) before: Stamp,
    pub(crate) after: Stamp,
    /// Digest of the document's bytes before the transaction, because a stamp may be repeated.
    /// `None` in a journal of an older version.
    pub(crate) digest: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Body {
    members: Vec<BodyMember>,
    invalidations: Vec<Keys>,
}

#[derive(Serialize, Deserialize)]
struct BodyMember {
    folder: String,
    file: String,
    temp: String,
    before: (i64, u64, u64),
    after: (i64, u64, u64),
    #[serde(default)]
    digest: Option<u64>,
}

impl Journal {
    pub(super) fn line(&self) -> String {
        let pack = |stamp: Stamp| (stamp.mtime_ns, stamp.size, stamp.inode);
        let member = |member: &Member| BodyMember {
            folder: member.place.folder.to_string(),
            file: member.place.file.to_string(),
            temp: member.temp.clone(),
            before: pack(member.before),
            after: pack(member.after),
            digest: member.digest,
        };
        let body = Body {
            members: self.members.iter().map(member).collect(),
            invalidations: self
                .invalidations
                .iter()
                .map(|w| line::keys(0, w))
                .collect(),
        };
        // Strings, numbers and lists always serialize.
        line::sealed(&serde_json::to_string(&body).unwrap_or_default())
    }

    /// `None` for a journal that was never whole.
    ///
    /// # Errors
    ///
    /// It is whole, but of another version, or its content is not valid for a transaction. It may
    /// be committed, so it is left to a version that understands it.
    pub(super) fn parse(bytes: &[u8]) -> io::Result<Option<Self>> {
        let understood = match line::unseal(bytes.strip_suffix(b"\n").unwrap_or_default()) {
            Sealed::Damaged => return Ok(None),
            Sealed::OtherVersion => None,
            Sealed::Json(json) => Self::of(json),
        };
        let why = "it is not understood here; who removes it gives its transaction up";
        understood
            .map(Some)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, why))
    }

    /// `None` unless all names stay inside the root.
    fn of(json: &str) -> Option<Self> {
        let body: Body = serde_json::from_str(json).ok()?;
        let unpack = |(mtime_ns, size, inode)| Stamp {
            mtime_ns,
            size,
            inode,
        };
        let member = |member: BodyMember| {
            let plain = |name: &str| {
                !name.is_empty()
                    && name.len() <= limits::MAX_NAME_BYTES
                    && !name.starts_with('.')
                    && !name.contains(['/', '\0'])
            };
            let ours = plain(&member.folder) && plain(&member.file);
            (ours && crate::model::token::is_hex_64(&member.temp)).then(|| Member {
                place: Place {
                    folder: member.folder.into(),
                    file: member.file.into(),
                },
                temp: member.temp,
                before: unpack(member.before),
                after: unpack(member.after),
                digest: member.digest,
            })
        };
        let members: Vec<Member> = body
            .members
            .into_iter()
            .map(member)
            .collect::<Option<_>>()?;
        // Members must be in sidecar-lock order, each once: two locks of one sidecar would wait for
        // each other.
        let in_order = members.is_sorted_by(|a, b| a.place < b.place);
        let some = (1..=limits::MAX_TRANSACTION_DOCUMENTS).contains(&members.len());
        (in_order && some).then(|| Self {
            members,
            invalidations: body.invalidations.into_iter().map(Into::into).collect(),
        })
    }
}

/// Creates an empty journal, locked; `None` if the name is taken. Between creation and locking,
/// another process may take it for a dead owner's. That process then removes whatever has the name,
/// so the name is not used again.
pub(super) fn make(dir: &File, name: &str) -> io::Result<Option<Lockable>> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    match folder::open_at(dir, name, flags, Mode::from_raw_mode(0o666)) {
        Ok(file) => {
            rights::share(&file, dir);
            try_lock(dir, name, file)
        }
        Err(Errno::EXIST) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Writes nothing if the name no longer leads to the file: nobody would find it.
pub(super) fn write(dir: &File, name: &str, mut file: &File, journal: &Journal) -> io::Result<()> {
    if !folder::leads_to(dir, name, file)? {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "somebody removed it before it was written",
        ));
    }
    let line = journal.line();
    if line.len() > limits::MAX_JOURNAL_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!(
                "it names {} bytes of keys and files, over the limit of {}",
                line.len(),
                limits::MAX_JOURNAL_BYTES
            ),
        ));
    }
    file.write_all(line.as_bytes())
}

/// Opens an existing journal, for reading or for locking. Network file systems grant the lock only
/// with write access.
pub(super) fn open(dir: &File, name: &str, access: OFlags) -> io::Result<Option<File>> {
    match folder::open_at(dir, name, access, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

pub(super) fn read(file: &File) -> io::Result<Option<Journal>> {
    let mut bytes = Vec::new();
    let most = limits::MAX_JOURNAL_BYTES as u64 + 1;
    file.take(most).read_to_end(&mut bytes)?;
    Journal::parse(&bytes)
}

/// Takes the lock; `None` if another holder has it, or if the name no longer leads to the file.
pub(super) fn try_lock(dir: &File, name: &str, file: File) -> io::Result<Option<Lockable>> {
    let file = Lockable::from(file);
    let locked = file.try_lock()? && folder::leads_to(dir, name, &file)?;
    Ok(locked.then_some(file))
}

pub(super) fn remove(dir: &File, name: &str) -> io::Result<()> {
    match folder::unlink_at(dir, name) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

pub(super) fn list(dir: &File, path: &Path) -> crate::model::Result<Vec<JournalId>> {
    Ok(ids(folder::names(dir, path)?))
}

/// The journals among these names.
pub(super) fn ids(names: Vec<String>) -> Vec<JournalId> {
    let mut ids: Vec<JournalId> = names
        .iter()
        .filter_map(|name| JournalId::parse(name.strip_suffix(SUFFIX)?))
        .take(limits::MAX_JOURNALS)
        .collect();
    ids.sort_by_key(|id| id.0);
    ids
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Entry, Lock},
        op::Raise,
        rules::Params,
    };

    fn journal() -> Journal {
        let stamp = |n| Stamp {
            mtime_ns: n,
            size: 7,
            inode: 9,
        };
        let member = |file: &str| Member {
            place: Place {
                folder: "run".into(),
                file: file.into(),
            },
            temp: "0123456789abcdef".to_owned(),
            before: stamp(1),
            after: stamp(2),
            digest: Some(3),
        };
        Journal {
            members: vec![member("a.nodb"), member("b.nodb")],
            invalidations: vec![Invalidation {
                entries: vec![Entry {
                    value: "{run}:a".into(),
                    leases: "{run}:cachetx:leases".into(),
                }],
                raises: vec![Raise {
                    value: "own".into(),
                    stamp: stamp(4),
                    ttl_ms: 5,
                }],
                release: Some(Lock {
                    key: "{run}:a:lock".to_owned(),
                    value: "me".to_owned(),
                }),
                params: Params::new().with("run_id", "run"),
                at_ns: 5,
            }],
        }
    }

    fn parse(journal: &Journal) -> Option<Journal> {
        // A whole journal is never taken for an incomplete one.
        Journal::parse(journal.line().as_bytes())
            .ok()
            .map(|it| it.expect("whole"))
    }

    #[test]
    fn it_reads_back_and_any_damage_makes_it_none() {
        let whole = journal().line().into_bytes();
        assert_eq!(Journal::parse(&whole).unwrap(), Some(journal()));
        for at in 0..whole.len() {
            assert_eq!(Journal::parse(&whole[..at]).unwrap(), None, "cut at {at}");
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            let read = Journal::parse(&damaged);
            match at {
                0 => assert!(read.is_err(), "of another version"),
                _ => assert_eq!(read.unwrap(), None, "byte {at} changed"),
            }
        }
    }

    #[test]
    fn a_name_that_leads_out_of_the_root_is_none_of_ours() {
        let long = "a".repeat(limits::MAX_NAME_BYTES + 1);
        for name in ["..", "a/b", "", ".hidden", "a\0b", &long] {
            let mut journal = journal();
            journal.members[1].place.folder = name.into();
            assert_eq!(parse(&journal), None, "{name:?}");
        }
        let mut journal = journal();
        journal.members[0].temp = "../../elsewhere".to_owned();
        assert_eq!(parse(&journal), None);
    }

    #[test]
    fn documents_that_no_transaction_has_so_are_none_of_ours() {
        let parse = |members: Vec<Member>| {
            super::tests::parse(&Journal {
                members,
                ..journal()
            })
        };
        let [a, b] = journal().members.try_into().expect("two");
        assert!(parse(vec![a.clone(), b.clone()]).is_some());
        assert_eq!(parse(vec![b.clone(), a.clone()]), None, "another order");
        assert_eq!(parse(vec![a.clone(), a.clone()]), None, "twice");
        assert_eq!(parse(Vec::new()), None);
        let many = |n| -> Vec<Member> {
            (0..n)
                .map(|n| {
                    let mut member = a.clone();
                    member.place.file = format!("{n}.nodb").into();
                    member
                })
                .collect()
        };
        assert!(parse(many(limits::MAX_TRANSACTION_DOCUMENTS)).is_some());
        assert_eq!(parse(many(limits::MAX_TRANSACTION_DOCUMENTS + 1)), None);
    }
}
