//! The server: the operations' model in memory, with a clock that the simulation moves, and what goes wrong on the way to it.

use crate::{
    Error,
    engine::{MemoryEngine, MemoryServer, Performer},
    error::Kind,
    op::{Fault, Invalidate, Op, Reply},
};
use std::time::Duration;

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// The server cannot be reached.
    Away,
    /// The connection breaks before the server has the request; the client cannot know.
    Dropped,
    /// The server does it, and its reply is lost.
    Unanswered,
}

/// A server with one check taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerWeakness {
    /// A fill is taken whoever has the lease.
    FillsWithoutLease,
    /// A commit leaves its dependents where they are.
    KeepsDependents,
    /// A writer's mark is not written down.
    ForgetsMarks,
}

pub(crate) struct SimServer {
    pub(crate) memory: MemoryServer,
    engine: MemoryEngine,
    weakness: Option<ServerWeakness>,
}

impl SimServer {
    pub(crate) fn new(weakness: Option<ServerWeakness>) -> Self {
        Self {
            weakness,
            ..Self::with(MemoryServer::with_manual_clock())
        }
    }

    pub(crate) fn with(memory: MemoryServer) -> Self {
        Self {
            engine: MemoryEngine::new(memory.clone()),
            memory,
            weakness: None,
        }
    }

    pub(crate) fn copy(&self) -> Self {
        Self {
            weakness: self.weakness,
            ..Self::with(self.memory.copy())
        }
    }

    pub(crate) fn perform(&self, op: &Op, fate: Fate) -> Result<Reply, Fault> {
        let broken = |message: &str| {
            Error::new(Kind::Unavailable {
                message: message.to_owned(),
            })
        };
        match fate {
            Fate::Answered => self.execute(op),
            Fate::Away => Err(Fault::NotDone(broken("away"))),
            Fate::Dropped => Err(Fault::Unknown(broken("no answer"))),
            Fate::Unanswered => {
                let _ = self.execute(op);
                Err(Fault::Unknown(broken("no answer")))
            }
        }
    }

    fn execute(&self, op: &Op) -> Result<Reply, Fault> {
        let mut op = op.clone();
        match (self.weakness, &mut op) {
            (Some(ServerWeakness::FillsWithoutLease), Op::Fill(fill)) => {
                let flight = format!("l:{}:0", fill.token);
                let mut keys = self.memory.keyspace().expect("it runs");
                keys.set_field(
                    &fill.entry.leases,
                    &fill.entry.value,
                    flight.into_bytes().into(),
                );
            }
            (Some(ServerWeakness::KeepsDependents), Op::Commit(commit)) => {
                commit.dependents.clear();
            }
            (Some(ServerWeakness::ForgetsMarks), Op::Prepare(prepare)) => {
                let entries = std::mem::take(&mut prepare.entries);
                let release = None;
                self.engine
                    .perform(&Op::Invalidate(Invalidate { entries, release }))?;
            }
            _ => {}
        }
        self.engine.perform(&op)
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.memory.advance(time);
    }

    /// Evicts a key, as a server that is short of memory may do with any.
    pub(crate) fn evict(&self, key: &str) {
        if let Some(mut keys) = self.memory.keyspace() {
            keys.remove(key);
        }
    }
}
