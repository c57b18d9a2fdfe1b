//! Runs file actions, one system-call boundary each, inside one root folder.
//!
//! A document lives at `<root>/<folder>/<file>`: two single path components, each opened relative to its parent's
//! descriptor with `O_NOFOLLOW`. So neither a symbolic link nor a `..` can lead out of the root, and no path is resolved twice.
//!
//! Beside a document stand, hidden by a leading dot:
//! - its *sidecar* `.<file>.cachetx`: the OS lock of writers, the last fence and the last modification time;
//! - for the length of a save, a temporary file `.<file>.<token>.tmp`, locked by its writer while that lives. There are few such
//!   names, so that what dead writers left is found without listing the folder.
//!
//! What a transaction is about to do to several documents stands in a [`journal`], in the folder `.cachetx-journal`.
//!
//! The [`outbox`] is a folder of its own, by default `<root>/.cachetx-outbox`: no run's name begins with a dot.

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

/// Below the root, for outboxes; hidden, as no run's folder is.
pub(crate) const OUTBOX_FOLDER: &str = ".cachetx-outbox";

/// The marker that forbids locks and writes in its folder.
pub(crate) const READ_ONLY_MARKER: &str = "READONLY";

/// What may be asked of a disk; as data, so that a simulated one can answer too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileAction {
    /// Is the folder there, and does it hold the `READONLY` marker?
    LookAtFolder,
    /// Makes the folder where it is missing.
    MakeFolder,
    /// Makes a new folder's name durable, where the file system can.
    SyncRoot,
    /// The document's identity, if it exists.
    Stat,
    /// The document's identity and bytes.
    Read,
    /// What the sidecar says, without its lock: a hint.
    PeekSidecar,
    /// Takes the sidecar's OS lock, unless somebody has it.
    LockSidecar,
    /// Keeps it for as long as the session lives: taking it again then is no wait, and letting it go does nothing.
    HoldSidecar,
    /// Needs the lock.
    WriteSidecar(Sidecar),
    /// Makes what was written to the sidecar durable. Needs the lock.
    SyncSidecar,
    UnlockSidecar,
    /// Writes a new temporary file, with the document's rights and extended attributes; its token. Busy where all names for one
    /// are taken.
    WriteTemp(Bytes),
    /// Sets the temporary file's modification time and reads back what the file system kept of it.
    StampTemp {
        mtime_ns: i64,
    },
    SyncTemp,
    DiscardTemp,
    /// Is there something in the way of the rename that is there to stay? Fails where a rename would.
    AskRename,
    /// The temporary file becomes the document, where that still has the identity that was checked (`None`: is not there), and
    /// the sidecar's path still leads to the file that is locked. Both are looked at right before, in the same action. Torn where
    /// the document is another one: it is to be checked again.
    Rename {
        over: Option<Identity>,
    },
    /// Deletes the document, on the same conditions.
    Unlink {
        over: Option<Identity>,
    },
    SyncFolder,
    /// Deletes the temporary files of this document whose writers are dead, in as many steps as there are names. Under the sidecar's lock, and not while that names
    /// a journal, none of them is a transaction's that is still to be finished.
    Sweep,
    /// The stamp of the temporary file with that token, which a dead writer left, if it is there.
    StatLeft {
        token: String,
    },
    /// That one becomes the document, on the conditions of `Rename`.
    RenameLeft {
        token: String,
        over: Option<Identity>,
    },
    /// Where the sidecar's path still leads to the file that is locked.
    DiscardLeft {
        token: String,
    },
    /// Makes the journal at this place, empty and locked.
    MakeJournal,
    /// Needs to be its maker. On the conditions of `Rename` for each of its members, in their order.
    WriteJournal {
        journal: Journal,
        over: Vec<Option<Identity>>,
    },
    /// Makes the journal's content durable.
    SyncJournal,
    /// What the journal says, if it is there.
    ReadJournal,
    /// Takes the journal's OS lock, unless its owner lives.
    LockJournal,
    RemoveJournal,
    /// The journals that there are.
    ListJournals,
}

impl FileAction {
    /// A stable name: for logs, and for tests that stop at it.
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
    /// The modification time that the last save gave; it outlives the document's deletion, so that stamps never come back.
    pub(crate) mtime_ns: i64,
    /// A transaction that has this document among its own and is not known to be over.
    pub(crate) journal: Option<JournalId>,
}

/// What a file action answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Got {
    Nothing,
    /// The file system cannot sync folders.
    NotSyncable,
    Folder(Folder),
    Identity(Option<Identity>),
    /// The stamp of a temporary file, if it exists.
    Stamp(Option<Stamp>),
    /// The document's bytes, and the identity that held still while they were read.
    File(Identity, Bytes),
    Missing,
    /// The file changed while it was read, or since it was checked; or it was replaced on its server.
    Torn,
    Sidecar(Sidecar),
    /// Somebody else has the sidecar's, or the journal's, OS lock.
    Busy,
    /// A new temporary file's token.
    Temp(String),
    /// `None` for one that was never whole.
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
