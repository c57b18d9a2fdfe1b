//! Runs operations without Lua, by WATCH, reads and MULTI … EXEC on one connection, for servers
//! without scripts.
//!
//! An attempt takes two round trips. The first watches every key that the decision depends on,
//! reads them and opens the transaction. The second sends the writes and EXEC, which does nothing
//! if a watched key was changed or expired in between. Then the attempt is repeated, a bounded
//! number of times. MULTI is answered before any write is sent: if it were denied, the writes would
//! run one by one. A broken connection ends the attempt, and the next one begins with WATCH.

mod acquire;
mod attempt;
mod commit;
mod flights;
mod invalidate;
mod lease;
mod prepare;
mod release;
mod renew;
mod stamps;

use super::{
    call::Call,
    failure::{Failure, nonsense},
    reply::server_error,
    session::Session,
    wire::Packed,
};
use crate::{
    model::{Error, error::Kind, limits, token},
    op::{Op, Reply},
};
pub(super) use attempt::{Attempt, Stop, Style};
use backon::{BackoffBuilder as _, ExponentialBuilder};
use redis::Value;

/// Runs `op` in as many attempts as it takes, up to the bound in `limits`. `sent` tells whether a
/// write was sent.
pub(super) async fn perform(
    session: &mut Session<'_>,
    op: &Op,
    call: &Call<'_>,
    sent: &mut bool,
) -> Result<Reply, Failure> {
    let mut pauses = pauses();
    let mut style = Style::default();
    loop {
        let mut attempt = Attempt::new(session, style, sent);
        let done = match op {
            Op::Acquire(op) => acquire::run(&mut attempt, op).await.map(Reply::Acquire),
            Op::Renew(op) => renew::run(&mut attempt, op).await.map(Reply::Renew),
            Op::Release(op) => release::run(&mut attempt, op).await.map(Reply::Release),
            Op::Prepare(op) => prepare::run(&mut attempt, op, call)
                .await
                .map(Reply::Prepare),
            Op::Commit(op) => commit::run(&mut attempt, op, call).await.map(Reply::Commit),
            Op::Invalidate(op) => invalidate::run(&mut attempt, op, call)
                .await
                .map(Reply::Invalidate),
            Op::Lease(op) => lease::lease(&mut attempt, op).await.map(Reply::Lease),
            Op::Extend(op) => lease::extend(&mut attempt, op).await.map(Reply::Extend),
            Op::GiveBack(op) => lease::give_back(&mut attempt, op)
                .await
                .map(Reply::GiveBack),
            Op::Fill(op) => lease::fill(&mut attempt, op).await.map(Reply::Fill),
            Op::Read(_) | Op::ClearLocks(_) | Op::Holders(_) => {
                return Err(nonsense(op.name()));
            }
        };
        attempt.leave(&done).await?;
        match done {
            Ok(reply) => return Ok(reply),
            Err(Stop::Failed(failure)) => return Err(failure),
            Err(Stop::Full(_)) if only_frees(op) && !style.one_by_one => style.one_by_one = true,
            Err(Stop::Full(error)) => return Err(Failure::Refused(error)),
            Err(Stop::InFlight) => style.in_flight = true,
            Err(Stop::Contended) => match pauses.next() {
                Some(pause) => session.sleep(pause).await,
                None => return Err(Failure::Refused(contended(op))),
            },
        }
    }
}

/// Operations that a full server must not refuse. When full, Redis 6.2 and 7.0 refuse every command
/// in a transaction, so these are sent without one. That is safe: nobody can take a lock, a lease
/// or a mark on a server that stores nothing.
fn only_frees(op: &Op) -> bool {
    matches!(
        op,
        Op::Renew(_) | Op::Release(_) | Op::Invalidate(_) | Op::GiveBack(_)
    )
}

fn contended(op: &Op) -> Error {
    Error::new(Kind::Contended {
        operation: op.name(),
        attempts: limits::WATCH_ATTEMPTS,
    })
}

/// One pause fewer than there are attempts.
fn pauses() -> impl Iterator<Item = std::time::Duration> {
    ExponentialBuilder::new()
        .with_min_delay(limits::WATCH_PAUSE_MIN)
        .with_max_delay(limits::WATCH_PAUSE_MAX)
        .with_factor(1.5)
        .with_jitter()
        .with_jitter_seed(token::seed())
        .with_max_times(limits::WATCH_ATTEMPTS as usize - 1)
        .build()
}

/// Opens a transaction and discards it.
pub(super) fn pack_probe(packed: &mut Packed) {
    packed.request(&[b"MULTI"]);
    packed.request(&[b"DISCARD"]);
}

/// Fails if the server refused the probe.
pub(super) fn check_probe(session: &mut Session<'_>, replies: &[Value]) -> Result<(), Failure> {
    for reply in replies {
        if let Value::ServerError(error) = reply {
            session.spoilt = true;
            return Err(Failure::Refused(server_error(error)));
        }
    }
    Ok(())
}
