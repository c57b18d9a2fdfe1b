//! Saves several documents as one: all of their files, or none, regardless of what dies in between.
//!
//! ```text
//! prepare   temporary files, synced; all sidecars' OS locks in one order; may each be written?
//! announce  an empty journal, named in each sidecar; names and sidecars synced
//! journal   its content synced: the commit point
//! publish   renames, synced; one step on the server; the names taken away, the journal removed
//! ```
//!
//! The journal also records what is to be deleted. So a crash-safe transaction sets marks, but
//! needs no intent in the outbox.

mod announce;
mod commit;
#[cfg(test)]
mod tests;

use super::{
    intent::{Guarantee, Intent},
    outcome::{CacheOutcome, Durability, Outcome, Reach},
    recover::sync_folders,
    run::{Io, Run},
    save::{Step, Writer, change},
    sidecar::name,
    spread::Spread,
};
use crate::{
    disk::{FileAction, Identity, Invalidation, JournalId, Sidecar},
    model::{Bytes, Entry, Error, Place, Result, Stamp},
    op::{Raise, Wait},
    rules::Params,
};
use announce::{announce, undo};
use commit::{commit, erase};
use std::time::Duration;

/// Everything that a transaction needs, computed before the first byte is written.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Sorted by place, which is the order of their OS locks.
    pub(crate) members: Vec<Member>,
    /// Indexes of the members whose entries are set in one step. One list, unless a Cluster has
    /// them in several slots.
    pub(crate) steps: Vec<Vec<usize>>,
    /// 128 random bits that name the commit and the marks.
    pub(crate) id: String,
    pub(crate) journal: JournalId,
    pub(crate) wait: Option<Wait>,
    pub(crate) guarantee: Guarantee,
    /// How long marks last without renewal.
    pub(crate) mark_ttl: Duration,
    /// How long after its first try a commit may be retried.
    pub(crate) patience: Duration,
}

/// One document of a transaction.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    /// For messages.
    pub(crate) document: String,
    pub(crate) place: Place,
    pub(crate) bytes: Bytes,
    pub(crate) own: Entry,
    pub(crate) ttl_ms: u64,
    /// Without entries that are another member's own, or its dependent already.
    pub(crate) dependents: Spread,
    /// What the keys were made from, for the outbox.
    pub(crate) params: Params,
    pub(crate) writer: Writer,
}

impl Member {
    /// What is to be deleted for this member, one per step; the lock is released with the first.
    fn invalidations(&self, stamp: Stamp, at_ns: i64) -> Vec<Invalidation> {
        let mut lock = self.writer.lock().cloned();
        let mut raises = vec![self.raise(stamp)];
        let steps = self.dependents.steps_with(&self.own).into_iter();
        let invalidation = |entries| Invalidation {
            entries,
            raises: std::mem::take(&mut raises),
            release: lock.take(),
            params: self.params.clone(),
            at_ns,
        };
        steps.map(invalidation).collect()
    }

    fn raise(&self, stamp: Stamp) -> Raise {
        Raise {
            value: self.own.value.clone(),
            stamp,
            ttl_ms: self.ttl_ms,
        }
    }
}

/// The result of a transaction that was committed.
#[derive(Clone, Debug)]
pub(crate) struct Grouped {
    pub(crate) outcome: Outcome,
    /// Whether a lock is known to be lost: another holder has it, or nobody, without this
    /// transaction having released it.
    pub(crate) lock_lost: bool,
}

/// An error means that nothing was changed; once the first file is renamed there is no error.
pub(crate) fn group(plan: Plan) -> Run<Grouped> {
    Run::new(|io| async move {
        let mut way = Way::default();
        match announce(&io, &plan, &mut way).await {
            Ok(names) => publish(&io, plan, way, names).await,
            Err(e) => Err(undo(&io, &plan, way, e).await),
        }
    })
}

/// The progress of a transaction.
#[derive(Default)]
struct Way {
    stamps: Vec<Stamp>,
    /// The documents' identities when they were checked.
    over: Vec<Option<Identity>>,
    /// The sidecars that are locked, with their content at that time.
    sidecars: Vec<Sidecar>,
    journal: Option<JournalId>,
    /// Whether the journal may be whole.
    written: bool,
    marks: Vec<Intent>,
}

fn places(plan: &Plan) -> Vec<Place> {
    plan.members.iter().map(|it| it.place.clone()).collect()
}

/// The sidecar's content once the document is saved.
fn after(member: &Member, stamp: &Stamp) -> Sidecar {
    Sidecar {
        fence: member.writer.fence(),
        mtime_ns: stamp.mtime_ns,
        journal: None,
    }
}

/// Everything after the commit point. From here on it fails only if the first document turns out to
/// be another program's. `names` is the durability of the names that the transaction depends on.
async fn publish(io: &Io, plan: Plan, mut way: Way, names: Durability) -> Result<Grouped> {
    for marks in &mut way.marks {
        marks.refresh(io).await;
    }
    let shown = match rename(io, &plan, &way).await {
        Ok(shown) => shown,
        Err(e) => return Err(undo(io, &plan, way, e).await),
    };
    let durability = shown.durability.and(names);
    let Step {
        cache,
        lock_lost,
        replicas,
    } = match durability {
        // Some files are still the old ones. The process that finishes the transaction deletes
        // again.
        Durability::Journalled => erase(io, &plan, &way).await,
        _ => commit(io, &plan, &way).await,
    };
    let done = shown.for_good && !matches!(cache, CacheOutcome::Unrecorded { .. });
    tidy(io, &plan, &way, done).await;
    let spread = |member: &Member| member.dependents.is_split();
    let split = plan.steps.len() > 1 || plan.members.iter().any(spread);
    Ok(Grouped {
        outcome: Outcome {
            reach: Reach::of(split, &cache),
            cache,
            durability,
            replicas,
        },
        lock_lost,
    })
}

/// What happened to the transaction's files.
struct Shown {
    durability: Durability,
    /// Whether no retry could improve the result; otherwise the journal is kept.
    for_good: bool,
}

/// # Errors
///
/// The first document, or its sidecar, is no longer what was checked. Nothing was renamed, and a
/// recovery would give the transaction up.
async fn rename(io: &Io, plan: &Plan, way: &Way) -> Result<Shown> {
    let kept = |durability| Shown {
        durability,
        for_good: false,
    };
    let journal = way.journal.map(|id| name(&id.place())).unwrap_or_default();
    let rename = |over| FileAction::Rename { over };
    for (n, member) in plan.members.iter().enumerate() {
        let (document, place) = (&member.document, &member.place);
        let over = way.over.get(n).copied().flatten();
        if let Err(e) = change(io, document, place, &member.writer, over, rename).await {
            // Every error except one of the disk means that it must not be renamed.
            if n == 0 && !e.is_io() {
                return Err(e);
            }
            log::error!(
                "{}: committed with its transaction, but not shown yet; whoever comes next tries again, as the journal {journal} says: {e}",
                member.document
            );
            return Ok(kept(Durability::Journalled));
        }
    }
    match sync_folders(io, plan.members.iter().map(|it| &it.place)).await {
        Ok(durability) => Ok(Shown {
            durability,
            for_good: true,
        }),
        Err(e) => {
            log::error!(
                "a transaction is committed and visible, and its journal {journal} is kept: {e}"
            );
            Ok(kept(Durability::Unknown))
        }
    }
}

/// Completes it on disk. If it is not done, the journal and its names stay for the next process
/// that comes.
async fn tidy(io: &Io, plan: &Plan, way: &Way, done: bool) {
    let warn = |document: &str, e: Error| log::warn!("{document}: {e}; the next save mends it");
    if let (Some(id), true) = (way.journal, done) {
        for (member, stamp) in plan.members.iter().zip(&way.stamps) {
            let write = FileAction::WriteSidecar(after(member, stamp));
            if let Err(e) = io.disk(&member.place, write).await {
                warn(&member.document, e);
            }
        }
        if let Err(e) = io.disk(&id.place(), FileAction::RemoveJournal).await {
            log::warn!("{e}; the next look for journals removes it");
        }
    }
    for member in &plan.members {
        let mut actions = vec![FileAction::UnlockSidecar];
        if done {
            actions.insert(0, FileAction::Sweep);
        }
        for action in actions {
            if let Err(e) = io.disk(&member.place, action).await {
                warn(&member.document, e);
            }
        }
    }
}
