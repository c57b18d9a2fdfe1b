//! Temporary files. There are few names for them, so dead writers' files are removed when the names
//! run out.

use super::{
    run::{Io, mismatch},
    sidecar::busy,
};
use crate::{
    disk::{FileAction, Got},
    model::{Bytes, Place, Result, limits},
};

impl Io {
    /// Writes a temporary file; returns its token. If all names are taken, removes dead writers'
    /// files and waits for living writers. The caller must hold no sidecar's lock.
    pub(super) async fn write_temp(&self, place: &Place, bytes: &Bytes) -> Result<String> {
        let until = self.now().boot + limits::SIDECAR_WAIT;
        loop {
            let write = FileAction::WriteTemp(bytes.clone());
            match self.disk(place, write).await? {
                Got::Temp(token) => return Ok(token),
                Got::Busy if self.now().boot < until => {
                    self.lock_sidecar(place).await?;
                    let swept = self.disk(place, FileAction::Sweep).await;
                    self.disk(place, FileAction::UnlockSidecar).await?;
                    swept?;
                    self.sleep(limits::SIDECAR_POLL).await;
                }
                Got::Busy => return Err(busy(place)),
                _ => return Err(mismatch("the disk")),
            }
        }
    }

    /// The same without waiting. `false` if no name is free, even after removing dead writers'
    /// files.
    pub(super) async fn try_to_write_temp(&self, place: &Place, bytes: &Bytes) -> Result<bool> {
        for sweeps in [true, false] {
            let write = FileAction::WriteTemp(bytes.clone());
            match self.disk(place, write).await? {
                Got::Temp(_) => return Ok(true),
                Got::Busy if sweeps => {
                    let locked = self.disk(place, FileAction::LockSidecar).await?;
                    let Got::Sidecar(sidecar) = locked else {
                        return Ok(false);
                    };
                    // A transaction that is left half done may need these files.
                    let swept = match sidecar.journal {
                        None => self.disk(place, FileAction::Sweep).await.map(drop),
                        Some(_) => Ok(()),
                    };
                    self.disk(place, FileAction::UnlockSidecar).await?;
                    swept?;
                }
                Got::Busy => {}
                _ => return Err(mismatch("the disk")),
            }
        }
        Ok(false)
    }
}
