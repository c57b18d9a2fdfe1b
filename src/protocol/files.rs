//! File actions with typed answers, and the loops that belong to one step.

use super::{
    outcome::Durability,
    run::{Io, mismatch},
};
use crate::{
    disk::{FileAction, Folder, Got, Identity, Known, Version},
    json,
    model::{Bytes, Error, Place, Result, Stamp, error::Kind, limits},
};

/// A document as it was in its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) identity: Identity,
    pub(crate) bytes: Bytes,
    /// Distinguishes this version from all others from now on.
    pub(crate) version: Version,
    /// Whether its change time's tick was over, and its last write so long ago that no writer is
    /// still writing it in place. Only then may it be given to others.
    pub(crate) settled: bool,
}

impl Found {
    pub(crate) fn stamp(&self) -> Stamp {
        self.identity.stamp
    }

    pub(crate) fn known(&self) -> Known {
        Known {
            version: self.version,
            bytes: self.bytes.clone(),
        }
    }
}

/// How to treat a missing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The file does not exist.
    Final,
    /// The file may be missing for a moment only: other programs replace a file by deleting it
    /// first.
    Brief,
}

impl Io {
    /// Whether the folder exists. Refuses one that holds the `READONLY` marker.
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

    /// Makes names durable by this action; `Unknown` if the file system cannot.
    pub(super) async fn sync_names(&self, place: &Place, by: FileAction) -> Result<Durability> {
        match self.disk(place, by).await? {
            Got::NotSyncable => Ok(Durability::Unknown),
            _ => Ok(Durability::Synced),
        }
    }

    pub(super) async fn stat(&self, place: &Place) -> Result<Option<Identity>> {
        for attempt in 1..=limits::READ_ATTEMPTS {
            match self.disk(place, FileAction::Stat).await? {
                Got::Identity(identity) => return Ok(identity),
                Got::Torn => self.sleep(limits::READ_PAUSE * attempt).await,
                _ => return Err(mismatch("the disk")),
            }
        }
        Err(unsteady(place))
    }

    /// Reads the whole document. Reads again, a bounded number of times, if the file changes while
    /// it is read, or if an in-place writer has just cut it short.
    ///
    /// `saved_ns` is the time of the last save in the sidecar, as known before: a young file with
    /// this time was not written in place.
    pub(super) async fn read_file(
        &self,
        place: &Place,
        missing: Missing,
        saved_ns: i64,
    ) -> Result<Option<Found>> {
        let mut missed = 0;
        for attempt in 1..=limits::READ_ATTEMPTS {
            // Taken before the file is opened, so anything written after this read is later.
            let asked_at = self.now().wall_ns;
            match self.disk(place, FileAction::Read).await? {
                Got::File(identity, bytes) => {
                    missed = 0;
                    let (over, old) = (identity.is_over(asked_at), is_old(&identity, asked_at));
                    // A file that is being emptied shows its old time for a moment, so it may seem
                    // old.
                    let doubtful = !old || bytes.is_empty();
                    let saved = identity.stamp.mtime_ns == saved_ns;
                    let last = attempt == limits::READ_ATTEMPTS;
                    if last || !(doubtful && json::is_cut_short(&bytes)) {
                        return Ok(Some(Found {
                            version: Version::seen(&identity, over && (old || saved)),
                            identity,
                            bytes,
                            settled: over && old,
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

    /// Gives the temporary file a modification time above `previous`, at any resolution of the file
    /// system's times.
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

/// Whether the file's last write is so long ago that no writer is still at work on it.
pub(super) fn is_old(identity: &Identity, now_ns: i64) -> bool {
    now_ns.saturating_sub(identity.stamp.mtime_ns) >= limits::YOUNG_NS
}

pub(super) fn unsteady(place: &Place) -> Error {
    Error::new(Kind::Document {
        document: format!("{}/{}", place.folder, place.file),
        message: "changed again and again while it was looked at: somebody else writes it"
            .to_owned(),
    })
}
