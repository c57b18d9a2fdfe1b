//! Saves a document: a durable file, then one atomic step on the server.

use super::{
    defer::defer,
    expires::Expires,
    files::{Missing, unsteady},
    intent::{Guarantee, Intent, Scope},
    outcome::{CacheOutcome, Durability, Outcome, Reach},
    run::{Io, Run},
    spread::Spread,
    steps::invalidate,
    tries::Tries,
    value,
};
use crate::{
    disk::{FileAction, Got, Identity, Invalidation, Known, Sidecar},
    model::{Bytes, Effect, Entry, Error, Lock, Place, Result, Stamp, error::Kind, limits},
    op::{Commit, CommitReply, Holders, HoldersReply, Own, Raise, Wait},
    rules::Params,
};
use std::time::Duration;

/// Everything that a save needs, computed before the first byte is written.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// For messages.
    pub(crate) document: String,
    pub(crate) place: Place,
    /// 128 random bits that name this save, so that a retry is recognised.
    pub(crate) id: String,
    pub(crate) bytes: Bytes,
    pub(crate) own: Entry,
    pub(crate) ttl_ms: u64,
    pub(crate) dependents: Spread,
    /// What the keys were made from, for the outbox.
    pub(crate) params: Params,
    pub(crate) writer: Writer,
    /// Whether the commit releases the lock.
    pub(crate) release: bool,
    /// Replicas to wait for after the commit.
    pub(crate) wait: Option<Wait>,
    pub(crate) guarantee: Guarantee,
    /// How long a crash-safe save's marks last.
    pub(crate) mark_ttl: Duration,
    /// How long after its first try the commit may be retried.
    pub(crate) patience: Duration,
}

/// What a writer must have to be admitted to the file.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    pub(crate) right: Right,
    /// The version that it read; `None` if it creates the document.
    pub(crate) read: Option<Known>,
    /// The highest modification time it knows of.
    pub(crate) last_mtime_ns: i64,
}

/// What keeps others from saving meanwhile.
#[derive(Clone, Debug)]
pub(crate) enum Right {
    /// The document's lock.
    Lock {
        lock: Lock,
        fence: u64,
        /// Renewals move it on while the save is running.
        expires: Expires,
    },
    /// Nothing until the sidecar's OS lock is held. Then, if documents have locks, nobody may hold
    /// the lock with this key: a later holder reads under that OS lock, and so reads what this
    /// writer saves.
    Update { lock_key: Option<String> },
}

impl Writer {
    pub(crate) fn lock(&self) -> Option<&Lock> {
        match &self.right {
            Right::Lock { lock, .. } => Some(lock),
            Right::Update { .. } => None,
        }
    }

    /// Zero without a lock.
    pub(crate) fn fence(&self) -> u64 {
        match self.right {
            Right::Lock { fence, .. } => fence,
            Right::Update { .. } => 0,
        }
    }

    /// The stamp of the file that a save without a lock replaces.
    fn over(&self) -> Option<Stamp> {
        match self.right {
            Right::Lock { .. } => None,
            Right::Update { .. } => self.read.as_ref().map(|read| read.version.stamp),
        }
    }
}

/// The result of a save that succeeded.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    pub(crate) outcome: Outcome,
    /// The document's stamp now.
    pub(crate) stamp: Stamp,
    /// Whether the lock is known to be lost: another holder has it, or nobody, without this save
    /// having released it.
    pub(crate) lock_lost: bool,
}

/// An error means that nothing was changed; after the rename there is no error.
pub(crate) fn save(plan: Plan) -> Run<Saved> {
    Run::new(|io| async move {
        let mut folder = Durability::Synced;
        if plan.writer.read.is_none() {
            io.disk(&plan.place, FileAction::MakeFolder).await?;
            folder = io.sync_names(&plan.place, FileAction::SyncRoot).await?;
        }
        let mut intent = None;
        let stamp = match publish(&io, &plan, &mut intent).await {
            Ok(stamp) => stamp,
            Err(e) => {
                discard(&io, &plan).await;
                if let Some(intent) = intent {
                    intent.withdraw(&io).await;
                }
                return Err(e);
            }
        };
        // The rename is the commit point: from here on nothing fails the save.
        let durability = settle(&io, &plan.document, &plan.place).await.and(folder);
        let Step {
            cache,
            lock_lost,
            replicas,
        } = commit(&io, &plan, stamp, intent.as_ref()).await;
        let split = plan.dependents.is_split();
        let cache = plan
            .dependents
            .finish(&io, &plan.document, &plan.params, intent.as_ref(), cache)
            .await;
        if let Some(intent) = intent {
            intent.settle(&io, &cache).await;
        }
        Ok(Saved {
            outcome: Outcome {
                reach: Reach::of(split, &cache),
                cache,
                durability,
                replicas,
            },
            stamp,
            lock_lost,
        })
    })
}

async fn publish(io: &Io, plan: &Plan, intent: &mut Option<Intent>) -> Result<Stamp> {
    let place = &plan.place;
    if let Right::Update { .. } = plan.writer.right {
        // If many updates run on one document, most of them end here, before they write anything or
        // wait for the OS lock.
        let now = io.stat(place).await?;
        let read = plan.writer.read.as_ref().map(|read| read.version);
        let is_other = |now: &Identity| read.and_then(|read| read.is(now)) == Some(false);
        // If all names for a temporary file are taken, other writers are faster.
        if now.as_ref().is_none_or(is_other) || !io.try_to_write_temp(place, &plan.bytes).await? {
            return Err(conflict(&plan.document));
        }
    } else {
        io.write_temp(place, &plan.bytes).await?;
    }
    let mut stamp = io.stamp_temp(place, plan.writer.last_mtime_ns).await?;
    io.disk(place, FileAction::SyncTemp).await?;

    // All that can fail because of the file is done, so marks last as short as possible. Of several
    // writers without a lock, one at a time sets marks before its rename.
    let early = match plan.writer.right {
        Right::Lock { .. } => None,
        Right::Update { .. } => Some(admit(io, &plan.document, place, &plan.writer).await?),
    };
    if plan.guarantee == Guarantee::CrashSafe {
        *intent = Some(Intent::declare(io, scope(plan, stamp)).await?);
    }
    let (sidecar, over) = match early {
        Some(admitted) => admitted,
        None => admit(io, &plan.document, place, &plan.writer).await?,
    };
    if sidecar.mtime_ns >= stamp.mtime_ns {
        // A document was created and deleted here since this writer looked.
        stamp = io.stamp_temp(place, sidecar.mtime_ns).await?;
        io.disk(place, FileAction::SyncTemp).await?;
    }
    let next = Sidecar {
        fence: plan.writer.fence().max(sidecar.fence),
        mtime_ns: stamp.mtime_ns,
        journal: None,
    };
    if let Some(intent) = intent {
        intent.refresh(io).await;
    }
    io.disk(place, FileAction::WriteSidecar(next)).await?;
    let rename = |over| FileAction::Rename { over };
    change(io, &plan.document, place, &plan.writer, over, rename).await?;
    Ok(stamp)
}

fn scope(plan: &Plan, stamp: Stamp) -> Scope {
    Scope {
        what: plan.document.clone(),
        steps: plan.dependents.steps_with(&plan.own),
        raises: vec![Raise {
            value: plan.own.value.clone(),
            stamp,
            ttl_ms: plan.ttl_ms,
        }],
        lock: plan.writer.lock().cloned(),
        release: plan.release,
        params: plan.params.clone(),
        token: plan.id.clone(),
        mark_ttl: plan.mark_ttl,
    }
}

/// Takes the sidecar's OS lock and checks that this writer may still write. Returns the sidecar's
/// content and the document's identity.
pub(super) async fn admit(
    io: &Io,
    document: &str,
    place: &Place,
    writer: &Writer,
) -> Result<(Sidecar, Option<Identity>)> {
    let lock_key = match &writer.right {
        Right::Update { lock_key } => lock_key.as_deref(),
        Right::Lock { .. } => None,
    };
    let is_early = cfg!(cachetx_early_look);
    if let Some(key) = lock_key.filter(|_| is_early) {
        nobody_holds(io, document, key).await?;
    }
    let sidecar = io.lock_sidecar(place).await?;
    let over = may_write(io, document, place, writer, &sidecar).await?;
    if let Some(key) = lock_key.filter(|_| !is_early) {
        nobody_holds(io, document, key).await?;
    }
    Ok((sidecar, over))
}

/// Asked only with the OS lock held. Otherwise another holder could acquire the lock and read the
/// file after the answer and before the rename.
async fn nobody_holds(io: &Io, document: &str, lock_key: &str) -> Result<()> {
    let locks = vec![lock_key.to_owned()];
    let within = (!cfg!(cachetx_patient_look)).then_some(limits::LOOK_WAIT);
    let HoldersReply::Found(found) = io
        .server(Holders { locks, within })
        .await
        // The question changes nothing, whether or not it arrived.
        .map_err(|fault| fault.into_error().effect_is(Effect::None))?;
    match found.into_iter().flatten().next() {
        None => Ok(()),
        Some((value, left_ms)) => Err(Error::new(Kind::LockHeld {
            document: document.to_owned(),
            holder: value::holder(&value, left_ms),
        })),
    }
}

/// Call it with the sidecar's OS lock held. Checks in the order that matters to the caller: a later
/// holder has saved, then the file is a different one, then the lock's time is over. Returns the
/// document's identity.
pub(super) async fn may_write(
    io: &Io,
    document: &str,
    place: &Place,
    writer: &Writer,
    sidecar: &Sidecar,
) -> Result<Option<Identity>> {
    let name = document;
    let document = || document.to_owned();
    io.writable_folder(place).await?;
    let Right::Lock { fence, expires, .. } = &writer.right else {
        return still_read(io, name, place, writer).await;
    };
    if sidecar.fence > *fence {
        return Err(Error::new(Kind::Fenced {
            document: document(),
            own: *fence,
            stored: sidecar.fence,
        }));
    }
    let over = still_read(io, name, place, writer).await?;
    if io.now().boot >= expires.get() {
        return Err(Error::new(Kind::LockLost {
            document: document(),
            why: "its time to live is over",
        }));
    }
    Ok(over)
}

/// The document's identity now, if it is still the version that this writer read. If the file was
/// only touched (renamed, linked, given another mode or owner), or its change time's tick was not
/// over, the content decides.
async fn still_read(
    io: &Io,
    document: &str,
    place: &Place,
    writer: &Writer,
) -> Result<Option<Identity>> {
    let mut now = io.stat(place).await?;
    let is_read = match (&now, &writer.read) {
        (None, None) => true,
        (Some(identity), Some(read)) => match read.version.is(identity) {
            Some(is) => is,
            None => {
                let found = io.read_file(place, Missing::Final, 0).await?;
                now = found.as_ref().map(|found| found.identity);
                found.is_some_and(|it| it.stamp() == read.version.stamp && it.bytes == read.bytes)
            }
        },
        _ => false,
    };
    if is_read || cfg!(cachetx_without_stamp_check) {
        return Ok(now);
    }
    Err(conflict(document))
}

fn conflict(document: &str) -> Error {
    Error::new(Kind::Conflict {
        document: document.to_owned(),
    })
}

/// Renames or deletes, if the document is still `over`, which was checked. If it was touched since,
/// it is checked again.
pub(super) async fn change(
    io: &Io,
    document: &str,
    place: &Place,
    writer: &Writer,
    mut over: Option<Identity>,
    action: impl Fn(Option<Identity>) -> FileAction,
) -> Result<()> {
    for _ in 0..limits::READ_ATTEMPTS {
        if io.disk(place, action(over)).await? != Got::Torn {
            return Ok(());
        }
        over = still_read(io, document, place, writer).await?;
    }
    Err(unsteady(place))
}

async fn discard(io: &Io, plan: &Plan) {
    for action in [FileAction::DiscardTemp, FileAction::UnlockSidecar] {
        if let Err(e) = io.disk(&plan.place, action).await {
            log::warn!("{}: {e}; the next save removes it", plan.document);
        }
    }
}

/// After the file was published: sweeps, unlocks the sidecar, and makes the folder's change
/// durable.
pub(super) async fn settle(io: &Io, document: &str, place: &Place) -> Durability {
    for action in [FileAction::Sweep, FileAction::UnlockSidecar] {
        if let Err(e) = io.disk(place, action).await {
            log::warn!("{document}: {e}");
        }
    }
    match io.sync_names(place, FileAction::SyncFolder).await {
        Ok(durability) => durability,
        Err(e) => {
            log::error!(
                "{document}: saved and visible, but whether it would survive a power loss is unknown: {e}"
            );
            Durability::Unknown
        }
    }
}

/// The result of the atomic step.
pub(super) struct Step {
    pub(super) cache: CacheOutcome,
    /// Whether a lock is known to be lost.
    pub(super) lock_lost: bool,
    pub(super) replicas: Option<u64>,
}

impl Step {
    pub(super) fn of(cache: CacheOutcome) -> Self {
        Self {
            cache,
            lock_lost: false,
            replicas: None,
        }
    }
}

async fn commit(io: &Io, plan: &Plan, stamp: Stamp, intent: Option<&Intent>) -> Step {
    let asked = || Commit {
        id: plan.id.clone(),
        locks: plan.writer.lock().cloned().into_iter().collect(),
        own: vec![Own {
            entry: plan.own.clone(),
            bytes: plan.bytes.clone(),
            stamp,
            ttl_ms: plan.ttl_ms,
            over: plan.writer.over(),
        }],
        dependents: plan.dependents.here.clone(),
        release: plan.release,
        token: intent.map_or_else(String::new, |intent| intent.token().to_owned()),
        wait: plan.wait,
    };
    let mut cause = match ask_to_commit(io, asked, plan.patience).await {
        Ok(step) => return step,
        Err(cause) => cause,
    };
    let entries = std::iter::once(&plan.own).chain(&plan.dependents.here);
    let what = Invalidation {
        entries: entries.cloned().collect(),
        raises: vec![Raise {
            value: plan.own.value.clone(),
            stamp,
            ttl_ms: plan.ttl_ms,
        }],
        release: plan.writer.lock().filter(|_| plan.release).cloned(),
        params: plan.params.clone(),
        at_ns: io.now().wall_ns,
    };
    // A server that answers but refuses the commit may be full. Deleting is always safe, and
    // allowed even then.
    if cause.takes_deletions() {
        let token = intent.map_or("", Intent::token);
        match invalidate(io, &plan.document, &what, token).await {
            Ok(removed) => {
                log::warn!(
                    "{}: the commit was refused, so its entries were deleted instead: {cause}",
                    plan.document
                );
                return Step::of(CacheOutcome::Invalidated { removed });
            }
            Err(e) => cause = cause.with_effect_of(&e),
        }
    }
    Step::of(defer(io, what, cause, intent).await)
}

/// Performs the atomic step. Retries, within `patience`, while it is unknown whether it was done.
///
/// # Errors
///
/// The server did not take it, or did not confirm it in that time.
pub(super) async fn ask_to_commit(
    io: &Io,
    asked: impl Fn() -> Commit,
    patience: Duration,
) -> Result<Step> {
    let mut tries = Tries::new(patience);
    loop {
        tries.begin(io);
        let step = match io.server(asked()).await {
            Ok(CommitReply::Committed { removed }) => Step::of(CacheOutcome::Committed { removed }),
            Ok(CommitReply::Replicated { removed, replicas }) => Step {
                replicas: Some(replicas),
                ..Step::of(CacheOutcome::Committed { removed })
            },
            Ok(CommitReply::Replayed) => Step::of(CacheOutcome::Committed { removed: 0 }),
            Ok(CommitReply::Lost { removed }) => Step {
                lock_lost: true,
                ..Step::of(CacheOutcome::Invalidated { removed })
            },
            // A later request of this guard's arrived first; or an update did not find the entry
            // that it replaces.
            Ok(CommitReply::Superseded { removed }) => {
                Step::of(CacheOutcome::Invalidated { removed })
            }
            // The id makes a retry safe. A server that answered with an error would do so again.
            Err(fault)
                if fault.is_unknown() && !fault.error().is_server() && tries.again(io).await =>
            {
                continue;
            }
            Err(fault) => return Err(tries.end(fault).into_error()),
        };
        return Ok(step);
    }
}
