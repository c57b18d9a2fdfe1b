//! The outbox: invalidations that have not reached the server, or may not have, kept in a file
//! until they have.
//!
//! Each process appends to a file of its own, `<16 hex digits>.outbox`, and holds its OS lock while
//! it lives. A process that gets that lock knows that the owner is dead, and takes the file over:
//! it replays the records, then removes the file.
//!
//! - A file gets its name only when it is whole, synced and locked, so no process ever sees a live
//!   owner's file unlocked.
//! - A file is never truncated or repaired. If an append fails, everything that is still pending
//!   goes into a new file. So a torn last line was never acknowledged, and is skipped.
//! - A file's first line names the server that it is for. Two caches with different servers in one
//!   folder do not take over each other's files.
//! - A line that is damaged, or of an unknown version, is moved to a `.poison` file and reported.

mod file;
pub(super) mod line;
mod list;
mod pending;
mod takeover;
#[cfg(test)]
mod tests;

pub(crate) use list::{Listed, list};

use crate::{
    model::{
        Entry, Error, Lock, Result,
        error::{Kind, io_error},
        limits,
    },
    op::Raise,
    rules::Params,
};
use file::{Folder, OwnFile, Sync};
use pending::{Pending, Queue};
use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};
use takeover::Adopted;

/// Keys to delete and a lock to release. Deleting is always safe, so it may happen late, and twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Invalidation {
    pub(crate) entries: Vec<Entry>,
    /// Own entries among `entries` whose stamp is raised, so that an earlier commit that arrives
    /// late does not set them.
    pub(crate) raises: Vec<Raise>,
    /// A lock to release too, if it still holds that value.
    pub(crate) release: Option<Lock>,
    /// What the keys were made from. If an outbox is full, many records are reduced to their
    /// params.
    pub(crate) params: Params,
    /// Time of the record, in ns since 1970.
    pub(crate) at_ns: i64,
}

impl Invalidation {
    /// For entries alone: raises no stamp and releases no lock.
    pub(crate) fn of(entries: Vec<Entry>, params: Params, at_ns: i64) -> Self {
        Self {
            entries,
            raises: Vec::new(),
            release: None,
            params,
            at_ns,
        }
    }
}

/// The work that one record stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Keys(Invalidation),
    /// Many records of the same params merged into one: delete every key that the params can make.
    Everything {
        params: Params,
        at_ns: i64,
    },
}

/// Identifies a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket {
    /// 0 is the own file; files that were taken over are numbered from 1.
    source: u64,
    id: u64,
}

impl Ticket {
    pub(crate) fn own(id: u64) -> Self {
        Self { source: 0, id }
    }

    /// The record's number in the own file; `None` for another file, where the same number may
    /// occur.
    fn own_id(self) -> Option<u64> {
        (self.source == 0).then_some(self.id)
    }

    #[cfg(all(test, feature = "testing"))]
    pub(crate) fn number(self) -> u64 {
        self.id
    }
}

/// The outbox actions. They are data, so that a simulated outbox can answer them too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OutboxAction {
    /// Keeps what the server did not take.
    Defer(Invalidation),
    /// Keeps what a save is about to do, before it does it. Replayed once the save asks for it
    /// (`Ripen`) or is dead.
    Intend(Invalidation),
    /// The save that recorded the intent is over, and the server may not have taken it: replay it.
    Ripen(Ticket),
    /// The record is done.
    Retire(Ticket),
    /// Takes over the files of dead owners, if there are any.
    TakeOver,
    /// Releases those of these files that are not done: another process may reach the server when
    /// this one does not. Answers how many records are left, in them and in the own file.
    GiveBack,
    /// The next records to replay after this one, in order.
    Next(Option<Ticket>),
}

impl OutboxAction {
    /// A stable name, for logs and for tests that stop at an action.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Defer(_) => "defer",
            Self::Intend(_) => "intend",
            Self::Ripen(_) => "ripen",
            Self::Retire(_) => "retire",
            Self::TakeOver => "take-over",
            Self::GiveBack => "give-back",
            Self::Next(_) => "next",
        }
    }
}

/// The answer to an outbox action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OutboxGot {
    Nothing,
    Kept(Ticket),
    /// How many files were taken over.
    TakenOver(usize),
    Left(u64),
    Next(Vec<(Ticket, Work)>),
}

/// The size limits of an outbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            records: limits::MAX_OUTBOX_RECORDS,
            bytes: limits::MAX_OUTBOX_BYTES,
        }
    }
}

/// The outbox of one process. Without a folder it keeps records in memory only, and returns an
/// error that says so.
#[derive(Default)]
pub(crate) struct Outbox {
    state: Mutex<State>,
    /// Number of records that could be replayed now; read without the lock.
    ripe: AtomicU64,
    /// Whether files were left to other processes; read without the lock.
    has_left: AtomicBool,
    set_aside: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The own file is created in the first; dead owners' files are looked for in all.
    folders: Vec<PathBuf>,
    own: Option<OwnFile>,
    queue: Queue,
    adopted: Vec<Adopted>,
    adoptions: u64,
    /// The server that the records are for, as its URL names it.
    server: Option<String>,
    /// Whether files for other servers are taken over too.
    takes_any: bool,
    /// Names of files for other servers that were logged.
    foreign: HashSet<String>,
    /// Memory suffices: the server ends with this process.
    volatile: bool,
    /// Whether records are left to other processes as soon as no save is using one.
    closed: bool,
    /// Files that were left to other processes, with their records then.
    left: Vec<(PathBuf, u64)>,
}

impl Outbox {
    #[cfg(test)]
    fn with_bounds(bounds: Bounds) -> Self {
        let outbox = Self::default();
        outbox.lock().queue.bounds = bounds;
        outbox
    }

    /// For the server of that name.
    pub(crate) fn of_server(name: Option<String>, takes_any: bool) -> Self {
        let outbox = Self::default();
        {
            let mut state = outbox.lock();
            (state.server, state.takes_any) = (name, takes_any);
        }
        outbox
    }

    /// For a server that ends with this process: memory is durable enough.
    pub(crate) fn volatile() -> Self {
        let outbox = Self::default();
        outbox.lock().volatile = true;
        outbox
    }

    /// Adds a folder, which is created with the first record; whether it is a new one.
    pub(crate) fn add_folder(&self, folder: &Path) -> bool {
        let mut state = self.lock();
        let new = !state.folders.iter().any(|known| known == folder);
        if new {
            state.folders.push(folder.to_owned());
        }
        new
    }

    pub(crate) fn perform(&self, action: &OutboxAction) -> Result<OutboxGot> {
        let mut state = self.lock();
        let done = match action {
            OutboxAction::Defer(what) => state
                .keep(Pending::deferred(Work::Keys(what.clone())))
                .map(OutboxGot::Kept),
            OutboxAction::Intend(what) => state
                .keep(Pending::intent(Work::Keys(what.clone())))
                .map(OutboxGot::Kept),
            OutboxAction::Ripen(ticket) => {
                // Records that were taken over are ripe from the start.
                if let Some(id) = ticket.own_id() {
                    state.queue.ripen(id);
                }
                Ok(OutboxGot::Nothing)
            }
            OutboxAction::Retire(ticket) => {
                state.retire(*ticket);
                Ok(OutboxGot::Nothing)
            }
            OutboxAction::TakeOver => {
                let (taken, set_aside) = state.take_over();
                self.set_aside.fetch_add(set_aside, Relaxed);
                Ok(OutboxGot::TakenOver(taken))
            }
            OutboxAction::GiveBack => {
                let left = state.ripe();
                state.adopted.clear();
                Ok(OutboxGot::Left(left))
            }
            OutboxAction::Next(after) => Ok(OutboxGot::Next(state.next(*after))),
        };
        self.settle(&mut state);
        done
    }

    /// Number of records that wait for the server.
    pub(crate) fn ripe(&self) -> u64 {
        self.ripe.load(Relaxed)
    }

    /// As `ripe`, plus the records in files that were left to other processes and still exist.
    pub(crate) fn pending(&self) -> u64 {
        match self.has_left.load(Relaxed) {
            true => self.ripe() + self.lock().left_behind(),
            false => self.ripe(),
        }
    }

    /// Number of damaged lines that were set aside.
    pub(crate) fn set_aside(&self) -> u64 {
        self.set_aside.load(Relaxed)
    }

    /// Releases all OS locks, so that other processes may take over what is left. The own file's
    /// lock is kept until no save is using a record in it: otherwise another process would complete
    /// that record before the save has changed anything, and release its lock.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.adopted.clear();
        self.settle(&mut state);
    }

    fn settle(&self, state: &mut State) {
        state.leave_to_others();
        self.ripe.store(state.ripe(), Relaxed);
        self.has_left.store(!state.left.is_empty(), Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // After a panic, the worst case is a record that is replayed twice.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.lock().let_go();
    }
}

impl State {
    /// If writing fails, a deferred record stays in memory and may still be replayed; an intent is
    /// removed.
    fn keep(&mut self, mut pending: Pending) -> Result<Ticket> {
        let intent = pending.is_intent();
        let mut line = pending.line(self.queue.next_id);
        if !self.queue.has_room_for(&line) {
            self.collapse();
            pending = pending.collapsed();
            // Adds a new record for these params and retires the old one, which may be on its way
            // to the server already.
            if let Some(older) = self.queue.everything_of(&pending) {
                self.retire(Ticket::own(older));
            }
            line = pending.line(self.queue.next_id);
            if !self.queue.has_room_for(&line) {
                return Err(Error::new(Kind::Outbox(format!(
                    "is full: {} records",
                    self.queue.len()
                ))));
            }
        }
        let id = self.queue.push(pending, line.len());
        match self.write(&line) {
            Ok(()) => Ok(Ticket::own(id)),
            Err(e) => {
                if intent {
                    self.queue.remove(id);
                } else if let Some(older) = self.queue.older_twin_of(id) {
                    // A refused caller retries, maybe twice a second for as long as this lasts;
                    // keep one record only.
                    self.queue.remove(older);
                }
                Err(e)
            }
        }
    }

    /// Makes the newest record durable.
    fn write(&mut self, line: &str) -> Result<()> {
        if self.volatile {
            return Ok(());
        }
        let (room, folder) = (self.queue.file_bytes(), self.folder()?);
        if let Some(own) = &mut self.own
            && own.has_room_for(line, room)
        {
            match own.append(line, Sync::Now) {
                Ok(()) => return Ok(()),
                Err(e) => log::warn!("{}: {e}; trying a new file", own.path().display()),
            }
        }
        self.rewrite(&folder)
    }

    fn folder(&self) -> Result<PathBuf> {
        self.folders.first().cloned().ok_or_else(|| {
            Error::new(Kind::Outbox(
                "has no folder: give CacheBuilder::outbox one, or open a store".to_owned(),
            ))
        })
    }

    /// Writes everything that is pending to a new file, and removes the old one.
    fn rewrite(&mut self, folder: &Path) -> Result<()> {
        let failed = |e| io_error(folder, "write an outbox in", e);
        let server = self.server.as_deref().map(line::server);
        let lines = server.unwrap_or_default() + &self.queue.lines();
        let create = || OwnFile::create(Folder::make(folder)?, &lines);
        // A new file is unlocked for an instant; another process may take it for a dead owner's.
        // Then try once more.
        let new = create().or_else(|_| create()).map_err(failed)?;
        if let Some(old) = self.own.replace(new) {
            old.remove();
        }
        Ok(())
    }

    fn retire(&mut self, ticket: Ticket) {
        let Some(id) = ticket.own_id() else {
            self.adopted
                .retain_mut(|file| file.number != ticket.source || !file.retire(ticket.id));
            return;
        };
        if !self.queue.remove(id) {
            return;
        }
        let Some(own) = &mut self.own else { return };
        if self.queue.is_empty() && own.len() > limits::OUTBOX_IDLE_BYTES {
            if let Some(own) = self.own.take() {
                own.remove();
            }
            return;
        }
        // Not synced: if this line is lost, the record is replayed once more.
        if let Err(e) = own.append(&line::retired(id), Sync::Later) {
            log::debug!("{}: {e}", own.path().display());
        }
    }

    /// Makes room: merges all deferred records into one per set of params.
    fn collapse(&mut self) {
        let records = self.queue.len();
        if !self.queue.collapse() {
            return;
        }
        log::warn!(
            "the outbox is full with {records} records: all entries of their params will be deleted instead, and their locks are left to their TTL"
        );
        if self.volatile {
            return;
        }
        let rewritten = self.folder().and_then(|folder| self.rewrite(&folder));
        if let Err(e) = rewritten {
            log::error!("{e}");
        }
    }

    fn leave_to_others(&mut self) {
        if self.closed && !self.queue.is_in_flight() {
            self.let_go();
        }
    }

    /// Gives up the own file, with the records in it.
    fn let_go(&mut self) {
        let Some(own) = self.own.take() else {
            return;
        };
        match self.queue.is_empty() {
            true => own.remove(),
            false => {
                self.left.push((own.path(), self.queue.len() as u64));
                self.queue.clear();
            }
        }
    }

    fn left_behind(&mut self) -> u64 {
        // Whoever has replayed one removes it.
        self.left.retain(|(path, _)| path.exists());
        self.left.iter().map(|(_, records)| records).sum()
    }

    fn next(&self, after: Option<Ticket>) -> Vec<(Ticket, Work)> {
        let own = self.queue.ripe().map(|(id, work)| (0, id, work));
        let adopted = self.adopted.iter().flat_map(|file| {
            let records = file.pending.iter();
            records.map(|(id, work)| (file.number, *id, work))
        });
        own.chain(adopted)
            .map(|(source, id, work)| (Ticket { source, id }, work))
            .filter(|(ticket, _)| after.is_none_or(|after| *ticket > after))
            .take(limits::REPLAY_BATCH)
            .map(|(ticket, work)| (ticket, work.clone()))
            .collect()
    }

    fn ripe(&self) -> u64 {
        let adopted = self.adopted.iter().map(|file| file.pending.len());
        (self.queue.ripe_records() + adopted.sum::<usize>()) as u64
    }
}
