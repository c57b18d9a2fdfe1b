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

use super::{
    defer::{defer, delete},
    intent::{Guarantee, Intent, Scope},
    outcome::{CacheOutcome, Durability, Outcome, Reach},
    recover::sync_folders,
    run::{Io, Run, mismatch},
    save::{Step, Writer, ask_to_commit, may_write},
    spread::Spread,
};
use crate::{
    Error, Params, Result,
    disk::{FileAction, Got, Invalidation, Journal, JournalId, Place, Sidecar, journal},
    error::{Effect, Kind},
    limits,
    op::{Bytes, Commit, Entry, Lock, Own, Stamp, Wait},
};
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
    fn invalidations(&self, at_ns: i64) -> Vec<Invalidation> {
        let mut lock = Some(self.writer.lock.clone());
        let steps = Scope::steps_of(&self.own, &self.dependents).into_iter();
        let invalidation = |entries| Invalidation {
            entries,
            release: lock.take(),
            params: self.params.clone(),
            at_ns,
        };
        steps.map(invalidation).collect()
    }
}

/// A transaction that went through.
#[derive(Clone, Debug)]
pub(crate) struct Grouped {
    pub(crate) outcome: Outcome,
    /// Whether a lock is known to be somebody else's, or nobody's, without this having released it.
    pub(crate) lock_lost: bool,
}

/// An error means that nothing was changed; once the journal is synced there is none.
pub(crate) fn group(plan: Plan) -> Run<Grouped> {
    Run::new(|io| async move {
        let mut way = Way::default();
        match announce(&io, &plan, &mut way).await {
            Ok(()) => Ok(publish(&io, plan, way).await),
            Err(e) => Err(undo(&io, &plan, way, e).await),
        }
    })
}

/// How far a transaction got.
#[derive(Default)]
struct Way {
    stamps: Vec<Stamp>,
    /// The sidecars that are locked, as they were.
    sidecars: Vec<Sidecar>,
    journal: Option<JournalId>,
    /// Whether the journal may be whole.
    written: bool,
    marks: Vec<Intent>,
}

/// Everything up to the commit point, which is its last action.
async fn announce(io: &Io, plan: &Plan, way: &mut Way) -> Result<()> {
    let mut temps = Vec::with_capacity(plan.members.len());
    for member in &plan.members {
        let write = FileAction::WriteTemp(member.bytes.clone());
        match io.disk(&member.place, write).await? {
            Got::Temp(token) => temps.push(token),
            _ => return Err(mismatch("the disk")),
        }
        let stamp = io
            .stamp_temp(&member.place, member.writer.last_mtime_ns)
            .await?;
        way.stamps.push(stamp);
        io.disk(&member.place, FileAction::SyncTemp).await?;
    }
    // What can fail for the files' sake is behind; what is marked is marked for as short as can be.
    if plan.guarantee == Guarantee::CrashSafe {
        for step in &plan.steps {
            way.marks
                .push(Intent::mark_only(io, scope(plan, step)).await);
        }
    }
    way.sidecars = io.lock_sidecars(&places(plan)).await?;
    for (n, (member, sidecar)) in plan.members.iter().zip(&way.sidecars).enumerate() {
        may_write(io, &member.document, &member.place, &member.writer, sidecar).await?;
        if sidecar.mtime_ns >= way.stamps[n].mtime_ns {
            // A document was made and deleted here since this writer looked.
            way.stamps[n] = io.stamp_temp(&member.place, sidecar.mtime_ns).await?;
            io.disk(&member.place, FileAction::SyncTemp).await?;
        }
    }
    if cfg!(not(cachetx_without_journal)) {
        write_journal(io, plan, temps, way).await?;
    }
    Ok(())
}

fn places(plan: &Plan) -> Vec<Place> {
    plan.members.iter().map(|it| it.place.clone()).collect()
}

/// The order: names, then content. So a journal that is whole is found by whoever comes to any of the documents.
async fn write_journal(io: &Io, plan: &Plan, temps: Vec<String>, way: &mut Way) -> Result<()> {
    let id = make_journal(io, plan.journal).await?;
    way.journal = Some(id);
    io.disk(&id.place(), FileAction::SyncFolder).await?;
    for (member, stamp) in plan.members.iter().zip(&way.stamps) {
        let named = Sidecar {
            journal: way.journal,
            ..after(member, stamp)
        };
        io.disk(&member.place, FileAction::WriteSidecar(named))
            .await?;
        io.disk(&member.place, FileAction::SyncSidecar).await?;
    }
    sync_folders(io, plan.members.iter().map(|it| &it.place)).await?;
    for marks in &mut way.marks {
        marks.refresh(io).await;
    }
    let mut journal = Journal {
        members: Vec::with_capacity(plan.members.len()),
        invalidations: Vec::with_capacity(plan.members.len()),
    };
    for ((member, temp), stamp) in plan.members.iter().zip(temps).zip(&way.stamps) {
        journal.members.push(journal::Member {
            place: member.place.clone(),
            temp,
            before: member.writer.read.ok_or_else(|| mismatch("a guard"))?,
            after: *stamp,
        });
        let at_ns = io.now().wall_ns;
        journal.invalidations.extend(member.invalidations(at_ns));
    }
    way.written = true;
    io.disk(&id.place(), FileAction::WriteJournal(journal))
        .await?;
    io.disk(&id.place(), FileAction::SyncJournal).await?;
    Ok(())
}

async fn make_journal(io: &Io, first: JournalId) -> Result<JournalId> {
    // Always synced: whoever made the folder may have died before that.
    io.disk(&first.place(), FileAction::MakeFolder).await?;
    io.disk(&first.place(), FileAction::SyncRoot).await?;
    let mut id = first;
    for _ in 0..limits::JOURNAL_ATTEMPTS {
        match io.disk(&id.place(), FileAction::MakeJournal).await? {
            Got::Nothing => return Ok(id),
            Got::Busy => id = id.next(),
            _ => return Err(mismatch("the disk")),
        }
    }
    Err(Error::new(Kind::Internal(
        "others took each new journal for a dead owner's".to_owned(),
    )))
}

/// What a sidecar says once the document is saved.
fn after(member: &Member, stamp: &Stamp) -> Sidecar {
    Sidecar {
        fence: member.writer.fence,
        mtime_ns: stamp.mtime_ns,
        journal: None,
    }
}

/// Takes back whatever was done on the way. The journal first: without it there is no transaction.
async fn undo(io: &Io, plan: &Plan, way: Way, mut cause: Error) -> Error {
    if let Some(id) = way.journal {
        let mut gone = io.disk(&id.place(), FileAction::RemoveJournal).await;
        if way.written && gone.is_ok() {
            // It may have reached the disk whole, and must not come back.
            gone = io.disk(&id.place(), FileAction::SyncFolder).await;
        }
        if let (true, Err(e)) = (way.written, gone) {
            log::error!("a transaction that failed may still be done after a crash: {e}");
            cause = cause.effect_is(Effect::Unknown);
        }
    }
    for (n, member) in plan.members.iter().enumerate() {
        let mut actions = vec![FileAction::DiscardTemp, FileAction::UnlockSidecar];
        if let (Some(_), Some(stamp)) = (way.journal, way.stamps.get(n)) {
            actions.insert(0, FileAction::WriteSidecar(after(member, stamp)));
        }
        for action in actions {
            if let Err(e) = io.disk(&member.place, action).await {
                log::warn!("{}: {e}; the next save mends it", member.document);
            }
        }
    }
    for marks in way.marks {
        marks.withdraw(io).await;
    }
    cause
}

/// Everything after the commit point: nothing fails it any more.
async fn publish(io: &Io, plan: Plan, mut way: Way) -> Grouped {
    for marks in &mut way.marks {
        marks.refresh(io).await;
    }
    let durability = rename(io, &plan).await;
    let Step {
        cache,
        lock_lost,
        replicas,
    } = match durability {
        // Some files are the old ones, so whoever finishes this deletes once more.
        Durability::Journalled => erase(io, &plan, &way).await,
        _ => commit(io, &plan, &way).await,
    };
    let done =
        durability == Durability::Synced && !matches!(cache, CacheOutcome::Unrecorded { .. });
    tidy(io, &plan, &way, done).await;
    let spread = |member: &Member| member.dependents.reach() == Reach::Split;
    let split = plan.steps.len() > 1 || plan.members.iter().any(spread);
    Grouped {
        outcome: Outcome {
            cache,
            durability,
            reach: if split { Reach::Split } else { Reach::Atomic },
            replicas,
        },
        lock_lost,
    }
}

async fn rename(io: &Io, plan: &Plan) -> Durability {
    for member in &plan.members {
        if let Err(e) = io.disk(&member.place, FileAction::Rename).await {
            log::error!(
                "{}: committed with its transaction, but not shown yet; whoever comes next tries again: {e}",
                member.document
            );
            return Durability::Journalled;
        }
    }
    match sync_folders(io, plan.members.iter().map(|it| &it.place)).await {
        Ok(()) => Durability::Synced,
        Err(e) => {
            log::error!("a transaction is committed and visible, and its journal is kept: {e}");
            Durability::Unknown
        }
    }
}

/// What is marked, and in which steps: what the commits will name.
fn scope(plan: &Plan, step: &[usize]) -> Scope {
    let members = || step.iter().map(|n| &plan.members[*n]);
    let here = members().flat_map(|it| std::iter::once(&it.own).chain(&it.dependents.here));
    let elsewhere = members().flat_map(|it| it.dependents.elsewhere.iter().cloned());
    let documents: Vec<&str> = members().map(|it| &*it.document).collect();
    Scope {
        what: documents.join(", "),
        steps: std::iter::once(here.cloned().collect())
            .chain(elsewhere)
            .collect(),
        // The files decide who may write: a mark of one that may not is taken back with the transaction.
        lock: None,
        release: false,
        // For records only, and there is none.
        params: Params::new(),
        token: plan.id.clone(),
        mark_ttl: plan.mark_ttl,
    }
}

/// One step for all, or one for each slot; then what is in slots of no document.
async fn commit(io: &Io, plan: &Plan, way: &Way) -> Step {
    let mut done: Option<Step> = None;
    for (n, step) in plan.steps.iter().enumerate() {
        let marks = way.marks.get(n);
        let members = || step.iter().map(|n| (&plan.members[*n], way.stamps[*n]));
        let own = members().map(|(member, stamp)| Own {
            entry: member.own.clone(),
            bytes: member.bytes.clone(),
            stamp,
            ttl_ms: member.ttl_ms,
        });
        let asked = Commit {
            id: plan.id.clone(),
            locks: members()
                .map(|(member, _)| member.writer.lock.clone())
                .collect(),
            own: own.collect(),
            dependents: members()
                .flat_map(|(it, _)| it.dependents.here.clone())
                .collect(),
            release: true,
            token: marks.map_or_else(String::new, |marks| marks.token().to_owned()),
            wait: plan.wait,
        };
        let mut step = match ask_to_commit(io, asked, plan.patience).await {
            Ok(step) => step,
            Err(cause) => {
                let members = members().map(|(member, _)| member);
                Step::of(without_commit(io, members, marks, cause).await)
            }
        };
        for (member, _) in members() {
            let (document, params) = (&member.document, &member.params);
            for entries in member.dependents.elsewhere.clone() {
                let more = delete_later_at_worst(io, document, entries, None, params, marks).await;
                step.cache = step.cache.and(more);
            }
        }
        done = Some(match done {
            None => step,
            Some(before) => Step {
                cache: before.cache.and(step.cache),
                lock_lost: before.lock_lost || step.lock_lost,
                // As many as have all of it.
                replicas: before.replicas.min(step.replicas),
            },
        });
    }
    // There is a step for every document, and at least one of those.
    done.unwrap_or_else(|| Step::of(CacheOutcome::Invalidated { removed: 0 }))
}

/// The server did not take a commit. Where it answers at all, it may take deletions.
async fn without_commit<'a>(
    io: &Io,
    members: impl Iterator<Item = &'a Member>,
    marks: Option<&Intent>,
    cause: Error,
) -> CacheOutcome {
    let mut done: Option<CacheOutcome> = None;
    for member in members {
        let (document, params) = (&member.document, &member.params);
        let entries = std::iter::once(&member.own).chain(&member.dependents.here);
        let entries: Vec<Entry> = entries.cloned().collect();
        let lock = Some(member.writer.lock.clone());
        let step = match cause.is_server() {
            true => delete_later_at_worst(io, document, entries, lock, params, marks).await,
            false => defer(io, entries, lock, params.clone(), cause.clone(), None).await,
        };
        done = Some(match done {
            None => step,
            Some(before) => before.and(step),
        });
    }
    done.unwrap_or(CacheOutcome::Deferred { cause })
}

async fn delete_later_at_worst(
    io: &Io,
    document: &str,
    entries: Vec<Entry>,
    lock: Option<Lock>,
    params: &Params,
    marks: Option<&Intent>,
) -> CacheOutcome {
    match delete(io, document, entries.clone(), lock.clone(), marks).await {
        Ok(removed) => CacheOutcome::Invalidated { removed },
        Err(cause) => defer(io, entries, lock, params.clone(), cause, None).await,
    }
}

/// Deletes what the commit would have set, and lets the locks go.
async fn erase(io: &Io, plan: &Plan, way: &Way) -> Step {
    let mut done = CacheOutcome::Invalidated { removed: 0 };
    for (n, step) in plan.steps.iter().enumerate() {
        let marks = way.marks.get(n);
        for member in step.iter().map(|n| &plan.members[*n]) {
            for what in member.invalidations(io.now().wall_ns) {
                let (document, params) = (&member.document, &what.params);
                let (entries, lock) = (what.entries, what.release);
                let more = delete_later_at_worst(io, document, entries, lock, params, marks).await;
                done = done.and(more);
            }
        }
    }
    Step::of(done)
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
