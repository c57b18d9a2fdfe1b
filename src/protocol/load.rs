//! Filling an entry after a miss: [`begin`], then the caller loads, then [`finish`] or
//! [`give_back`].
//!
//! The lease keeps a late loader from filling: commits and invalidations drop it, and a fill
//! without it is refused. So this module only has to keep the order "lease, load, fill". Nothing
//! here fails if the server is unreachable: the value is loaded and not filled.

use super::{
    run::{Io, Run},
    steps::millis,
    tries::Tries,
};
use crate::{
    model::{Bytes, Entry, Error, Stamp, limits},
    op::{
        Extend, ExtendReply, Fault, Fill, FillReply, GiveBack, Lease, LeaseReply, Read, ReadReply,
        voucher,
    },
};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::time::Duration;

/// What a reader provides.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) entry: Entry,
    /// 128 random bits in hex.
    pub(crate) token: String,
    pub(crate) seed: u64,
    /// How long the lease lasts.
    pub(crate) ttl: Duration,
    /// How long to wait for another reader's lease or a mark. Zero means no wait.
    pub(crate) wait: Duration,
    /// An entry whose remaining life is at most this is loaded while it still exists. Zero means
    /// never.
    pub(crate) early: Duration,
    /// How long after its first try an unanswered request may be retried.
    pub(crate) patience: Duration,
}

/// What a reader must do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// Nothing: this is the value.
    Found(Bytes),
    /// Load and fill: the reader has the lease with this token.
    Leased(String),
    /// The same, while the entry still exists for others and as a fallback if the load fails.
    Early(String),
    /// Load, but do not fill.
    Unleased,
}

/// What happened to a loaded value on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    Set,
    /// A commit or an invalidation came in between, or the lease ran out and another reader took
    /// it.
    Refused,
    /// The server did not take it, or did not confirm it.
    Unknown,
}

/// The entry's present value, if its stamp vouches for it.
pub(crate) fn get(entry: Entry) -> Run<Option<Bytes>> {
    Run::new(|io| async move {
        let found = look(&io, entry, false).await.map_err(Fault::into_error)?;
        Ok(found.map(|found| found.value))
    })
}

/// Looks for the entry. If it is missing, takes the lease, and waits if another reader has it. If
/// the entry's life is nearly over, asks for the lease once and does not wait.
pub(crate) fn begin(claim: Claim) -> Run<Begun> {
    Run::new(|io| async move {
        let life = !claim.early.is_zero();
        Ok(match look(&io, claim.entry.clone(), life).await {
            Ok(Some(found)) if found.lives_within(claim.early) => early(&io, claim, found).await,
            Ok(Some(found)) => Begun::Found(found.value),
            Ok(None) => lease(&io, claim).await,
            Err(fault) => unleased(&claim.entry, &fault),
        })
    })
}

/// Takes only the lease, for an entry that the caller knows is missing.
pub(crate) fn take(claim: Claim) -> Run<Begun> {
    Run::new(|io| async move { Ok(lease(&io, claim).await) })
}

/// An entry whose stamp vouches for it.
struct Found {
    voucher: Vec<u8>,
    value: Bytes,
    /// Remaining life, if it was requested and the entry expires.
    left: Option<Duration>,
}

impl Found {
    fn lives_within(&self, early: Duration) -> bool {
        self.left.is_some_and(|left| left <= early)
    }
}

async fn look(io: &Io, entry: Entry, life: bool) -> Result<Option<Found>, Fault> {
    Ok(match io.server(Read { entry, life }).await? {
        ReadReply::Found {
            voucher: Some(voucher),
            value: Some(value),
            left_ms,
        } if voucher::fits(&voucher, &value) => Some(Found {
            voucher,
            value: value.into(),
            left: left_ms.map(Duration::from_millis),
        }),
        ReadReply::Found { .. } => None,
    })
}

/// Asks once for the lease of an entry that still exists. The reader that gets it treats the entry
/// as missing. If the lease is refused for any reason, returns the value that was found.
async fn early(io: &Io, claim: Claim, found: Found) -> Begun {
    let refused = Some(found.voucher);
    match io.server(asked(&claim, claim.token.clone(), refused)).await {
        Ok(LeaseReply::Leased) => Begun::Early(claim.token),
        // Another reader was faster.
        Ok(LeaseReply::Present { voucher, value }) if voucher::fits(&voucher, &value) => {
            Begun::Found(value.into())
        }
        Ok(LeaseReply::Present { .. } | LeaseReply::Busy { .. } | LeaseReply::Newer) => {
            Begun::Found(found.value)
        }
        Err(Fault::Unknown(e)) => {
            renounce(io, claim.entry, claim.token, &e).await;
            Begun::Found(found.value)
        }
        Err(Fault::NotDone(e)) => {
            log::debug!("{}: not loaded early: {e}", claim.entry.value);
            Begun::Found(found.value)
        }
    }
}

fn asked(claim: &Claim, token: String, refused: Option<Vec<u8>>) -> Lease {
    Lease {
        entry: claim.entry.clone(),
        token,
        ttl_ms: millis(claim.ttl),
        wanted: None,
        refused,
    }
}

async fn lease(io: &Io, claim: Claim) -> Begun {
    let until = io.now().boot.saturating_add(claim.wait);
    let mut pauses = ExponentialBuilder::new()
        .with_min_delay(limits::LOAD_POLL_MIN)
        .with_max_delay(limits::LOAD_POLL_MAX)
        .with_factor(1.5)
        .with_jitter()
        .with_jitter_seed(claim.seed)
        .without_max_times()
        .build();
    let (mut refused, mut unfit) = (None, 0);
    let mut tries = Tries::new(claim.patience);
    loop {
        tries.begin(io);
        let token = tries.name(&claim.token);
        let asked = asked(&claim, token.clone(), refused.clone());
        match io.server(asked).await {
            Ok(LeaseReply::Leased) => return Begun::Leased(token),
            Ok(LeaseReply::Present { voucher, value }) if voucher::fits(&voucher, &value) => {
                return Begun::Found(value.into());
            }
            // A foreign program set only the value: it must be loaded.
            Ok(LeaseReply::Present { voucher, .. }) if unfit < limits::UNFIT_ATTEMPTS => {
                unfit += 1;
                refused = Some(voucher);
            }
            Ok(LeaseReply::Busy { left_ms }) => {
                tries.answered();
                let left = until.saturating_sub(io.now().boot);
                if left.is_zero() {
                    return Begun::Unleased;
                }
                let pause = pauses.next().unwrap_or(limits::LOAD_POLL_MAX);
                let theirs = Duration::from_millis(left_ms.max(1));
                io.wait(pause.min(left).min(theirs)).await;
            }
            Ok(LeaseReply::Present { .. } | LeaseReply::Newer) => return Begun::Unleased,
            Err(Fault::Unknown(e)) => {
                renounce(io, claim.entry.clone(), token, &e).await;
                // A server that answered with an error would do so again.
                if e.is_server() || !tries.again(io).await {
                    return Begun::Unleased;
                }
            }
            Err(fault) => return unleased(&claim.entry, &fault),
        }
    }
}

/// Gives back a lease whose request got no reply. The request may still arrive after the commit
/// that should have dropped the lease; a fill with it would then set a value that was loaded before
/// the commit. So such a lease is never used, and the next try has another token. It is given back
/// so that others need not wait for its end.
pub(super) async fn renounce(io: &Io, entry: Entry, token: String, error: &Error) {
    log::debug!("{}: whether it is leased is unknown: {error}", entry.value);
    let_go(io, entry, token).await;
}

fn unleased(entry: &Entry, fault: &Fault) -> Begun {
    let (Fault::NotDone(e) | Fault::Unknown(e)) = fault;
    log::debug!("{}: loaded without filling: {e}", entry.value);
    Begun::Unleased
}

/// Renews the lease for its whole life; whether the reader still has it. An unreachable server does
/// not count as losing it.
pub(crate) fn extend(entry: Entry, token: String, ttl: Duration) -> Run<bool> {
    Run::new(move |io| async move {
        let ttl_ms = millis(ttl);
        let asked = Extend {
            entry,
            token,
            ttl_ms,
        };
        Ok(!matches!(io.server(asked).await, Ok(ExtendReply::Lost)))
    })
}

/// Sets the loaded value, if the reader still has the lease.
pub(crate) fn finish(entry: Entry, token: String, bytes: Bytes, ttl: Duration) -> Run<Filled> {
    Run::new(move |io| async move { Ok(fill(&io, entry, token, bytes, None, ttl).await) })
}

pub(super) async fn fill(
    io: &Io,
    entry: Entry,
    token: String,
    bytes: Bytes,
    stamp: Option<Stamp>,
    ttl: Duration,
) -> Filled {
    let value = entry.value.clone();
    let asked = Fill {
        entry: entry.clone(),
        token: token.clone(),
        bytes,
        stamp,
        ttl_ms: millis(ttl),
    };
    match io.server(asked).await {
        Ok(FillReply::Filled) => Filled::Set,
        Ok(FillReply::Refused) => {
            log::debug!("{value}: changed while it was loaded, so it is not filled");
            Filled::Refused
        }
        Err(fault) => {
            let may_be_filled = fault.is_unknown();
            let cause = fault.into_error();
            log::debug!("{value}: not filled: {cause}");
            if !may_be_filled && cause.takes_deletions() {
                let_go(io, entry, token).await;
            }
            Filled::Unknown
        }
    }
}

/// Lets the next reader load. A failure is logged, and the lease is left to run out.
pub(crate) fn give_back(entry: Entry, token: String) -> Run<()> {
    Run::new(|io| async move {
        let_go(&io, entry, token).await;
        Ok(())
    })
}

pub(super) async fn let_go(io: &Io, entry: Entry, token: String) {
    let value = entry.value.clone();
    if let Err(fault) = io.server(GiveBack { entry, token }).await {
        let e = fault.into_error();
        log::debug!("{value}: the lease is left to its life: {e}");
    }
}
