//! The file actions with the type of their answers, and the loops that belong to one step.

use super::run::{Io, mismatch};
use crate::{
    Error, Result,
    disk::{FileAction, Folder, Got, Place, Sidecar},
    error::Kind,
    limits,
    op::{Bytes, Stamp},
};

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

    pub(super) async fn stat(&self, place: &Place) -> Result<Option<Stamp>> {
        match self.disk(place, FileAction::Stat).await? {
            Got::Stamp(stamp) => Ok(stamp),
            _ => Err(mismatch("the disk")),
        }
    }

    pub(super) async fn peek_sidecar(&self, place: &Place) -> Result<Sidecar> {
        match self.disk(place, FileAction::PeekSidecar).await? {
            Got::Sidecar(content) => Ok(content),
            _ => Err(mismatch("the disk")),
        }
    }

    /// The document, whole: a file that changes while it is read is read again, a bounded number of times.
    pub(super) async fn read_file(&self, place: &Place) -> Result<Option<(Stamp, Bytes)>> {
        for attempt in 1..=limits::READ_ATTEMPTS {
            match self.disk(place, FileAction::Read).await? {
                Got::File(stamp, bytes) => return Ok(Some((stamp, bytes))),
                Got::Missing => return Ok(None),
                Got::Torn => self.sleep(limits::READ_PAUSE * attempt).await,
                _ => return Err(mismatch("the disk")),
            }
        }
        Err(Error::new(Kind::Document {
            document: format!("{}/{}", place.folder, place.file),
            message: "changed again and again while it was read: somebody writes it in place"
                .to_owned(),
        }))
    }

    /// The sidecar's content, under its OS lock, which is waited for a bounded time.
    pub(super) async fn lock_sidecar(&self, place: &Place) -> Result<Sidecar> {
        let until = self.now().boot + limits::SIDECAR_WAIT;
        loop {
            match self.disk(place, FileAction::LockSidecar).await? {
                Got::Sidecar(content) => return Ok(content),
                Got::Busy if self.now().boot < until => self.sleep(limits::SIDECAR_POLL).await,
                Got::Busy => {
                    return Err(Error::new(Kind::SidecarBusy {
                        document: format!("{}/{}", place.folder, place.file),
                        waited: limits::SIDECAR_WAIT,
                    }));
                }
                _ => return Err(mismatch("the disk")),
            }
        }
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
