//! The engine that runs operations as Lua scripts.

use super::{
    EngineReport, Performer,
    boot::{self, Assemble, Booted},
    call::Call,
    connection::{Connections, Failure, ServerConfig, Session, nonsense},
    counters::Counters,
    reply::{code, typed},
    source::{Dialect, Script, Scripts},
};
use crate::{
    Result, limits,
    op::{ClearLocks, ClearLocksReply, Fault, Op, Read, Reply, keys::sibling},
};
use redis::Value;
use std::sync::{Arc, PoisonError, RwLock};

/// Runs operations by EVALSHA on one server.
pub(crate) struct ScriptEngine {
    connections: Connections,
    counters: Arc<Counters>,
    assemble: Assemble,
    /// `limits::STAGING_BYTES`; the measurement of that limit sets others.
    staging_bytes: usize,
    /// Empty until the first boot, and again after the server turned out not to be the one that was booted.
    booted: RwLock<Option<Arc<Booted>>>,
}

impl ScriptEngine {
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

    #[cfg(test)]
    pub(super) fn stage_from(&mut self, bytes: usize) {
        self.staging_bytes = bytes;
    }

    pub(super) fn with_scripts(
        config: ServerConfig,
        assemble: impl Fn(Dialect) -> Scripts + Send + Sync + 'static,
    ) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        Ok(Self {
            connections: Connections::new(config, Arc::clone(&counters))?,
            counters,
            assemble: Box::new(assemble),
            staging_bytes: limits::STAGING_BYTES,
            booted: RwLock::new(None),
        })
    }

    fn boot(&self) -> Result<()> {
        match self.connections.with(|session| self.booted(session)) {
            Ok(_) => Ok(()),
            Err(fault) => Err(boot::boot_error(&fault.into_error())),
        }
    }

    fn booted(&self, session: &mut Session<'_>) -> Result<Arc<Booted>, Failure> {
        let known = self.booted.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(booted) = &*known {
            return Ok(Arc::clone(booted));
        }
        drop(known);
        let booted = Arc::new(boot::boot(session, &self.assemble)?);
        log::info!("{}: {}", self.connections.shown_url(), booted.report);
        let mut place = self.booted.write().unwrap_or_else(PoisonError::into_inner);
        *place = Some(Arc::clone(&booted));
        Ok(booted)
    }

    /// Another server took over with the address: it may understand another dialect.
    fn forget(&self) {
        *self.booted.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// One EVALSHA, with the values that are staged before it. Sends all of it again, once, where a staged value was lost
    /// on the way (evicted, or the server was restarted in between).
    fn call(
        &self,
        session: &mut Session<'_>,
        op: &Op,
        call: &Call<'_>,
        booted: &Booted,
    ) -> Result<Reply, Failure> {
        let script = booted.scripts.get(call.name);
        let reply = self.send(session, call, script)?;
        if !is_staging_missing(&reply) {
            return typed(op, reply);
        }
        let reply = self.send(session, call, script)?;
        typed(op, reply)
    }

    fn send(
        &self,
        session: &mut Session<'_>,
        call: &Call<'_>,
        script: &Script,
    ) -> Result<Value, Failure> {
        let mut staged = 0;
        let mut replies = session.exchange(|packed| {
            staged = call.pack_staging(packed);
            call.pack(script, packed);
        })?;
        let mut reply = replies.split_off(staged).pop().unwrap_or(Value::Nil);
        if code(&reply) == Some("NOSCRIPT") {
            reply = self.heal(session, call, script)?;
        }
        // The script says "missing" of a value that the server refused; the refusal is what the caller has to know.
        let refusal = replies.into_iter().find(|reply| code(reply).is_some());
        match refusal {
            Some(refusal) if is_staging_missing(&reply) => Ok(refusal),
            _ => Ok(reply),
        }
    }

    /// Loads the script that this server has lost, once, and calls it again. What was staged is there still.
    fn heal(
        &self,
        session: &mut Session<'_>,
        call: &Call<'_>,
        script: &Script,
    ) -> Result<Value, Failure> {
        session.counters().count_reload();
        log::info!(
            "{}: the server lacks the script {}; loading it",
            self.connections.shown_url(),
            call.name.as_str()
        );
        let text = script.text.as_bytes();
        let loaded = session.ask(|packed| packed.request(&[b"SCRIPT", b"LOAD", text]))?;
        if code(&loaded) == Some("NOPERM") {
            return session.ask(|packed| call.pack_whole(script, packed));
        }
        if let Err(failure) = boot::check_sha(&script.sha, &loaded) {
            self.forget();
            return Err(failure);
        }
        session.ask(|packed| call.pack(script, packed))
    }

    fn read(session: &mut Session<'_>, op: &Op, read: &Read) -> Result<Reply, Failure> {
        let key = &read.entry.value;
        let stamp = sibling(key, "stamp");
        let reply =
            session.ask(|packed| packed.request(&[b"MGET", stamp.as_bytes(), key.as_bytes()]))?;
        typed(op, reply)
    }

    fn clear_locks(
        session: &mut Session<'_>,
        op: &Op,
        clear: &ClearLocks,
    ) -> Result<Reply, Failure> {
        let mut cleared = 0;
        for keys in clear.locks.chunks(limits::UNLINK_CHUNK) {
            let reply = session.ask(|packed| {
                packed.begin(keys.len() + 1);
                packed.arg(b"UNLINK");
                keys.iter().for_each(|key| packed.arg(key.as_bytes()));
            })?;
            if let Reply::ClearLocks(ClearLocksReply::Cleared(n)) = typed(op, reply)? {
                cleared += n;
            }
        }
        Ok(Reply::ClearLocks(ClearLocksReply::Cleared(cleared)))
    }
}

fn is_staging_missing(reply: &Value) -> bool {
    match reply {
        Value::ServerError(error) => {
            error.code() == "CACHETX" && error.details() == Some("a staged value is missing")
        }
        _ => false,
    }
}

impl Performer for ScriptEngine {
    fn perform(&self, op: &Op) -> Result<Reply, Fault> {
        let call = Call::new(op, self.staging_bytes);
        let mut sent = false;
        let done = self.connections.with(|session| {
            // A boot that fails has sent nothing of the operation.
            let booted = match call {
                Some(_) => Some(self.booted(session)?),
                None => None,
            };
            sent = true;
            match (op, &call, booted) {
                (_, Some(call), Some(booted)) => self.call(session, op, call, &booted),
                (Op::Read(read), ..) => Self::read(session, op, read),
                (Op::ClearLocks(clear), ..) => Self::clear_locks(session, op, clear),
                _ => Err(nonsense(op.name())),
            }
        });
        match done {
            Err(Fault::Unknown(e)) if !sent => Err(Fault::NotDone(boot::boot_error(&e))),
            done => done,
        }
    }

    fn report(&self) -> Option<EngineReport> {
        let known = self.booted.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().map(|booted| booted.report.clone())
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }
}
