//! Saving several documents as one: all of their files, or none, whatever dies in between.
//!
//! ```text
//! prepare   temporary files, synced; all sidecars' OS locks in one order; may each be written?
//! announce  an empty journal, named in each sidecar; names and sidecars synced
//! journal   its content synced: the commit point
//! publish   renames, synced; one step on the server; the names taken away, the journal removed
//! ```
//!
//! The journal is the record of what is to be deleted, too: so a crash-safe transaction marks, and needs no intent in the outbox.

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

/// Everything that a transaction needs, worked out before the first byte is written.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// In the order of their places, which is that of their OS locks.
    pub(crate) members: Vec<Member>,
    /// Members, by their numbers, whose entries can be set in one step: one list, but where a Cluster has them in several slots.
    pub(crate) steps: Vec<Vec<usize>>,
    /// 128 random bits that name the commit, and the marks.
    pub(crate) id: String,
    pub(crate) journal: JournalId,
    pub(crate) wait: Option<Wait>,
    pub(crate) guarantee: Guarantee,
    /// How long marks hold unless they are renewed.
    pub(crate) mark_ttl: Duration,
    /// How long after its first try a commit may be tried again.
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
    /// Without what is another member's own, or its dependent already.
    pub(crate) dependents: Spread,
    /// What the keys were made from, for the outbox.
    pub(crate) params: Params,
    pub(crate) writer: Writer,
}

impl Member {
    /// What is to be deleted for it, a step each; the lock goes with the first.
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

/// A transaction that went through.
#[derive(Clone, Debug)]
pub(crate) struct Grouped {
    pub(crate) outcome: Outcome,
    /// Whether a lock is known to be somebody else's, or nobody's, without this having released it.
    pub(crate) lock_lost: bool,
}

/// An error means that nothing was changed; once the first file is renamed there is none.
pub(crate) fn group(plan: Plan) -> Run<Grouped> {
    Run::new(|io| async move {
        let mut way = Way::default();
        match announce(&io, &plan, &mut way).await {
            Ok(names) => publish(&io, plan, way, names).await,
            Err(e) => Err(undo(&io, &plan, way, e).await),
        }
    })
}

/// How far a transaction got.
#[derive(Default)]
struct Way {
    stamps: Vec<Stamp>,
    /// The documents as they were checked.
    over: Vec<Option<Identity>>,
    /// The sidecars that are locked, as they were.
    sidecars: Vec<Sidecar>,
    journal: Option<JournalId>,
    /// Whether the journal may be whole.
    written: bool,
    marks: Vec<Intent>,
}

fn places(plan: &Plan) -> Vec<Place> {
    plan.members.iter().map(|it| it.place.clone()).collect()
}

/// What a sidecar says once the document is saved.
fn after(member: &Member, stamp: &Stamp) -> Sidecar {
    Sidecar {
        fence: member.writer.fence(),
        mtime_ns: stamp.mtime_ns,
        journal: None,
    }
}

/// Everything after the commit point: nothing fails it any more, but for a first document that turns out to be somebody else's.
/// `names` says whether those that it hangs on are durable.
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
        // Some files are the old ones, so whoever finishes this deletes once more.
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

/// What became of a transaction's files.
struct Shown {
    durability: Durability,
    /// Nothing is left that another try could do better: else the journal is kept.
    for_good: bool,
}

/// # Errors
///
/// The first document is no longer what was checked, or its sidecar is not: nothing was renamed, and whoever finished it would
/// give it up.
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
            // All but an error of the disk says that it is not to be renamed.
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

/// Ends it on the disk. What is not done is left in the journal, for whoever comes next: then its names stay.
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
