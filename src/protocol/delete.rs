//! Deletes a document: the file first, then its entries and everything derived from it.

use super::{
    defer::delete_or_defer,
    intent::{Guarantee, Intent, Scope},
    outcome::{Outcome, Reach},
    run::Run,
    save::{Writer, admit, change, settle},
    spread::Spread,
};
use crate::{
    disk::{FileAction, Invalidation, Sidecar},
    model::{Entry, Place, Result, Stamp},
    op::Raise,
    rules::Params,
};
use std::time::Duration;

/// Everything that a deletion needs.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// For messages.
    pub(crate) document: String,
    pub(crate) place: Place,
    pub(crate) own: Entry,
    pub(crate) ttl_ms: u64,
    pub(crate) dependents: Spread,
    /// What the keys were made from, for the outbox.
    pub(crate) params: Params,
    pub(crate) writer: Writer,
    pub(crate) guarantee: Guarantee,
    /// Token of the marks, if it is crash-safe: 128 random bits in hex.
    pub(crate) token: String,
    /// How long the marks last.
    pub(crate) mark_ttl: Duration,
}

/// An error means that nothing was changed and the lock is still held.
pub(crate) fn delete(plan: Plan) -> Run<Outcome> {
    Run::new(|io| async move {
        let mut intent = None;
        if let Err(e) = unlink(&io, &plan, &mut intent).await {
            let _ = io.disk(&plan.place, FileAction::UnlockSidecar).await;
            if let Some(intent) = intent {
                intent.withdraw(&io).await;
            }
            return Err(e);
        }
        let durability = settle(&io, &plan.document, &plan.place).await;
        let split = plan.dependents.is_split();
        let (document, params, kept) = (&plan.document, &plan.params, intent.as_ref());
        let mut entries = plan.dependents.here.clone();
        entries.push(plan.own.clone());
        let what = Invalidation {
            entries,
            raises: vec![after(&plan)],
            release: plan.writer.lock().cloned(),
            params: params.clone(),
            at_ns: io.now().wall_ns,
        };
        let cache = delete_or_defer(&io, document, what, kept).await;
        let dependents = plan.dependents;
        let cache = dependents.finish(&io, document, params, kept, cache).await;
        if let Some(intent) = intent {
            intent.settle(&io, &cache).await;
        }
        Ok(Outcome {
            reach: Reach::of(split, &cache),
            cache,
            durability,
            replicas: None,
        })
    })
}

/// A stamp later than the deleted file's and than any commit of it that may still arrive, but
/// earlier than the next file's here.
fn after(plan: &Plan) -> Raise {
    let deleted = plan.writer.read.as_ref();
    let deleted = deleted.map_or(0, |read| read.version.stamp.mtime_ns);
    Raise {
        value: plan.own.value.clone(),
        stamp: Stamp {
            mtime_ns: deleted.saturating_add(1),
            size: 0,
            inode: 0,
        },
        ttl_ms: plan.ttl_ms,
    }
}

async fn unlink(io: &super::Io, plan: &Plan, intent: &mut Option<Intent>) -> Result<()> {
    if plan.guarantee == Guarantee::CrashSafe {
        let scope = Scope {
            what: plan.document.clone(),
            steps: plan.dependents.steps_with(&plan.own),
            raises: vec![after(plan)],
            lock: plan.writer.lock().cloned(),
            release: true,
            params: plan.params.clone(),
            token: plan.token.clone(),
            mark_ttl: plan.mark_ttl,
        };
        *intent = Some(Intent::declare(io, scope).await?);
    }
    let (sidecar, over) = admit(io, &plan.document, &plan.place, &plan.writer).await?;
    // The sidecar stays, so that a document created here later gets a later stamp and a higher
    // fence.
    let deleted = plan.writer.read.as_ref();
    let deleted = deleted.map_or(0, |read| read.version.stamp.mtime_ns);
    let next = Sidecar {
        fence: plan.writer.fence(),
        mtime_ns: sidecar.mtime_ns.max(deleted),
        journal: None,
    };
    if let Some(intent) = intent {
        intent.refresh(io).await;
    }
    io.disk(&plan.place, FileAction::WriteSidecar(next)).await?;
    // The file's own time is deleted with it, so the sidecar and its name must survive a power loss
    // too.
    io.disk(&plan.place, FileAction::SyncSidecar).await?;
    io.disk(&plan.place, FileAction::SyncFolder).await?;
    let unlink = |over| FileAction::Unlink { over };
    let (document, place) = (&plan.document, &plan.place);
    change(io, document, place, &plan.writer, over, unlink).await
}
