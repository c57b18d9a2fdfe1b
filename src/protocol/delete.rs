//! Deleting a document: the file first, then its entries and everything derived from it.

use super::{
    defer::defer,
    outcome::{CacheOutcome, Outcome},
    run::Run,
    save::{Writer, admit, invalidate, settle},
};
use crate::{
    Params, Result,
    disk::{FileAction, Place, Sidecar},
    op::Entry,
};

/// Everything a deletion needs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// For messages.
    pub(crate) document: String,
    pub(crate) place: Place,
    /// The own entry and the dependents.
    pub(crate) entries: Vec<Entry>,
    /// What the keys were made from, for the outbox.
    pub(crate) params: Params,
    pub(crate) writer: Writer,
}

/// An error means that nothing was changed, and that the lock is still held.
pub(crate) fn delete(plan: Plan) -> Run<Outcome> {
    Run::new(|io| async move {
        if let Err(e) = unlink(&io, &plan).await {
            let _ = io.disk(&plan.place, FileAction::UnlockSidecar).await;
            return Err(e);
        }
        let durability = settle(&io, &plan.document, &plan.place).await;
        let lock = Some(plan.writer.lock.clone());
        let (entries, release) = (plan.entries.clone(), lock.clone());
        let cache = match invalidate(&io, &plan.document, entries, release).await {
            Ok(removed) => CacheOutcome::Invalidated { removed },
            Err(cause) => defer(&io, plan.entries, lock, plan.params, cause).await,
        };
        Ok(Outcome { cache, durability })
    })
}

async fn unlink(io: &super::Io, plan: &Plan) -> Result<()> {
    let sidecar = admit(io, &plan.document, &plan.place, &plan.writer).await?;
    // The sidecar stays, so that a document made here later gets a later stamp and a higher fence.
    let deleted = plan.writer.read.map_or(0, |stamp| stamp.mtime_ns);
    let next = Sidecar {
        fence: plan.writer.fence,
        mtime_ns: sidecar.mtime_ns.max(deleted),
    };
    io.disk(&plan.place, FileAction::WriteSidecar(next)).await?;
    io.disk(&plan.place, FileAction::Unlink).await?;
    Ok(())
}
