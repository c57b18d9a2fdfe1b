//! The engine that runs operations inside the process: a model of them, and a substitute for a
//! server.

mod clock;
mod keyspace;
mod operations;
mod server;
#[cfg(test)]
mod tests;

#[cfg(all(test, feature = "testing"))]
pub(super) use keyspace::{Content, bytes};
pub use server::MemoryServer;

use super::{Bells, Counters, EngineReport, Performer, Servers};
use crate::{
    model::{Error, error::Kind},
    op::{Fault, Op, Reply},
};
use std::sync::Arc;

/// Runs operations on a [`MemoryServer`], which may be shared.
pub(crate) struct MemoryEngine {
    server: MemoryServer,
    counters: Counters,
}

impl MemoryEngine {
    pub(crate) fn new(server: MemoryServer) -> Self {
        Self {
            server,
            counters: Counters::default(),
        }
    }
}

impl Performer for MemoryEngine {
    fn perform(&self, op: &Op) -> Result<Reply, Fault> {
        op.check()?;
        // Counts what a server would cost, so that a program's own tests can check it.
        self.counters.count_round_trip();
        let not_done = |kind| Fault::NotDone(Error::new(kind));
        let keys = self.server.keyspace();
        let mut keys = keys.ok_or_else(|| Fault::NotDone(stopped()))?;
        let done = operations::run(&mut keys, op).map_err(|refusal| {
            not_done(Kind::Server {
                message: refusal.to_string(),
            })
        });
        let messages = keys.take_messages();
        drop(keys);
        for channel in messages {
            self.server.bells().ring(&channel);
        }
        done
    }

    fn report(&self) -> Option<EngineReport> {
        Some(EngineReport {
            engine: "memory".to_owned(),
            flavour: "cachetx".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            flagged: true,
            loaded: true,
            topology: "in memory".to_owned(),
            ..EngineReport::default()
        })
    }

    fn servers(&self) -> Result<Servers, Fault> {
        match self.server.keyspace() {
            Some(_) => Ok(Servers::new(Vec::new(), true)),
            None => Err(Fault::NotDone(stopped())),
        }
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn bells(&self) -> &Arc<Bells> {
        self.server.bells()
    }
}

fn stopped() -> Error {
    Error::new(Kind::Unavailable {
        message: "the in-memory server is stopped".to_owned(),
    })
}
