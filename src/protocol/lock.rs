//! Acquires, renews and releases a document's lock.

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
    op::{Acquire, AcquireReply, Fault, Renew, RenewReply, keys},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::time::Duration;

/// What a caller that wants a document's lock provides.
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
    /// Whether other callers in this process wait for the lock already.
    pub(crate) behind: bool,
    /// How long to wait for another holder. Zero means one try.
    pub(crate) wait: Duration,
    pub(crate) expect: Expect,
    pub(crate) while_away: WhileAway,
    /// How long after its first try an unanswered request may be retried.
    pub(crate) patience: Duration,
}

/// What acquiring a lock does if the server is unreachable or takes no writes
/// ([`Error::is_unavailable`]).
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// use cachetx::WhileAway;
///
/// let patient = Store::builder(&cache)
///     .root(folder.path())
///     .run_param("shop_id")
///     .layout_of("product", "{shop_id}/product-{sku}.json")
///     .while_away(WhileAway::OsLock)
///     .open()?;
/// # drop(patient);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WhileAway {
    /// It fails as unavailable. The default.
    #[default]
    Fail,
    /// The guard holds the OS lock of the document's sidecar instead, for its whole life.
    ///
    /// The OS lock excludes other such guards, and all saves of this document, on this machine and
    /// on every host where the file system honours the lock. A caller that waits for the OS lock
    /// waits as long as for a lock. A caller that gets the server's lock while the OS lock is held
    /// waits some seconds and then fails as busy ([`Error::is_busy`]).
    ///
    /// The OS lock does not exclude a guard that got its lock from the server before. Of these two
    /// guards, the one that saves second is refused as a conflict, since a save checks the file's
    /// stamp. While the OS lock is held, a save by the other guard also fails as busy, and may be
    /// retried. A guard has lost its lock if its sidecar is removed.
    ///
    /// A save deletes entries and sets none, or defers this while the server is unreachable
    /// ([`CacheOutcome::Deferred`](crate::CacheOutcome::Deferred)).
    OsLock,
}

/// Whether the document must exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    Document,
    /// It must not exist: the caller creates it.
    Nothing,
}

/// A lock that was acquired, and the document as it was then.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) lock: Lock,
    pub(crate) fence: u64,
    /// By the driver's clock, which counts suspended time too. The server's TTL began later, so
    /// this is on the safe side.
    pub(crate) expires: Duration,
    pub(crate) read: Option<Found>,
    /// The modification time in the sidecar: a later stamp must be above it.
    pub(crate) last_mtime_ns: i64,
    /// The server did not grant the lock: this run's files hold the OS lock instead.
    pub(crate) os_lock: bool,
    /// Somebody else had it at first.
    pub(crate) had_to_wait: bool,
}

/// Acquires the lock, then reads the file itself, never the server's copy or a snapshot.
pub(crate) fn take(claim: Claim) -> Run<Held> {
    Run::new(|io| async move {
        let there =
            io.writable_folder(&claim.place).await? && io.stat(&claim.place).await?.is_some();
        as_expected(&claim, there)?;
        // An endless wait is allowed, so the sum must not overflow.
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

/// Takes the sidecar's OS lock instead of the server's lock. The server has no lock with this
/// value, so a commit with it finds the lock lost, and deletes.
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
                io.wait(limits::LOCK_POLL_MIN).await;
            }
            Got::Busy => {
                return Err(Error::new(Kind::LockHeld {
                    document: claim.document.clone(),
                    holder: LockHolder {
                        owner: "whoever has its sidecar's OS lock".to_owned(),
                        remaining: Duration::MAX,
                        is_this_process: false,
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
        // Nobody saves while the OS lock is held. A guard that got a lock before is detected by the
        // file's stamp.
        fence: sidecar.fence,
        expires: Duration::MAX,
        read,
        last_mtime_ns: sidecar.mtime_ns,
        os_lock: true,
        had_to_wait,
    })
}

/// Renews the lock for its whole TTL; returns its new end.
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

/// Releases the lock. If the server is unavailable, the outbox releases it later. On any other
/// failure, logs it and leaves the lock to its TTL.
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

/// `look` for a lock that the server granted. Waits for an update that is about to rename, because
/// that update saw this lock free.
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

/// Reads the document and its sidecar after the lock was acquired.
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
    /// The time of the request.
    asked_at: Duration,
    had_to_wait: bool,
}

/// Tries until the lock is acquired or the wait is over.
///
/// Between tries it waits for the message that the lock was released. It starts to listen after the
/// first refusal, or at once if other callers in this process already wait, so a free lock costs
/// one round trip. The first listener of a process wakes up at once and tries again, in case it
/// missed a message.
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
        // Otherwise the caller that just released the lock would overtake those that wait for it.
        // The pause is short: a message may be denied.
        let pause = limits::LOCK_POLL_MAX.min(claim.wait);
        messages_come = io.listen(keys::channel(&claim.lock_key), pause).await;
    }
    let waits = |io: &Io| {
        let may_wait = claim.while_away == WhileAway::Fail && !cfg!(cachetx_without_patience);
        may_wait && io.now().boot < until
    };
    let mut tries = Tries::new(claim.patience);
    // Requests that got no answer.
    let mut unanswered: Vec<Lock> = Vec::new();
    let mut had_to_wait = false;
    loop {
        // Read at each try: others save while this caller waits, and a server that lost its fences
        // would give a lower one.
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
                // An unanswered request was executed late, after its release.
                if let Some(n) = unanswered.iter().position(|lock| lock.value == value) {
                    let_go(io, &claim.document, unanswered.remove(n)).await;
                    continue;
                }
                had_to_wait = true;
                let pause = match messages_come {
                    true => limits::LOCK_LISTEN_POLL,
                    false => pauses.next().unwrap_or(limits::LOCK_POLL_MAX),
                };
                // The lock of a dead holder ends without a message.
                let end = Duration::from_millis(left_ms.saturating_add(1));
                let left = until.saturating_sub(io.now().boot);
                if left.is_zero() {
                    return Err(Error::new(Kind::LockHeld {
                        document: claim.document.clone(),
                        holder: value::holder(&value, left_ms).seen_by(&claim.owner),
                    }));
                }
                let channel = keys::channel(&claim.lock_key);
                messages_come = io.listen(channel, pause.min(end).min(left)).await;
            }
            Err(fault) if fault.is_unknown() => {
                // The lock may be ours now; without a release, nobody else could use it until its
                // TTL.
                let_go(io, &claim.document, lock.clone()).await;
                unanswered.push(lock);
                if !tries.again(io).await {
                    return Err(fault.into_error());
                }
            }
            Err(Fault::NotDone(e)) if e.is_left_alone() && waits(io) => {
                // Nothing was sent. The server may be back when it may be asked again, and the
                // caller has time until then.
                tries.answered();
                let left = until.saturating_sub(io.now().boot);
                let pause = limits::LOCK_POLL_MAX;
                let channel = keys::channel(&claim.lock_key);
                messages_come = io.listen(channel, pause.min(left)).await;
            }
            Err(fault) => return Err(tries.end(fault).into_error()),
        }
    }
}
