//! The engine on a server: boots it when it is first met, and runs each operation the way that the boot chose.

use super::{
    EngineReport, Performer,
    boot::{self, Assemble, Booted, Mode},
    call::Call,
    config::ServerConfig,
    counters::Counters,
    lua,
    node::Node,
    plain,
    session::{Failure, Session},
    source::{Dialect, Scripts},
    watch,
};
use crate::{
    Effect, Result, limits,
    op::{Fault, Op, Reply},
};
use std::sync::Arc;

/// Runs operations on one server.
pub(crate) struct ServerEngine {
    node: Node,
    counters: Arc<Counters>,
    assemble: Assemble,
}

impl ServerEngine {
    /// Connects and loads the scripts.
    pub(crate) fn open(config: ServerConfig) -> Result<Self> {
        let engine = Self::lazy(config)?;
        engine.boot()?;
        Ok(engine)
    }

    /// Connects at the first use, so it can be made while the server is away.
    pub(crate) fn lazy(config: ServerConfig) -> Result<Self> {
        Self::with_scripts(config, |dialect| Scripts::of(dialect).clone())
    }

    pub(super) fn with_scripts(
        config: ServerConfig,
        assemble: impl Fn(Dialect) -> Scripts + Send + Sync + 'static,
    ) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        Ok(Self {
            node: Node::new(config, Arc::clone(&counters))?,
            counters,
            assemble: Box::new(assemble),
        })
    }

    fn boot(&self) -> Result<()> {
        match self.node.with(|session| self.booted(session)) {
            Ok(_) => Ok(()),
            Err(fault) => Err(boot::boot_error(&fault.into_error())),
        }
    }

    /// What the session's server was found to be; boots it where it was not met yet.
    fn booted(&self, session: &mut Session<'_>) -> Result<Arc<Booted>, Failure> {
        if let Some(booted) = session.node.booted() {
            return Ok(booted);
        }
        let booted = Arc::new(boot::boot(session, &self.assemble)?);
        log::info!("{}: {}", session.node.shown_url(), booted.report);
        session.node.set_booted(Arc::clone(&booted));
        Ok(booted)
    }
}

impl Performer for ServerEngine {
    fn perform(&self, op: &Op) -> Result<Reply, Fault> {
        let call = Call::new(op, limits::STAGING_BYTES);
        // Whether the boot is done, and whether anything that writes has left.
        let (mut ready, mut sent) = (false, false);
        let done = self.node.with(|session| {
            let Some(call) = &call else {
                (ready, sent) = (true, true);
                return plain::perform(session, op);
            };
            let booted = self.booted(session)?;
            ready = true;
            sent |= !matches!(booted.mode, Mode::Watch);
            match &booted.mode {
                Mode::Script(scripts) => lua::perform(session, op, call, scripts.get(call.name)),
                Mode::Function(library) => lua::perform(session, op, call, library),
                Mode::Watch => watch::perform(session, op, call, &mut sent),
            }
        });
        match done {
            Err(Fault::Unknown(e)) if !ready => Err(Fault::NotDone(boot::boot_error(&e))),
            // Nothing but reads has left.
            Err(Fault::Unknown(e)) if !sent => Err(Fault::NotDone(e.effect_is(Effect::None))),
            done => done,
        }
    }

    fn report(&self) -> Option<EngineReport> {
        self.node.booted().map(|booted| booted.report.clone())
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
