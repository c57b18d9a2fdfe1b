//! Locks sidecars; a transaction that was left half done is finished first.

use super::{
    recover::recover,
    run::{Io, mismatch},
    sidecar::{busy, name},
};
use crate::{
    disk::{FileAction, Got, Sidecar},
    model::{Place, Result, limits},
};

impl Io {
    /// Locks a sidecar and returns its content, with no transaction left half done.
    pub(super) async fn lock_sidecar(&self, place: &Place) -> Result<Sidecar> {
        let sidecars = self.lock_sidecars(std::slice::from_ref(place)).await?;
        sidecars.first().copied().ok_or_else(|| mismatch("a lock"))
    }

    /// The same for several places, locked in the given order, which must be the same for all
    /// callers that lock several. On an error none is locked.
    pub(super) async fn lock_sidecars(&self, places: &[Place]) -> Result<Vec<Sidecar>> {
        let until = self.now().boot + limits::SIDECAR_WAIT;
        loop {
            let mut sidecars = Vec::with_capacity(places.len());
            let mut pending = None;
            for place in places {
                match self.try_sidecar(place, until).await {
                    Ok(sidecar) => {
                        pending = pending.or(sidecar.journal.map(|id| (place, id)));
                        sidecars.push(sidecar);
                    }
                    Err(e) => {
                        self.unlock_sidecars(places).await;
                        return Err(e);
                    }
                }
            }
            let Some((place, id)) = pending else {
                return Ok(sidecars);
            };
            self.unlock_sidecars(places).await;
            if self.now().boot >= until {
                return Err(busy(place));
            }
            recover(self, place, id, until).await?;
        }
    }

    /// Finishes a dead transaction that includes this document. Does not wait for a live one, and
    /// leaves what cannot be finished now: reading and asking for a lock are never blocked. Returns
    /// the sidecar's content if it named no transaction, otherwise an empty one.
    pub(super) async fn finish_what_died(&self, place: &Place) -> Sidecar {
        match self.try_to_finish(place).await {
            Ok(sidecar) => return sidecar,
            Err(e) if !e.is_busy() => {
                log::warn!("{}: a transaction is left half done: {e}", name(place));
            }
            Err(_) => {}
        }
        Sidecar::default()
    }

    async fn try_to_finish(&self, place: &Place) -> Result<Sidecar> {
        let peeked = self.peek_sidecar(place).await?;
        if peeked.journal.is_none() {
            return Ok(peeked);
        }
        let Got::Sidecar(sidecar) = self.disk(place, FileAction::LockSidecar).await? else {
            return Ok(Sidecar::default());
        };
        self.disk(place, FileAction::UnlockSidecar).await?;
        if let Some(id) = sidecar.journal {
            let until = self.now().boot + limits::FINISH_WAIT;
            recover(self, place, id, until).await?;
        }
        Ok(Sidecar::default())
    }

    /// The sidecar's content while no transaction includes this document. Waits a bounded time for
    /// one that is at work.
    pub(super) async fn peek_sidecar_between_journals(&self, place: &Place) -> Result<Sidecar> {
        let peeked = self.peek_sidecar(place).await?;
        if peeked.journal.is_none() {
            return Ok(peeked);
        }
        let sidecar = self.lock_sidecar(place).await?;
        self.disk(place, FileAction::UnlockSidecar).await?;
        Ok(sidecar)
    }
}
