//! Finishing what a transaction left half done: its owner died, or could not go on.
//!
//! Whoever has a sidecar's OS lock and finds a journal named there knows that the owner is gone, since that holds the locks of all
//! its sidecars from before it names the journal until after it has taken the names away. So the locks, taken in the one
//! order that owners use too, decide who finishes; each step may be the last one, and the next one who comes starts over.

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

/// For messages of what is done to a journal's entries.
const WHAT: &str = "a transaction whose owner is gone";

/// The journals that there are.
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

/// Finishes the transaction of this journal, if its owner is gone. Waits so long for those who are at work on its documents.
pub(crate) fn finish_if_dead(id: JournalId, wait: Duration) -> Run<()> {
    Run::new(move |io| async move {
        match io.disk(&id.place(), FileAction::LockJournal).await? {
            Got::Nothing => {}
            Got::Busy | Got::Missing => return Ok(()),
            _ => return Err(mismatch("the disk")),
        }
        match io.read_journal(id).await? {
            Some(journal) => finish(&io, id, &journal, io.now().boot + wait).await,
            // What names it finds nothing, and is told to forget it.
            None => io
                .disk(&id.place(), FileAction::RemoveJournal)
                .await
                .map(drop),
        }
    })
}

impl Io {
    /// `None` for one that is not there, or was never whole: then the transaction has not begun.
    async fn read_journal(&self, id: JournalId) -> Result<Option<Journal>> {
        match self.disk(&id.place(), FileAction::ReadJournal).await? {
            Got::Journal(journal) => Ok(journal),
            Got::Missing => Ok(None),
            _ => Err(mismatch("the disk")),
        }
    }
}

/// Finishes the journal that this document's sidecar names, or makes the sidecar forget it. Needs no lock to be held, and waits
/// until then for those who are at work.
pub(super) async fn recover(io: &Io, place: &Place, id: JournalId, until: Duration) -> Result<()> {
    // Without a lock at first: it says which ones to take.
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

/// Under the sidecar's lock. The journal's file, if there is one, is left to who takes its OS lock: this sidecar may be the copy of
/// one, and the owner at work.
async fn forget(io: &Io, place: &Place, id: JournalId, sidecar: Sidecar) -> Result<()> {
    // Whoever came back here meanwhile may have made it whole, and be dead by now; then the next round finishes it.
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
            // Its whole folder is gone, or became a link, so that nobody gets to it; the others' are to be finished all the same.
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

/// Names the journal too where a file is in the way: all of its documents wait for that, whichever of them is asked for.
fn held_up(id: JournalId, cause: Error) -> Error {
    // Of the sidecars, not of whoever came here first: that one tries again.
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

/// What a document is, seen from a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As it was, and what it is to become is there.
    Before,
    After,
    /// Somebody else's, who did not ask for a lock.
    Other,
}

/// A document of a journal, as it was found under its sidecar's lock.
struct Found<'a> {
    member: &'a Member,
    state: State,
    over: Option<Identity>,
    /// `None` where its whole folder is gone, or a link.
    sidecar: Option<Sidecar>,
}

async fn finish_under_locks(io: &Io, id: JournalId, sidecars: &[Option<Sidecar>]) -> Result<()> {
    // Somebody else may have finished it before the locks were free.
    let Some(journal) = io.read_journal(id).await? else {
        return Ok(());
    };
    // Its owner may have died before it was synced: what follows must not be more durable than it is.
    io.disk(&id.place(), FileAction::SyncJournal).await?;
    let mut found = Vec::with_capacity(sidecars.len());
    for (member, sidecar) in journal.members.iter().zip(sidecars) {
        let (state, over) = match sidecar {
            Some(_) => state(io, member).await?,
            // It may be back by now, and is not locked.
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
        // Of another dead transaction, whose temporary files are still needed: this one's names were taken away before.
        if sidecar.journal.is_some_and(|named| named != id) {
            continue;
        }
        // What was to become a document that is somebody else's now.
        if let Err(e) = io.disk(place, FileAction::Sweep).await {
            log::warn!("{}: {e}", name(place));
        }
    }
    log::info!("a transaction whose owner is gone is finished: {id}");
    Ok(())
}

/// Shows the files that are not shown yet. What another program wrote is not overwritten; and where that is so and nothing was
/// shown before, nothing is.
async fn publish(io: &Io, found: &[Found<'_>]) -> Result<()> {
    let of = |state| found.iter().filter(move |it| it.state == state);
    let others: Vec<String> = of(State::Other).map(|it| name(&it.member.place)).collect();
    let void = !others.is_empty() && of(State::After).next().is_none();
    // Without one that is still to be shown it was done before, but for its last steps, and others may have saved since.
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

/// The document's state, and its identity.
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

/// Each folder once: a name in it is durable then, or it is not known where the file system cannot sync folders.
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

/// After the last rename: what was derived from the old files is gone, or recorded, before anybody forgets the journal.
async fn invalidate(io: &Io, invalidations: Vec<Invalidation>) -> Result<()> {
    for what in invalidations {
        let done = delete_or_defer(io, WHAT, what, None).await;
        if let CacheOutcome::Unrecorded { outbox, .. } = done {
            return Err(outbox);
        }
    }
    Ok(())
}
