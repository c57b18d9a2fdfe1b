//! The file actions with the type of their answers, and the loops that belong to one step.

use super::{
    outcome::Durability,
    run::{Io, mismatch},
};
use crate::{
    disk::{FileAction, Folder, Got, Identity, Known, Version},
    json,
    model::{Bytes, Error, Place, Result, Stamp, error::Kind, limits},
};

/// A document as its file had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) identity: Identity,
    pub(crate) bytes: Bytes,
    /// What tells this version from others from now on.
    pub(crate) version: Version,
    /// Whether its change time's tick was over, and its last writing so long ago that nobody is at it in place: only then may others
    /// be given it.
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

    /// The document, whole: a file that changes while it is read, or that a writer in place has cut short just now, is
    /// read again, a bounded number of times.
    ///
    /// `saved_ns` is the time of the last save that the sidecar knew of before: a young file with it was not written in place.
    pub(super) async fn read_file(
        &self,
        place: &Place,
        missing: Missing,
        saved_ns: i64,
    ) -> Result<Option<Found>> {
        let mut missed = 0;
        for attempt in 1..=limits::READ_ATTEMPTS {
            // From before the file is opened: what is written to it after this reading is younger than that.
            let asked_at = self.now().wall_ns;
            match self.disk(place, FileAction::Read).await? {
                Got::File(identity, bytes) => {
                    missed = 0;
                    let (over, old) = (identity.is_over(asked_at), is_old(&identity, asked_at));
                    // A file that is being emptied shows its old time for a moment: it may seem old.
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

/// Whether the file was last written so long ago that nobody is at it any more.
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
