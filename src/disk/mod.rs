//! Runs file actions, one system-call boundary each, inside one root folder.
//!
//! A document lives at `<root>/<folder>/<file>`: two single path components, each opened relative
//! to its parent's descriptor with `O_NOFOLLOW`. So neither a symbolic link nor a `..` can lead out
//! of the root, and no path is resolved twice.
//!
//! Each document has hidden files beside it:
//! - its *sidecar* `.<file>.cachetx`: the OS lock of writers, the last fence and the last
//!   modification time;
//! - during a save, a temporary file `.<file>.<token>.tmp`, locked by its writer while that writer
//!   lives. There are few such names, so the files of dead writers are found without listing the
//!   folder.
//!
//! A transaction records what it is about to do to several documents in a [`journal`], in the
//! folder `.cachetx-journal`.
//!
//! The [`outbox`] is a folder of its own, by default `<root>/.cachetx-outbox`. No run's name begins
//! with a dot, so the two cannot collide.

mod acl;
mod attributes;
mod file_system;
mod folder;
#[cfg(feature = "testing")]
pub(crate) mod fuzz;
mod identity;
pub(crate) mod journal;
mod obstacle;
mod os_lock;
mod outbox;
mod read;
mod rights;
mod root;
mod session;
mod sidecar;
#[cfg(all(test, feature = "testing"))]
pub(crate) mod sim;
mod temp;
mod trial;
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod xattr;

pub use file_system::FileSystem;
pub(crate) use identity::{Identity, Known, Version, digest};
pub(crate) use journal::{Journal, JournalId};
pub(crate) use outbox::{
    Invalidation, Listed, Outbox, OutboxAction, OutboxGot, Ticket, Work, list,
};
pub(crate) use root::Root;
pub(crate) use session::Session;
pub use trial::{FileSystemReport, Trial};

use crate::model::{Bytes, Stamp};

/// Folder for outboxes below the root. Hidden; no run folder is.
pub(crate) const OUTBOX_FOLDER: &str = ".cachetx-outbox";

/// The marker that forbids locks and writes in its folder.
pub(crate) const READ_ONLY_MARKER: &str = "READONLY";

/// The file actions. They are data, so that a simulated disk can answer them too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileAction {
    /// Whether the folder exists, and whether it holds the `READONLY` marker.
    LookAtFolder,
    /// Creates the folder if it is missing.
    MakeFolder,
    /// Makes a new folder's name durable, if the file system can.
    SyncRoot,
    /// The document's identity, if it exists.
    Stat,
    /// The document's identity and bytes.
    Read,
    /// The sidecar's content, read without its lock: a hint only.
    PeekSidecar,
    /// Takes the sidecar's OS lock; busy if another holder has it.
    LockSidecar,
    /// Keeps the sidecar's OS lock until the session ends. From then on, taking it again does not
    /// block and releasing it does nothing.
    HoldSidecar,
    /// Needs the sidecar's OS lock.
    WriteSidecar(Sidecar),
    /// Makes what was written to the sidecar durable. Needs the sidecar's OS lock.
    SyncSidecar,
    UnlockSidecar,
    /// Writes a new temporary file with the document's rights and extended attributes; returns its
    /// token. Busy if all temporary names are taken.
    WriteTemp(Bytes),
    /// Sets the temporary file's modification time and reads back what the file system kept.
    StampTemp {
        mtime_ns: i64,
    },
    SyncTemp,
    DiscardTemp,
    /// Checks for a permanent obstacle to the rename. Fails where a rename would.
    AskRename,
    /// Renames the temporary file to the document. Requires that the document still has the
    /// identity that was checked (`None`: it does not exist) and that the sidecar's path still
    /// leads to the locked file. Both are checked immediately before, in the same action. Torn if
    /// the document is a different one: the caller must check it again.
    Rename {
        over: Option<Identity>,
    },
    /// Deletes the document, under the same conditions.
    Unlink {
        over: Option<Identity>,
    },
    SyncFolder,
    /// Deletes the temporary files of this document whose writers are dead; one step per possible
    /// name. Call it with the sidecar's lock held and while the sidecar names no journal: then none
    /// of the files belongs to a transaction that is still to be finished.
    Sweep,
    /// The stamp of the temporary file with that token, left by a dead writer, if it exists.
    StatLeft {
        token: String,
    },
    /// Renames that file to the document, under the conditions of `Rename`.
    RenameLeft {
        token: String,
        over: Option<Identity>,
    },
    /// Deletes that file. Requires that the sidecar's path still leads to the locked file.
    DiscardLeft {
        token: String,
    },
    /// Creates the journal at this place, empty and locked.
    MakeJournal,
    /// Only the session that created the journal may write it. The conditions of `Rename` apply to
    /// each of its members, in their order.
    WriteJournal {
        journal: Journal,
        over: Vec<Option<Identity>>,
    },
    /// Makes the journal's content durable.
    SyncJournal,
    /// The journal's content, if it exists.
    ReadJournal,
    /// Takes the journal's OS lock; busy if its owner lives.
    LockJournal,
    RemoveJournal,
    /// The ids of all journals.
    ListJournals,
}

impl FileAction {
    /// A stable name, for logs and for tests that stop at an action.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::LookAtFolder => "look-at-folder",
            Self::MakeFolder => "make-folder",
            Self::SyncRoot => "sync-root",
            Self::Stat => "stat",
            Self::Read => "read",
            Self::PeekSidecar => "peek-sidecar",
            Self::LockSidecar => "lock-sidecar",
            Self::HoldSidecar => "hold-sidecar",
            Self::WriteSidecar(_) => "write-sidecar",
            Self::SyncSidecar => "sync-sidecar",
            Self::UnlockSidecar => "unlock-sidecar",
            Self::WriteTemp(_) => "write-temp",
            Self::StampTemp { .. } => "stamp-temp",
            Self::SyncTemp => "sync-temp",
            Self::DiscardTemp => "discard-temp",
            Self::AskRename => "ask-rename",
            Self::Rename { .. } => "rename",
            Self::Unlink { .. } => "unlink",
            Self::SyncFolder => "sync-folder",
            Self::Sweep => "sweep",
            Self::StatLeft { .. } => "stat-left",
            Self::RenameLeft { .. } => "rename-left",
            Self::DiscardLeft { .. } => "discard-left",
            Self::MakeJournal => "make-journal",
            Self::WriteJournal { .. } => "write-journal",
            Self::SyncJournal => "sync-journal",
            Self::ReadJournal => "read-journal",
            Self::LockJournal => "lock-journal",
            Self::RemoveJournal => "remove-journal",
            Self::ListJournals => "list-journals",
        }
    }
}

/// What a sidecar holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sidecar {
    /// The fence of the last writer.
    pub(crate) fence: u64,
    /// The modification time that the last save set. It outlives the document's deletion, so that a
    /// stamp is never repeated.
    pub(crate) mtime_ns: i64,
    /// A transaction that includes this document and is not known to be finished.
    pub(crate) journal: Option<JournalId>,
}

/// The answer to a file action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Nothing,
    /// The file system cannot sync folders.
    NotSyncable,
    Folder(Folder),
    Identity(Option<Identity>),
    /// The stamp of a temporary file, if it exists.
    Stamp(Option<Stamp>),
    /// The document's bytes, and its identity, which did not change while they were read.
    File(Identity, Bytes),
    Missing,
    /// The file changed while it was read or since it was checked, or it was replaced on its file
    /// server.
    Torn,
    Sidecar(Sidecar),
    /// Another holder has the OS lock of the sidecar or of the journal.
    Busy,
    /// A new temporary file's token.
    Temp(String),
    /// `None` for a journal that was never completely written.
    Journal(Option<Journal>),
    Journals(Vec<JournalId>),
}

/// What `LookAtFolder` sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Folder {
    Missing,
    ReadOnly,
    Writable,
}
