//! Runs operations without Lua, by WATCH, reads and MULTI … EXEC on one connection, for servers that have no scripts.
//!
//! An attempt is two round trips. The first watches every key that the decision hangs on, reads them and opens the
//! transaction; the second has the writes and EXEC, which does nothing where a watched key was changed, or ran out, in
//! between. Then the attempt is made again, a bounded number of times. MULTI is answered before any write is sent: were it
//! denied, the writes would run one by one. A connection that breaks ends the attempt, and another one begins with WATCH.

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

/// Runs `op` in as many attempts as it takes, and as `limits` allow. `sent` tells whether a write has left.
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

/// What a full server must not refuse. Redis 6.2 and 7.0 refuse every command in a transaction then; these are sent
/// without one, which is safe: nobody can take a lock, a lease or a mark on a server that stores nothing.
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

/// One pause fewer than attempts.
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

/// Opens a transaction and gives it up.
pub(super) fn pack_probe(packed: &mut Packed) {
    packed.request(&[b"MULTI"]);
    packed.request(&[b"DISCARD"]);
}

/// Whether the server let the probe do so.
pub(super) fn check_probe(session: &mut Session<'_>, replies: &[Value]) -> Result<(), Failure> {
    for reply in replies {
        if let Value::ServerError(error) = reply {
            session.spoilt = true;
            return Err(Failure::Refused(server_error(error)));
        }
    }
    Ok(())
}
