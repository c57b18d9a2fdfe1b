//! Finishes a transaction that was left half done: its owner died, or could not go on.
//!
//! A process that has a sidecar's OS lock and finds a journal named there knows that the owner is
//! gone: an owner holds the locks of all its sidecars from before it names the journal until after
//! it has removed the names. So the locks, taken in the same order that owners use, decide who
//! finishes. Any step may be the last one; the next process starts over.

use super::{
    defer::delete_or_defer,
    files::{Missing, unsteady},
    outcome::{CacheOutcome, Durability},
    run::{Io, Run, mismatch},
    sidecar::{busy, name},
};
use crate::{
    disk::{
        FileAction, Got, Identity, Invalidation, Journal, JournalId, Sidecar, digest,
        journal::{self, Member},
    },
    model::{Error, Place, Result, error::io_error},
};
use std::{io, path::Path, time::Duration};

/// For log messages about the deletion of a journal's entries.
const WHAT: &str = "a transaction whose owner is gone";

/// Lists the journals.
pub(crate) fn list() -> Run<Vec<JournalId>> {
    Run::new(|io| async move {
        let folder = Place {
            folder: journal::FOLDER.into(),
            file: "".into(),
        };
        match io.disk(&folder, FileAction::ListJournals).await? {
            Got::Journals(ids) => Ok(ids),
            _ => Err(mismatch("the disk")),
        }
    })
}

/// Finishes the transaction of this journal if its owner is gone. Waits up to `wait` for processes
/// at work on its documents.
pub(crate) fn finish_if_dead(id: JournalId, wait: Duration) -> Run<()> {
    Run::new(move |io| async move {
        match io.disk(&id.place(), FileAction::LockJournal).await? {
            Got::Nothing => {}
            Got::Busy | Got::Missing => return Ok(()),
            _ => return Err(mismatch("the disk")),
        }
        match io.read_journal(id).await? {
            Some(journal) => finish(&io, id, &journal, io.now().boot + wait).await,
            // A sidecar that names it will find nothing, and then forgets the name.
            None => io
                .disk(&id.place(), FileAction::RemoveJournal)
                .await
                .map(drop),
        }
    })
}

impl Io {
    /// `None` if it does not exist or was never whole: then the transaction has not begun.
    async fn read_journal(&self, id: JournalId) -> Result<Option<Journal>> {
        match self.disk(&id.place(), FileAction::ReadJournal).await? {
            Got::Journal(journal) => Ok(journal),
            Got::Missing => Ok(None),
            _ => Err(mismatch("the disk")),
        }
    }
}

/// Finishes the journal that this document's sidecar names, or removes the name from the sidecar.
/// The caller need not hold a lock. Waits until `until` for processes at work.
pub(super) async fn recover(io: &Io, place: &Place, id: JournalId, until: Duration) -> Result<()> {
    // Read without a lock at first: it says which locks to take.
    match io.read_journal(id).await? {
        Some(journal) => finish(io, id, &journal, until).await,
        None => {
            let sidecar = io.try_sidecar(place, until).await?;
            let forgotten = forget(io, place, id, sidecar).await;
            io.unlock_sidecars(std::slice::from_ref(place)).await;
            forgotten
        }
    }
}

/// Call it with the sidecar's lock held. The journal's file, if there is one, is left to the
/// process that takes its OS lock: this sidecar may be a copy of another one, whose owner is still
/// at work.
async fn forget(io: &Io, place: &Place, id: JournalId, sidecar: Sidecar) -> Result<()> {
    // A process that came back here meanwhile may have completed the journal and died since; then
    // the next round finishes it.
    if sidecar.journal != Some(id) || io.read_journal(id).await?.is_some() {
        return Ok(());
    }
    take_name_away(io, place, id, sidecar).await
}

async fn take_name_away(io: &Io, place: &Place, id: JournalId, sidecar: Sidecar) -> Result<()> {
    if sidecar.journal != Some(id) {
        return Ok(());
    }
    let without = Sidecar {
        journal: None,
        ..sidecar
    };
    io.disk(place, FileAction::WriteSidecar(without))
        .await
        .map(drop)
}

async fn finish(io: &Io, id: JournalId, journal: &Journal, until: Duration) -> Result<()> {
    let places: Vec<Place> = journal.members.iter().map(|it| it.place.clone()).collect();
    let mut sidecars = Vec::with_capacity(places.len());
    for place in &places {
        match io.try_sidecar(place, until).await {
            Ok(sidecar) => sidecars.push(Some(sidecar)),
            // The whole folder is gone or became a link, so nobody can reach the document; the
            // others must be finished all the same.
            Err(e) if e.is_not_found() || e.is_invalid_name() => sidecars.push(None),
            Err(e) => {
                io.unlock_sidecars(&places).await;
                return Err(held_up(id, e));
            }
        }
    }
    let done = finish_under_locks(io, id, &sidecars).await;
    io.unlock_sidecars(&places).await;
    done.map_err(|e| held_up(id, e))
}

/// Also names the journal if a file is in the way: all of its documents wait for that, whichever of
/// them is used.
fn held_up(id: JournalId, cause: Error) -> Error {
    // A sidecar's lock is lost, not the caller's: the caller retries.
    if cause.is_lock_lost() {
        return busy(&id.place());
    }
    if !cause.is_io() {
        return cause;
    }
    let why = format!("{cause}; its documents can be locked and saved once nothing is in the way");
    io_error(
        Path::new(&name(&id.place())),
        "finish the transaction of the journal",
        io::Error::other(why),
    )
}

/// A document's state relative to a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Unchanged, and its new file is still there.
    Before,
    After,
    /// Changed by another program, which did not ask for a lock.
    Other,
}

/// A document of a journal, as found under its sidecar's lock.
struct Found<'a> {
    member: &'a Member,
    state: State,
    over: Option<Identity>,
    /// `None` if the whole folder is gone or is a link.
    sidecar: Option<Sidecar>,
}

async fn finish_under_locks(io: &Io, id: JournalId, sidecars: &[Option<Sidecar>]) -> Result<()> {
    // Another process may have finished it before the locks were free.
    let Some(journal) = io.read_journal(id).await? else {
        return Ok(());
    };
    // Its owner may have died before the sync: what follows must not be more durable than the
    // journal.
    io.disk(&id.place(), FileAction::SyncJournal).await?;
    let mut found = Vec::with_capacity(sidecars.len());
    for (member, sidecar) in journal.members.iter().zip(sidecars) {
        let (state, over) = match sidecar {
            Some(_) => state(io, member).await?,
            // The folder may be back by now, and is not locked.
            None => (State::Other, None),
        };
        found.push(Found {
            member,
            state,
            over,
            sidecar: *sidecar,
        });
    }
    publish(io, &found).await?;
    invalidate(io, journal.invalidations).await?;
    let there = || {
        found
            .iter()
            .filter_map(|it| Some((&it.member.place, it.sidecar?)))
    };
    for (place, sidecar) in there() {
        take_name_away(io, place, id, sidecar).await?;
    }
    io.disk(&id.place(), FileAction::RemoveJournal).await?;
    for (place, sidecar) in there() {
        // It names another dead transaction, whose temporary files are still needed. This one's
        // name was removed before.
        if sidecar.journal.is_some_and(|named| named != id) {
            continue;
        }
        // Removes temporary files whose document was changed by another program.
        if let Err(e) = io.disk(place, FileAction::Sweep).await {
            log::warn!("{}: {e}", name(place));
        }
    }
    log::info!("a transaction whose owner is gone is finished: {id}");
    Ok(())
}

/// Renames the files that are not in place yet. Does not overwrite what another program wrote. If
/// another program wrote a document and none is in place yet, publishes nothing.
async fn publish(io: &Io, found: &[Found<'_>]) -> Result<()> {
    let of = |state| found.iter().filter(move |it| it.state == state);
    let others: Vec<String> = of(State::Other).map(|it| name(&it.member.place)).collect();
    let void = !others.is_empty() && of(State::After).next().is_none();
    // If none is still to be renamed, everything but the last steps was done before, and others may
    // have saved since.
    if !others.is_empty() && of(State::Before).next().is_some() {
        let end = if void {
            "given up"
        } else {
            "finished without them"
        };
        log::error!(
            "another program wrote documents of a transaction before that was finished, so it is {end}: {}",
            others.join(", ")
        );
    }
    for Found { member, over, .. } in of(State::Before) {
        let (token, over) = (member.temp.clone(), *over);
        let action = match void {
            true => FileAction::DiscardLeft { token },
            false => FileAction::RenameLeft { token, over },
        };
        if io.disk(&member.place, action).await? == Got::Torn {
            return Err(unsteady(&member.place));
        }
    }
    let there = found.iter().filter(|it| it.sidecar.is_some());
    sync_folders(io, there.map(|it| &it.member.place))
        .await
        .map(drop)
}

/// The document's state and identity.
async fn state(io: &Io, member: &Member) -> Result<(State, Option<Identity>)> {
    let mut now = io.stat(&member.place).await?;
    let stamp = now.map(|now| now.stamp);
    if stamp == Some(member.after) {
        return Ok((State::After, now));
    }
    let mut is_before = stamp == Some(member.before);
    if let (true, Some(before)) = (is_before, member.digest) {
        let found = io.read_file(&member.place, Missing::Final, 0).await?;
        now = found.as_ref().map(|found| found.identity);
        is_before =
            found.is_some_and(|it| it.stamp() == member.before && digest(&it.bytes) == before);
    }
    if cfg!(not(cachetx_without_image_check)) && !is_before {
        return Ok((State::Other, now));
    }
    let token = member.temp.clone();
    match io
        .disk(&member.place, FileAction::StatLeft { token })
        .await?
    {
        Got::Stamp(temp) if temp == Some(member.after) => Ok((State::Before, now)),
        Got::Stamp(_) => Ok((State::Other, now)),
        _ => Err(mismatch("the disk")),
    }
}

/// Syncs each folder once. The names are durable then, or this is unknown if the file system cannot
/// sync folders.
pub(super) async fn sync_folders<'a>(
    io: &Io,
    places: impl Iterator<Item = &'a Place>,
) -> Result<Durability> {
    let mut durability = Durability::Synced;
    let mut synced: Vec<&str> = Vec::new();
    for place in places {
        if !synced.contains(&&*place.folder) {
            synced.push(&place.folder);
            let names = io.sync_names(place, FileAction::SyncFolder).await?;
            durability = durability.and(names);
        }
    }
    Ok(durability)
}

/// After the last rename: deletes what was derived from the old files, or records it, before the
/// journal's names are removed.
async fn invalidate(io: &Io, invalidations: Vec<Invalidation>) -> Result<()> {
    for what in invalidations {
        let done = delete_or_defer(io, WHAT, what, None).await;
        if let CacheOutcome::Unrecorded { outbox, .. } = done {
            return Err(outbox);
        }
    }
    Ok(())
}
