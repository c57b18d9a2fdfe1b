//! Taking, renewing and letting go of a document's lock.

use super::{
    files::{Found, Missing},
    recover::recover,
    run::{Io, Run, mismatch},
    steps::{let_go, millis},
    tries::Tries,
    value,
};
use crate::{
    disk::{FileAction, Got, Sidecar},
    model::{Error, Lock, LockHolder, Place, Result, error::Kind, limits},
    op::{Acquire, AcquireReply, Renew, RenewReply, keys},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::time::Duration;

/// What somebody who wants a document's lock brings along.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// For messages.
    pub(crate) document: String,
    pub(crate) place: Place,
    pub(crate) lock_key: String,
    pub(crate) fence_key: String,
    pub(crate) ttl: Duration,
    /// 128 random bits.
    pub(crate) token: String,
    /// `host:pid`.
    pub(crate) owner: String,
    pub(crate) seed: u64,
    /// Others of this process wait for the lock already.
    pub(crate) behind: bool,
    /// How long to wait for another holder; zero is one try.
    pub(crate) wait: Duration,
    pub(crate) expect: Expect,
    pub(crate) while_away: WhileAway,
    /// How long after its first try a request without an answer may be made again.
    pub(crate) patience: Duration,
}

/// What becomes of a lock while the server is away, or takes no writes ([`Error::is_unavailable`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhileAway {
    /// It fails as unavailable. The default.
    #[default]
    Fail,
    /// The OS lock of the document's sidecar takes its place, for the guard's life.
    ///
    /// It excludes other such guards, and everybody's saves of this document, on this machine, and on other hosts where the
    /// file system honours the lock. Who waits for it waits as long as for a lock; who takes the server's lock while it is held waits
    /// for some seconds and then fails as busy ([`Error::is_busy`]). It does not exclude a guard that got its lock from the server
    /// before. Of two such guards whoever saves second is refused as a conflict, since a save checks the file's stamp; while the
    /// OS lock is held, a save of the other one fails as busy too, and may be tried again. A guard whose sidecar somebody removes has lost
    /// its lock.
    ///
    /// A save deletes entries and sets none, or puts that off as long as the server is away
    /// ([`CacheOutcome::Deferred`](crate::CacheOutcome::Deferred)).
    OsLock,
}

/// What the claimant wants to find in the document's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Document,
    /// To make one.
    Nothing,
}

/// A lock that was taken, and the document as it was then.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) lock: Lock,
    pub(crate) fence: u64,
    /// By the driver's clock that counts suspended time too; the server's TTL began later, so this is on the safe side.
    pub(crate) expires: Duration,
    pub(crate) read: Option<Found>,
    /// What the sidecar said: a later stamp must be above it.
    pub(crate) last_mtime_ns: i64,
    /// The server did not give it: the OS lock that the files of this run hold is all there is.
    pub(crate) os_lock: bool,
    /// Somebody else had it at first.
    pub(crate) had_to_wait: bool,
}

/// Takes the lock, then reads the file itself: never the server's copy, never a snapshot.
pub(crate) fn take(claim: Claim) -> Run<Held> {
    Run::new(|io| async move {
        let there =
            io.writable_folder(&claim.place).await? && io.stat(&claim.place).await?.is_some();
        as_expected(&claim, there)?;
        // A wait without end is a caller's right, so this does not overflow.
        let until = io.now().boot.saturating_add(claim.wait);
        let acquired = match acquire(&io, &claim, until).await {
            Err(e) if e.is_unavailable() && claim.while_away == WhileAway::OsLock => {
                log::warn!("{}: locked by its sidecar, since {e}", claim.document);
                return take_os_lock(&io, &claim, until).await;
            }
            acquired => acquired?,
        };
        let Acquired {
            lock,
            fence,
            asked_at,
            had_to_wait,
        } = acquired;
        match look_between_updates(&io, &claim).await {
            Ok((read, sidecar)) => Ok(Held {
                lock,
                fence,
                expires: asked_at + claim.ttl,
                read,
                last_mtime_ns: sidecar.mtime_ns,
                os_lock: false,
                had_to_wait,
            }),
            Err(e) => {
                let_go(&io, &claim.document, lock).await;
                Err(e)
            }
        }
    })
}

/// Takes the sidecar's OS lock in place of the server's. The server knows of no lock with this value, so that a commit under
/// it finds the lock lost, and deletes.
async fn take_os_lock(io: &Io, claim: &Claim, until: Duration) -> Result<Held> {
    if claim.expect == Expect::Nothing {
        io.disk(&claim.place, FileAction::MakeFolder).await?;
        io.disk(&claim.place, FileAction::SyncRoot).await?;
    }
    let mut had_to_wait = false;
    loop {
        match io.disk(&claim.place, FileAction::LockSidecar).await? {
            Got::Sidecar(Sidecar {
                journal: Some(dead),
                ..
            }) => {
                io.disk(&claim.place, FileAction::UnlockSidecar).await?;
                recover(io, &claim.place, dead, until).await?;
            }
            Got::Sidecar(_) => break,
            Got::Busy if io.now().boot < until => {
                had_to_wait = true;
                io.sleep(limits::LOCK_POLL_MIN).await;
            }
            Got::Busy => {
                return Err(Error::new(Kind::LockHeld {
                    document: claim.document.clone(),
                    holder: LockHolder {
                        owner: "whoever has its sidecar's OS lock".to_owned(),
                        remaining: Duration::MAX,
                    },
                }));
            }
            _ => return Err(mismatch("the disk")),
        }
    }
    io.disk(&claim.place, FileAction::HoldSidecar).await?;
    let (read, sidecar) = look(io, claim).await?;
    Ok(Held {
        lock: Lock {
            key: claim.lock_key.clone(),
            value: value::compose(&claim.token, &claim.owner, io.now(), claim.ttl),
        },
        // Nobody saves while it is held; who got a lock before is found out by the file's stamp.
        fence: sidecar.fence,
        expires: Duration::MAX,
        read,
        last_mtime_ns: sidecar.mtime_ns,
        os_lock: true,
        had_to_wait,
    })
}

/// Gives the lock its whole TTL again; the new moment of its end.
pub(crate) fn renew(
    document: String,
    lock: Lock,
    fence_key: String,
    ttl: Duration,
) -> Run<Duration> {
    Run::new(move |io| async move {
        let asked_at = io.now().boot;
        let ttl_ms = millis(ttl);
        match io
            .server(Renew {
                lock,
                fence_key,
                ttl_ms,
            })
            .await
        {
            Ok(RenewReply::Done) => Ok(asked_at + ttl),
            Ok(RenewReply::Lost) => Err(Error::new(Kind::LockLost {
                document,
                why: "it ran out or was cleared",
            })),
            Err(fault) => Err(fault.into_error()),
        }
    })
}

/// Frees the lock, now or as soon as the server answers; what else fails is logged and left to the lock's TTL.
pub(crate) fn release(document: String, lock: Lock) -> Run<()> {
    Run::new(|io| async move {
        let_go(&io, &document, lock).await;
        Ok(())
    })
}

fn as_expected(claim: &Claim, there: bool) -> Result<()> {
    let document = claim.document.clone();
    match (claim.expect, there) {
        (Expect::Document, false) => Err(Error::new(Kind::NotFound { document })),
        (Expect::Nothing, true) => Err(Error::new(Kind::AlreadyExists { document })),
        _ => Ok(()),
    }
}

/// The same for a lock that the server gave. What an update is about to rename is waited for: it has seen this lock free.
async fn look_between_updates(io: &Io, claim: &Claim) -> Result<(Option<Found>, Sidecar)> {
    if claim.expect == Expect::Nothing || cfg!(cachetx_without_read_lock) {
        return look(io, claim).await;
    }
    let sidecar = io.lock_sidecar(&claim.place).await?;
    let found = io
        .read_file(&claim.place, Missing::Brief, sidecar.mtime_ns)
        .await;
    io.unlock_sidecars(std::slice::from_ref(&claim.place)).await;
    let found = found?;
    as_expected(claim, found.is_some())?;
    Ok((found, sidecar))
}

/// The document and its sidecar, once the lock is held.
async fn look(io: &Io, claim: &Claim) -> Result<(Option<Found>, Sidecar)> {
    let missing = match claim.expect {
        Expect::Document => Missing::Brief,
        Expect::Nothing => Missing::Final,
    };
    let sidecar = io.peek_sidecar_between_journals(&claim.place).await?;
    let found = io
        .read_file(&claim.place, missing, sidecar.mtime_ns)
        .await?;
    as_expected(claim, found.is_some())?;
    Ok((found, sidecar))
}

/// A lock that the server gave.
struct Acquired {
    lock: Lock,
    fence: u64,
    asked_at: Duration,
    had_to_wait: bool,
}

/// Asks until the lock is free or the wait is over.
///
/// In between it waits for the message that the lock was freed. Listening begins after the first refusal, or where others of this
/// process listen already, so that a free lock
/// costs one round trip; who begins to listen as the first of this process is told so at once, and asks again for what it may have missed.
async fn acquire(io: &Io, claim: &Claim, until: Duration) -> Result<Acquired> {
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(limits::LOCK_POLL_MIN)
        .with_max_delay(limits::LOCK_POLL_MAX)
        .with_factor(1.5)
        .with_jitter()
        .with_jitter_seed(claim.seed)
        .without_max_times()
        .build();
    let mut messages_come = false;
    if claim.behind && !claim.wait.is_zero() {
        // Whoever has just let the lock go would be faster than those who wait for it. Not for long: a message may be denied.
        let pause = limits::LOCK_POLL_MAX.min(claim.wait);
        messages_come = io.listen(keys::channel(&claim.lock_key), pause).await;
    }
    let mut tries = Tries::new(claim.patience);
    // What was asked for without an answer.
    let mut unanswered: Vec<Lock> = Vec::new();
    let mut had_to_wait = false;
    loop {
        // At each try: others save while this one waits, and a server that forgot its fences would give one below theirs.
        let mut sidecar = io.peek_sidecar(&claim.place).await?;
        if sidecar.journal.is_some() {
            io.finish_what_died(&claim.place).await;
            sidecar = io.peek_sidecar(&claim.place).await?;
        }
        tries.begin(io);
        let asked_at = io.now().boot;
        let value = match unanswered.first() {
            Some(first) if cfg!(cachetx_without_fresh_tokens) => first.value.clone(),
            _ => value::compose(&tries.name(&claim.token), &claim.owner, io.now(), claim.ttl),
        };
        let lock = Lock {
            key: claim.lock_key.clone(),
            value,
        };
        let asked = Acquire {
            lock: lock.clone(),
            fence_key: claim.fence_key.clone(),
            ttl_ms: millis(claim.ttl),
            floor: sidecar.fence,
        };
        match io.server(asked).await {
            Ok(AcquireReply::Acquired { fence }) => {
                return Ok(Acquired {
                    lock,
                    fence,
                    asked_at,
                    had_to_wait,
                });
            }
            Ok(AcquireReply::Held { value, left_ms }) => {
                tries.answered();
                // It arrived after its release.
                if let Some(n) = unanswered.iter().position(|lock| lock.value == value) {
                    let_go(io, &claim.document, unanswered.remove(n)).await;
                    continue;
                }
                had_to_wait = true;
                let pause = match messages_come {
                    true => limits::LOCK_LISTEN_POLL,
                    false => pauses.next().unwrap_or(limits::LOCK_POLL_MAX),
                };
                // A dead holder's lock ends without a message.
                let end = Duration::from_millis(left_ms.saturating_add(1));
                let left = until.saturating_sub(io.now().boot);
                if left.is_zero() {
                    return Err(Error::new(Kind::LockHeld {
                        document: claim.document.clone(),
                        holder: value::holder(&value, left_ms),
                    }));
                }
                let channel = keys::channel(&claim.lock_key);
                messages_come = io.listen(channel, pause.min(end).min(left)).await;
            }
            Err(fault) if fault.is_unknown() => {
                // It may be ours now: nobody else could use it until its TTL.
                let_go(io, &claim.document, lock.clone()).await;
                unanswered.push(lock);
                if !tries.again(io).await {
                    return Err(fault.into_error());
                }
            }
            Err(fault) => return Err(tries.end(fault).into_error()),
        }
    }
}
