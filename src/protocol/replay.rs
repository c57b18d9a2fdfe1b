//! Bringing what is in the outbox to the server.

use super::run::{Io, Run, mismatch};
use crate::{
    Error, Params, Result,
    disk::{OutboxAction, OutboxGot, Ticket, Work},
    limits,
    op::{Entry, Invalidate},
};
use std::sync::Arc;

/// What a replay came to.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Replayed {
    /// Records that the server acknowledged; they are gone from the outbox.
    pub records: u64,
    /// Records that are still there: the server is away or refused them, or these rules have no template for their params.
    /// Records of other processes that live are not counted.
    pub left: u64,
    /// Why the first of those was left, or why the replay ended early.
    pub cause: Option<Error>,
}

/// Every entry that these params can name, in parts; none where the rules have no template for them.
pub(crate) type Expand = Arc<dyn Fn(&Params) -> Vec<Vec<Entry>> + Send + Sync>;

/// Deletes and releases, nothing else: so it may be done twice, and after newer commits. A record is retired only once the
/// server has acknowledged all of it.
pub(crate) fn replay(expand: Expand) -> Run<Replayed> {
    Run::new(|io| async move {
        let done = all(&io, &expand).await;
        match io.outbox(OutboxAction::GiveBack).await? {
            OutboxGot::Left(left) => Ok(Replayed { left, ..done? }),
            _ => Err(mismatch("the outbox")),
        }
    })
}

async fn all(io: &Io, expand: &Expand) -> Result<Replayed> {
    let mut done = Replayed::default();
    let mut after = None;
    for _ in 0..limits::REPLAY_ROUNDS {
        let records = next(io, after).await?;
        if records.is_empty() && !take_over(io).await? {
            break;
        }
        for (ticket, work) in records {
            after = Some(ticket);
            match bring(io, work, expand).await {
                Ok(()) => {
                    io.outbox(OutboxAction::Retire(ticket)).await?;
                    done.records += 1;
                }
                Err(cause) => {
                    let away = cause.is_unavailable();
                    done.cause.get_or_insert(cause);
                    if away {
                        return Ok(done);
                    }
                }
            }
        }
    }
    Ok(done)
}

async fn next(io: &Io, after: Option<Ticket>) -> Result<Vec<(Ticket, Work)>> {
    match io.outbox(OutboxAction::Next(after)).await? {
        OutboxGot::Next(records) => Ok(records),
        _ => Err(mismatch("the outbox")),
    }
}

async fn take_over(io: &Io) -> Result<bool> {
    match io.outbox(OutboxAction::TakeOver).await? {
        OutboxGot::TakenOver(files) => Ok(files > 0),
        _ => Err(mismatch("the outbox")),
    }
}

async fn bring(io: &Io, work: Work, expand: &Expand) -> Result<()> {
    match work {
        Work::Keys(what) => {
            let mut release = what.release;
            let mut parts = what.entries.chunks(limits::REPLAY_KEYS).peekable();
            while let Some(part) = parts.next() {
                // The lock goes with the last part: once it is free, nothing stale may be left.
                let release = release.take_if(|_| parts.peek().is_none());
                let entries = part.to_vec();
                delete(io, Invalidate { entries, release }).await?;
            }
            match release {
                None => Ok(()),
                release => {
                    let entries = Vec::new();
                    delete(io, Invalidate { entries, release }).await
                }
            }
        }
        Work::Everything { params, .. } => {
            let all = expand(&params);
            if all.is_empty() {
                return Err(Error::new(crate::error::Kind::Outbox(
                    "has a record of everything with some params, for which these rules have no template".to_owned(),
                )));
            }
            for part in all.iter().flat_map(|part| part.chunks(limits::REPLAY_KEYS)) {
                let entries = part.to_vec();
                let release = None;
                delete(io, Invalidate { entries, release }).await?;
            }
            Ok(())
        }
    }
}

async fn delete(io: &Io, asked: Invalidate) -> Result<()> {
    match io.server(asked).await {
        Ok(_) => Ok(()),
        Err(fault) => Err(fault.into_error()),
    }
}
