//! The file actions with the type of their answers, and the loops that belong to one step.

use super::{
    outcome::Durability,
    run::{Io, mismatch},
};
use crate::{
    Error, Result,
    disk::{FileAction, Folder, Got, Place, Sidecar},
    error::Kind,
    json, limits,
    op::{Bytes, Stamp},
};

/// A document as its file had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) stamp: Stamp,
    pub(crate) bytes: Bytes,
    /// Whether the stamp surely belongs to no other content: only then may a reader keep these bytes under it.
    pub(crate) settled: bool,
}

/// How to take it that a file is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// For an answer.
    Final,
    /// Perhaps for a moment only: other programs replace a file by deleting it first.
    Brief,
}

impl Io {
    /// Whether the folder is there; refuses where it holds the `READONLY` marker.
    pub(super) async fn writable_folder(&self, place: &Place) -> Result<bool> {
        match self.disk(place, FileAction::LookAtFolder).await? {
            Got::Folder(Folder::Writable) => Ok(true),
            Got::Folder(Folder::Missing) => Ok(false),
            Got::Folder(Folder::ReadOnly) => Err(Error::new(Kind::ReadOnly {
                folder: place.folder.to_string(),
            })),
            _ => Err(mismatch("the disk")),
        }
    }

    /// Makes names durable by that action; `Unknown` where the file system cannot.
    pub(super) async fn sync_names(&self, place: &Place, by: FileAction) -> Result<Durability> {
        match self.disk(place, by).await? {
            Got::NotSyncable => Ok(Durability::Unknown),
            _ => Ok(Durability::Synced),
        }
    }

    pub(super) async fn stat(&self, place: &Place) -> Result<Option<Stamp>> {
        for attempt in 1..=limits::READ_ATTEMPTS {
            match self.disk(place, FileAction::Stat).await? {
                Got::Stamp(stamp) => return Ok(stamp),
                Got::Torn => self.sleep(limits::READ_PAUSE * attempt).await,
                _ => return Err(mismatch("the disk")),
            }
        }
        Err(unsteady(place))
    }

    pub(super) async fn peek_sidecar(&self, place: &Place) -> Result<Sidecar> {
        match self.disk(place, FileAction::PeekSidecar).await? {
            Got::Sidecar(content) => Ok(content),
            _ => Err(mismatch("the disk")),
        }
    }

    /// The document, whole: a file that changes while it is read, or that a writer in place has cut short just now, is
    /// read again, a bounded number of times.
    pub(super) async fn read_file(&self, place: &Place, missing: Missing) -> Result<Option<Found>> {
        let mut missed = 0;
        for attempt in 1..=limits::READ_ATTEMPTS {
            // From before the file is opened: what is written to it after this reading is younger than that.
            let asked_at = self.now().wall_ns;
            match self.disk(place, FileAction::Read).await? {
                Got::File(stamp, bytes) => {
                    missed = 0;
                    let settled = self.is_settled(place, stamp, asked_at).await;
                    // A file that is being emptied shows its old time for a moment: it may seem settled.
                    let doubtful = !settled || bytes.is_empty();
                    let last = attempt == limits::READ_ATTEMPTS;
                    if last || !(doubtful && json::is_cut_short(&bytes)) {
                        return Ok(Some(Found {
                            stamp,
                            bytes,
                            settled,
                        }));
                    }
                }
                Got::Missing => {
                    missed += 1;
                    if missing == Missing::Final || missed == limits::MISSING_ATTEMPTS {
                        return Ok(None);
                    }
                }
                Got::Torn => missed = 0,
                _ => return Err(mismatch("the disk")),
            }
            self.sleep(limits::READ_PAUSE * attempt).await;
        }
        Err(unsteady(place))
    }

    /// Whether nothing that is written from now on can have this stamp too: the file's time is long past, or is the one
    /// that the last save gave, and no later save gives that again.
    async fn is_settled(&self, place: &Place, stamp: Stamp, asked_at: i64) -> bool {
        if asked_at.saturating_sub(stamp.mtime_ns) >= limits::YOUNG_NS {
            return true;
        }
        let sidecar = self.peek_sidecar(place).await;
        sidecar.is_ok_and(|sidecar| sidecar.mtime_ns == stamp.mtime_ns)
    }

    /// Gives the temporary file a modification time above `previous`, however coarse the file system's times are.
    pub(super) async fn stamp_temp(&self, place: &Place, previous: i64) -> Result<Stamp> {
        let now = self.now().wall_ns;
        for step in limits::MTIME_STEPS_NS {
            let mtime_ns = now.max(previous.saturating_add(step));
            match self.disk(place, FileAction::StampTemp { mtime_ns }).await? {
                Got::Stamp(Some(stamp)) if stamp.mtime_ns > previous => return Ok(stamp),
                Got::Stamp(_) => {}
                _ => return Err(mismatch("the disk")),
            }
        }
        Err(Error::new(Kind::Document {
            document: format!("{}/{}", place.folder, place.file),
            message: "the file system keeps no modification time above the last one, so a save could not be told from the one before"
                .to_owned(),
        }))
    }
}

fn unsteady(place: &Place) -> Error {
    Error::new(Kind::Document {
        document: format!("{}/{}", place.folder, place.file),
        message: "changed again and again while it was read: somebody writes it in place"
            .to_owned(),
    })
}
