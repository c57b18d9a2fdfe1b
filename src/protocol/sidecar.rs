//! One sidecar, whether or not it names a journal.

use super::run::{Io, mismatch};
use crate::{
    disk::{FileAction, Got, Sidecar},
    model::{Error, Place, Result, error::Kind, limits},
};
use std::time::Duration;

impl Io {
    pub(super) async fn peek_sidecar(&self, place: &Place) -> Result<Sidecar> {
        match self.disk(place, FileAction::PeekSidecar).await? {
            Got::Sidecar(content) => Ok(content),
            _ => Err(mismatch("the disk")),
        }
    }

    /// Locks the sidecar and returns its content, even if it names a journal. Retries until
    /// `until`, then fails as busy.
    pub(super) async fn try_sidecar(&self, place: &Place, until: Duration) -> Result<Sidecar> {
        loop {
            match self.disk(place, FileAction::LockSidecar).await? {
                Got::Sidecar(content) => return Ok(content),
                Got::Busy if self.now().boot < until => self.sleep(limits::SIDECAR_POLL).await,
                Got::Busy => return Err(busy(place)),
                _ => return Err(mismatch("the disk")),
            }
        }
    }

    pub(super) async fn unlock_sidecars(&self, places: &[Place]) {
        for place in places {
            if let Err(e) = self.disk(place, FileAction::UnlockSidecar).await {
                log::warn!("{}: {e}", name(place));
            }
        }
    }
}

pub(super) fn name(place: &Place) -> String {
    format!("{}/{}", place.folder, place.file)
}

pub(super) fn busy(place: &Place) -> Error {
    Error::new(Kind::SidecarBusy {
        document: name(place),
        waited: limits::SIDECAR_WAIT,
    })
}
