//! Waiting until replicas have a commit.

use super::session::Session;
use crate::op::{CommitReply, Op, Reply, Wait};
use redis::Value;

/// The reply of `op`. If it was a commit that asked for replicas, adds how many have it. WAIT
/// counts the writes of its own connection, so this must be the session that the commit ran in.
/// Whatever fails here, the commit is done.
pub(super) async fn waited(session: &mut Session<'_>, op: &Op, reply: Reply) -> Reply {
    let wait = match op {
        Op::Commit(commit) => commit.wait,
        _ => None,
    };
    match (wait, reply) {
        (Some(wait), Reply::Commit(CommitReply::Committed { removed })) => {
            Reply::Commit(match acknowledged(session, wait).await {
                Some(replicas) => CommitReply::Replicated { removed, replicas },
                None => CommitReply::Committed { removed },
            })
        }
        (_, reply) => reply,
    }
}

/// `None` if the server did not answer. The session is then spoilt if a late answer may come.
async fn acknowledged(session: &mut Session<'_>, wait: Wait) -> Option<u64> {
    let usual = session.peer.response_timeout();
    let patience = usual + wait.time;
    let (replicas, ms) = (wait.replicas.to_string(), wait.time.as_millis().to_string());
    let asked = session.wait_up_to(patience);
    let answer = match asked {
        Ok(()) => {
            let wait = [b"WAIT", replicas.as_bytes(), ms.as_bytes()];
            session.ask(|packed| packed.request(&wait)).await
        }
        Err(failed) => Err(failed),
    };
    session.wait_as_usual();
    match answer {
        Ok(Value::Int(n)) => u64::try_from(n).ok(),
        Ok(other) => {
            log::warn!("{}: WAIT: {other:?}", session.peer.shown_url());
            None
        }
        Err(_) => {
            log::warn!("{}: no answer to WAIT", session.peer.shown_url());
            None
        }
    }
}
