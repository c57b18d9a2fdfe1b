//! Finishing what a transaction left half done: its owner died, or could not go on.
//!
//! Whoever has a sidecar's OS lock and finds a journal named there knows that the owner is gone, since that holds the locks of all
//! its sidecars from before it names the journal until after it has taken the names away. So the locks, taken in the one
//! order that owners use too, decide who finishes; each step may be the last one, and the next one who comes starts over.

use super::{
    defer::delete_or_defer,
    outcome::CacheOutcome,
    run::{Io, Run, mismatch},
    sidecars::name,
};
use crate::{
    Result,
    disk::{
        FileAction, Got, Invalidation, Journal, JournalId, Place, Sidecar,
        journal::{self, Member},
    },
    limits,
};

/// For messages of what is done to a journal's entries.
const WHAT: &str = "a transaction whose owner is gone";

/// Finishes every transaction whose owner is gone, as far as that can be done now; what cannot is logged and left.
pub(crate) fn all() -> Run<()> {
    Run::new(|io| async move {
        let folder = Place {
            folder: journal::FOLDER.into(),
            file: "".into(),
        };
        let ids = match io.disk(&folder, FileAction::ListJournals).await? {
            Got::Journals(ids) => ids,
            _ => return Err(mismatch("the disk")),
        };
        for id in ids {
            if let Err(e) = finish_if_dead(&io, id).await {
                log::warn!("a transaction's journal {id} is left to who comes next: {e}");
            }
        }
        Ok(())
    })
}

async fn finish_if_dead(io: &Io, id: JournalId) -> Result<()> {
    match io.disk(&id.place(), FileAction::LockJournal).await? {
        Got::Nothing => {}
        Got::Busy | Got::Missing => return Ok(()),
        _ => return Err(mismatch("the disk")),
    }
    match io.read_journal(id).await? {
        Some(journal) => finish(io, id, &journal).await,
        // What names it finds nothing, and is told to forget it.
        None => io
            .disk(&id.place(), FileAction::RemoveJournal)
            .await
            .map(drop),
    }
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

/// Finishes the journal that this document's sidecar names, or makes the sidecar forget it. Needs no lock to be held.
pub(super) async fn recover(io: &Io, place: &Place, id: JournalId) -> Result<()> {
    // Without a lock at first: it says which ones to take.
    match io.read_journal(id).await? {
        Some(journal) => finish(io, id, &journal).await,
        None => {
            let until = io.now().boot + limits::SIDECAR_WAIT;
            let sidecar = io.try_sidecar(place, until).await?;
            let forgotten = forget(io, place, id, sidecar).await;
            io.unlock_sidecars(std::slice::from_ref(place)).await;
            forgotten
        }
    }
}

/// Under the sidecar's lock.
async fn forget(io: &Io, place: &Place, id: JournalId, sidecar: Sidecar) -> Result<()> {
    // Whoever came back here meanwhile may have made it whole, and be dead by now; then the next round finishes it.
    if sidecar.journal != Some(id) || io.read_journal(id).await?.is_some() {
        return Ok(());
    }
    take_name_away(io, place, id, sidecar).await?;
    io.disk(&id.place(), FileAction::RemoveJournal)
        .await
        .map(drop)
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

async fn finish(io: &Io, id: JournalId, journal: &Journal) -> Result<()> {
    let places: Vec<Place> = journal.members.iter().map(|it| it.place.clone()).collect();
    let until = io.now().boot + limits::SIDECAR_WAIT;
    let mut sidecars = Vec::with_capacity(places.len());
    for place in &places {
        match io.try_sidecar(place, until).await {
            Ok(sidecar) => sidecars.push(Some(sidecar)),
            // Its whole folder is gone; the others' are to be finished all the same.
            Err(e) if e.is_not_found() => sidecars.push(None),
            Err(e) => {
                io.unlock_sidecars(&places).await;
                return Err(e);
            }
        }
    }
    let done = finish_under_locks(io, id, &sidecars).await;
    io.unlock_sidecars(&places).await;
    done
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

async fn finish_under_locks(io: &Io, id: JournalId, sidecars: &[Option<Sidecar>]) -> Result<()> {
    // Somebody else may have finished it before the locks were free.
    let Some(Journal {
        members,
        invalidations,
    }) = io.read_journal(id).await?
    else {
        return Ok(());
    };
    // Its owner may have died before it was synced: what follows must not be more durable than it is.
    io.disk(&id.place(), FileAction::SyncJournal).await?;
    let mut states = Vec::with_capacity(members.len());
    for member in &members {
        states.push(state(io, member).await?);
    }
    let foreign = states.contains(&State::Other);
    let void = foreign && !states.contains(&State::After);
    // Without one to be renamed it was done before, but for its last steps, and others may have saved since.
    if foreign && states.contains(&State::Before) {
        let done = if void {
            "given up"
        } else {
            "finished without them"
        };
        log::error!(
            "documents of a transaction whose owner is gone were changed by another program before it was finished; it is {done}: {}",
            names(&members, &states)
        );
    }
    let last_word = if void {
        FileAction::DiscardTemp
    } else {
        FileAction::Rename
    };
    for (member, _) in members
        .iter()
        .zip(&states)
        .filter(|(_, state)| **state == State::Before)
    {
        io.disk(&member.place, last_word.clone()).await?;
    }
    sync_folders(
        io,
        members
            .iter()
            .zip(sidecars)
            .filter(|(_, sidecar)| sidecar.is_some())
            .map(|(member, _)| &member.place),
    )
    .await?;
    invalidate(io, invalidations).await?;
    for (member, sidecar) in members.iter().zip(sidecars) {
        if let Some(sidecar) = sidecar {
            take_name_away(io, &member.place, id, *sidecar).await?;
        }
    }
    io.disk(&id.place(), FileAction::RemoveJournal).await?;
    for (member, _) in members.iter().zip(sidecars).filter(|(_, it)| it.is_some()) {
        // What was to become a document that is somebody else's now.
        if let Err(e) = io.disk(&member.place, FileAction::Sweep).await {
            log::warn!("{}: {e}", name(&member.place));
        }
    }
    log::info!("a transaction whose owner is gone is finished: {id}");
    Ok(())
}

async fn state(io: &Io, member: &Member) -> Result<State> {
    let stamp = io.stat(&member.place).await?;
    if stamp == Some(member.after) {
        return Ok(State::After);
    }
    if cfg!(not(cachetx_without_image_check)) && stamp != Some(member.before) {
        return Ok(State::Other);
    }
    let token = member.temp.clone();
    match io
        .disk(&member.place, FileAction::AdoptTemp { token })
        .await?
    {
        Got::Stamp(temp) if temp == Some(member.after) => Ok(State::Before),
        Got::Stamp(_) => Ok(State::Other),
        _ => Err(mismatch("the disk")),
    }
}

/// Each folder once: a name in it is durable then.
pub(super) async fn sync_folders<'a>(
    io: &Io,
    places: impl Iterator<Item = &'a Place>,
) -> Result<()> {
    let mut synced: Vec<&str> = Vec::new();
    for place in places {
        if !synced.contains(&&*place.folder) {
            synced.push(&place.folder);
            io.disk(place, FileAction::SyncFolder).await?;
        }
    }
    Ok(())
}

/// After the last rename: what was derived from the old files is gone, or recorded, before anybody forgets the journal.
async fn invalidate(io: &Io, invalidations: Vec<Invalidation>) -> Result<()> {
    for Invalidation {
        entries,
        release,
        params,
        ..
    } in invalidations
    {
        let done = delete_or_defer(io, WHAT, entries, release, &params, None).await;
        if let CacheOutcome::Unrecorded { outbox, .. } = done {
            return Err(outbox);
        }
    }
    Ok(())
}

fn names(members: &[Member], states: &[State]) -> String {
    let others = members
        .iter()
        .zip(states)
        .filter(|(_, state)| **state == State::Other);
    let names: Vec<String> = others.map(|(member, _)| name(&member.place)).collect();
    names.join(", ")
}
