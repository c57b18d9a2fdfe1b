//! The steps up to the commit point, and how they are undone.

use super::{Plan, Way, after, commit::scope, places};
use crate::{
    disk::{FileAction, Got, Journal, JournalId, Sidecar, digest, journal},
    model::{Effect, Error, Result, error::Kind, limits},
    protocol::{
        Io,
        files::unsteady,
        intent::{Guarantee, Intent},
        mismatch,
        outcome::Durability,
        recover::sync_folders,
        save::may_write,
    },
};

/// Everything up to the commit point, which is the last action. Returns whether the names of the
/// journal, the sidecars and the temporary files are durable: all-or-none after a power loss
/// depends on them.
pub(super) async fn announce(io: &Io, plan: &Plan, way: &mut Way) -> Result<Durability> {
    let mut temps = Vec::with_capacity(plan.members.len());
    for member in &plan.members {
        temps.push(io.write_temp(&member.place, &member.bytes).await?);
        let stamp = io
            .stamp_temp(&member.place, member.writer.last_mtime_ns)
            .await?;
        way.stamps.push(stamp);
        io.disk(&member.place, FileAction::SyncTemp).await?;
    }
    // All that can fail because of the files is done, so marks last as short as possible.
    if plan.guarantee == Guarantee::CrashSafe {
        for step in &plan.steps {
            way.marks
                .push(Intent::mark_only(io, scope(plan, step)).await);
        }
    }
    way.sidecars = io.lock_sidecars(&places(plan)).await?;
    check(io, plan, way).await?;
    for (n, (member, sidecar)) in plan.members.iter().zip(&way.sidecars).enumerate() {
        // If a rename fails after the commit point, the transaction stays half done until the
        // obstacle is removed.
        io.disk(&member.place, FileAction::AskRename).await?;
        if sidecar.mtime_ns >= way.stamps[n].mtime_ns {
            // A document was created and deleted here since this writer looked.
            way.stamps[n] = io.stamp_temp(&member.place, sidecar.mtime_ns).await?;
            io.disk(&member.place, FileAction::SyncTemp).await?;
        }
    }
    if cfg!(cachetx_without_journal) {
        return Ok(Durability::Synced);
    }
    write_journal(io, plan, temps, way).await
}

/// Checks, under its sidecar's lock, that each document may be written.
async fn check(io: &Io, plan: &Plan, way: &mut Way) -> Result<()> {
    way.over.clear();
    for (member, sidecar) in plan.members.iter().zip(&way.sidecars) {
        let (document, place) = (&member.document, &member.place);
        let over = may_write(io, document, place, &member.writer, sidecar).await?;
        way.over.push(over);
    }
    Ok(())
}

/// First the names, then the content. So a whole journal is found from each of the documents.
async fn write_journal(
    io: &Io,
    plan: &Plan,
    temps: Vec<String>,
    way: &mut Way,
) -> Result<Durability> {
    let (id, folder) = make_journal(io, plan.journal).await?;
    way.journal = Some(id);
    let journal = io.sync_names(&id.place(), FileAction::SyncFolder).await?;
    for (member, stamp) in plan.members.iter().zip(&way.stamps) {
        let named = Sidecar {
            journal: way.journal,
            ..after(member, stamp)
        };
        io.disk(&member.place, FileAction::WriteSidecar(named))
            .await?;
        io.disk(&member.place, FileAction::SyncSidecar).await?;
    }
    let documents = sync_folders(io, plan.members.iter().map(|it| &it.place)).await?;
    for marks in &mut way.marks {
        marks.refresh(io).await;
    }
    let mut content = Journal {
        members: Vec::with_capacity(plan.members.len()),
        invalidations: Vec::with_capacity(plan.members.len()),
    };
    for ((member, temp), stamp) in plan.members.iter().zip(temps).zip(&way.stamps) {
        let read = member.writer.read.as_ref();
        let read = read.ok_or_else(|| mismatch("a guard"))?;
        content.members.push(journal::Member {
            place: member.place.clone(),
            temp,
            before: read.version.stamp,
            after: *stamp,
            digest: Some(digest(&read.bytes)),
        });
        let at_ns = io.now().wall_ns;
        content
            .invalidations
            .extend(member.invalidations(*stamp, at_ns));
    }
    write_content(io, plan, id, content, way).await?;
    io.disk(&id.place(), FileAction::SyncJournal).await?;
    Ok(folder.and(journal).and(documents))
}

/// Writes the journal if all documents are still what was checked. If one was touched since, checks
/// all of them again.
async fn write_content(
    io: &Io,
    plan: &Plan,
    id: JournalId,
    journal: Journal,
    way: &mut Way,
) -> Result<()> {
    for _ in 0..limits::READ_ATTEMPTS {
        let write = FileAction::WriteJournal {
            journal: journal.clone(),
            over: way.over.clone(),
        };
        let done = io.disk(&id.place(), write).await;
        // In these two cases the check failed before the write began.
        way.written =
            !matches!(&done, Ok(Got::Torn)) && !done.as_ref().is_err_and(Error::is_lock_lost);
        if done? != Got::Torn {
            return Ok(());
        }
        check(io, plan, way).await?;
    }
    let last = plan.members.last().ok_or_else(|| mismatch("a guard"))?;
    Err(unsteady(&last.place))
}

/// Creates the journal; returns its id and whether its folder is durable.
async fn make_journal(io: &Io, first: JournalId) -> Result<(JournalId, Durability)> {
    // Always synced: the process that created the folder may have died before the sync.
    io.disk(&first.place(), FileAction::MakeFolder).await?;
    let folder = io.sync_names(&first.place(), FileAction::SyncRoot).await?;
    let mut id = first;
    for _ in 0..limits::JOURNAL_ATTEMPTS {
        match io.disk(&id.place(), FileAction::MakeJournal).await? {
            Got::Nothing => return Ok((id, folder)),
            Got::Busy => id = id.next(),
            _ => return Err(mismatch("the disk")),
        }
    }
    Err(Error::new(Kind::Internal(
        "others took each new journal for a dead owner's".to_owned(),
    )))
}

/// Undoes everything that was done. The journal first: without it there is no transaction.
pub(super) async fn undo(io: &Io, plan: &Plan, way: Way, mut cause: Error) -> Error {
    if let Some(id) = way.journal {
        let removed = io.disk(&id.place(), FileAction::RemoveJournal).await;
        // It may have reached the disk whole, and must not reappear.
        if way.written {
            let gone = match removed {
                Ok(_) => io.sync_names(&id.place(), FileAction::SyncFolder).await,
                Err(e) => Err(e),
            };
            if !matches!(gone, Ok(Durability::Synced)) {
                log::error!("a transaction that failed may still be done after a crash: {gone:?}");
                cause = cause.effect_is(Effect::Unknown);
            }
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
