//! The engine on a server: boots it when it is first met, and runs each operation in the mode that
//! the boot chose.

use super::{
    EngineReport, Performer, RunId, Servers, Taken, acquire,
    boot::{self, Assemble, Booted},
    call::Call,
    config::ServerConfig,
    counters::Counters,
    failure::Failure,
    foreign, lua,
    messages::{Bells, Subscriber},
    mode::Mode,
    net::{self, Net, Sharing},
    node::{Asking, Miss, Node, Work},
    plain, replicas,
    session::Session,
    source::{Dialect, Scripts},
    survey,
    topology::Topology,
    watch,
};
use crate::{
    model::{Effect, Result, limits},
    op::{Acquire, Ask as _, Fault, Op, Release, Reply, Space},
};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Runs operations on one server, or on that one of several which has the keys.
pub(crate) struct ServerEngine {
    topology: Arc<Topology>,
    subscriber: Subscriber,
    /// How long an operation waits while the servers do not agree yet which of them has its keys.
    patience: Duration,
    counters: Arc<Counters>,
    assemble: Assemble,
    /// The causes of warnings that were logged.
    warned: Mutex<BTreeSet<String>>,
}

impl ServerEngine {
    /// Connects and loads the scripts.
    pub(crate) fn open(config: ServerConfig) -> Result<Self> {
        let engine = Self::lazy(config)?;
        run_now(|net| engine.boot(net))?;
        Ok(engine)
    }

    /// Connects at the first use, so it can be created while the server is unreachable.
    pub(crate) fn lazy(config: ServerConfig) -> Result<Self> {
        Self::with_scripts(config, |dialect| Scripts::of(dialect).clone())
    }

    pub(super) fn with_scripts(
        config: ServerConfig,
        assemble: impl Fn(Dialect) -> Scripts + Send + Sync + 'static,
    ) -> Result<Self> {
        let counters = Arc::new(Counters::default());
        let patience = config.patience();
        let topology = Arc::new(Topology::new(config, Arc::clone(&counters))?);
        Ok(Self {
            patience,
            subscriber: Subscriber::new(Arc::clone(&topology)),
            topology,
            counters,
            assemble: Box::new(assemble),
            warned: Mutex::default(),
        })
    }

    async fn boot(&self, net: Net) -> Result<()> {
        if self.space() == Space::Whole {
            // Sentinels may be out of date, here as in any operation.
            let route = Topology::anywhere(self.patience);
            let done = self.topology.with(net, route, &mut Boot(self)).await;
            let failed = |fault: Fault| boot::boot_error(&fault.into_error());
            return done.map(drop).map_err(failed);
        }
        let mut away = None;
        let mut booted = false;
        for node in self.topology.primaries(net).await? {
            match node.attempt(net, Asking::No, &mut Boot(self)).await {
                Ok(_) => booted = true,
                Err(miss) => {
                    let error = boot::boot_error(&miss.fault.into_error());
                    // A Cluster's node that is unreachable now is booted at first contact.
                    if !error.is_unavailable() {
                        return Err(error);
                    }
                    log::warn!("{}: {error}", node.shown_url());
                    away = Some(error);
                }
            }
        }
        match away {
            Some(error) if !booted => Err(error),
            _ => Ok(()),
        }
    }

    /// What the boot found about the session's server; boots it at first contact.
    async fn booted(&self, node: &Node, session: &mut Session<'_>) -> Result<Arc<Booted>, Failure> {
        if let Some(booted) = node.booted() {
            return Ok(booted);
        }
        let booted = Arc::new(boot::boot(session, &self.assemble).await?);
        self.log(&booted);
        node.set_booted(Arc::clone(&booted));
        Ok(booted)
    }

    /// Logs what a boot found. Each cause of a warning is logged once, whatever the number of
    /// servers and boots that have it.
    fn log(&self, booted: &Booted) {
        let found = EngineReport {
            warnings: Vec::new(),
            ..booted.report.clone()
        };
        log::info!("{found}");
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() > limits::MAX_WARNED_CAUSES {
            warned.clear();
        }
        for warning in &booted.warnings {
            if warned.insert(warning.cause.clone()) {
                log::warn!("{}: {}", booted.report.server, warning.text);
            }
        }
    }
}

/// Does not let a request be sent again if a late first copy would do harm.
fn last_try(failure: Failure, op: &Op) -> Failure {
    match failure {
        Failure::Lost { error, .. } if !op.may_be_sent_again() => Failure::Lost {
            error,
            closed: false,
        },
        other => other,
    }
}

/// Runs an operation in the mode that the boot chose. `sent` tells whether a write was sent.
async fn run(
    session: &mut Session<'_>,
    mode: &Mode,
    op: &Op,
    call: &Call<'_>,
    sent: &mut bool,
) -> Result<Reply, Failure> {
    *sent |= !matches!(mode, Mode::Watch);
    match mode {
        Mode::Script(scripts) => lua::perform(session, op, call, scripts.get(call.name)).await,
        Mode::Function(library) => lua::perform(session, op, call, library).await,
        Mode::Watch => watch::perform(session, op, call, sent).await,
    }
}

/// If the program is needed and refuses, the lock may be held by then: it is released.
async fn acquire(
    session: &mut Session<'_>,
    mode: &Mode,
    (ask, op, call): (&Acquire, &Op, &Call<'_>),
    sent: &mut bool,
) -> Result<Reply, Failure> {
    *sent = true;
    if let Some(reply) = acquire::at_once(session, ask).await? {
        return Ok(Reply::Acquire(reply));
    }
    let error = match run(session, mode, op, call, sent).await {
        Err(Failure::Refused(error) | Failure::Midway(error)) if session.redirect.is_none() => {
            error
        }
        done => return done,
    };
    let wrong_type = session.wrong_type;
    let lock = ask.lock.clone();
    let release = Release { lock }.into_op();
    let released = match Call::new(&release) {
        Some(call) if !session.spoilt => run(session, mode, &release, &call, sent).await.is_ok(),
        _ => false,
    };
    session.wrong_type |= wrong_type;
    Err(match released || wrong_type {
        true => Failure::Refused(error),
        false => Failure::Midway(error.effect_is(Effect::Unknown)),
    })
}

/// In this thread; tests may run it in a task.
fn run_now<F: Future<Output: Send> + Send>(run: impl FnOnce(Net) -> F) -> F::Output {
    #[cfg(all(test, feature = "testing", feature = "tokio"))]
    if let Some(runtime) = super::tests::tasks() {
        return runtime.block_on(run(Net::Tasks));
    }
    #[cfg(cachetx_by_tasks)]
    let done = net::by_tasks(run(Net::Tasks));
    #[cfg(not(cachetx_by_tasks))]
    let done = net::now(run(Net::Threads));
    done
}

/// Boots a server that was not booted yet.
struct Boot<'a>(&'a ServerEngine);

impl Work for Boot<'_> {
    type Done = Arc<Booted>;

    fn sharing(&mut self, _: &Node) -> Sharing {
        Sharing::Own
    }

    async fn run(
        &mut self,
        node: &Node,
        session: &mut Session<'_>,
    ) -> Result<Arc<Booted>, Failure> {
        self.0.booted(node, session).await
    }
}

/// Reads the server's run id.
struct AskRun;

impl Work for AskRun {
    type Done = RunId;

    async fn run(&mut self, _: &Node, session: &mut Session<'_>) -> Result<RunId, Failure> {
        survey::ask_run_id(session).await
    }
}

/// The approximate size of a request in bytes.
fn size(op: &Op) -> usize {
    /// For a key and those that belong to it.
    const KEY_BYTES: usize = 128;
    match op {
        Op::Commit(op) => {
            let own = op.own.iter().map(|own| own.bytes.len());
            own.sum::<usize>() + KEY_BYTES * op.dependents.len()
        }
        Op::Fill(op) => op.bytes.len(),
        Op::Invalidate(op) => KEY_BYTES * op.entries.len(),
        Op::Prepare(op) => KEY_BYTES * op.entries.len(),
        _ => 0,
    }
}

/// One operation.
struct Perform<'a> {
    engine: &'a ServerEngine,
    op: &'a Op,
    call: Option<Call<'a>>,
    /// What the boot found about the server, if the connection is shared.
    booted: Option<Arc<Booted>>,
    /// Whether the boot is done.
    ready: bool,
    /// Whether a write was sent.
    sent: bool,
}

impl Work for Perform<'_> {
    type Done = Taken;

    fn sharing(&mut self, node: &Node) -> Sharing {
        let is_plain = self.call.is_none();
        let waits = matches!(self.op, Op::Commit(op) if op.wait.is_some());
        let stays = waits || size(self.op) > limits::SHARED_BYTES;
        let booted = node.booted();
        let own = match booted.as_deref().map(|booted| &booted.mode) {
            _ if stays || node.has_lock_database() => true,
            None | Some(Mode::Watch) => !is_plain,
            Some(_) => false,
        };
        // A boot that others discard meanwhile stays valid for this run: a new one might require a
        // connection of its own.
        self.booted = booted.filter(|_| !own);
        match own {
            true => Sharing::Own,
            false => Sharing::Shared,
        }
    }

    async fn run(&mut self, node: &Node, session: &mut Session<'_>) -> Result<Taken, Failure> {
        let op = self.op;
        let Some(call) = &self.call else {
            (self.ready, self.sent) = (true, true);
            let reply = plain::perform(session, op).await;
            let reply = reply.map_err(|failed| last_try(failed, op))?;
            return Ok(Taken { reply, by: None });
        };
        let booted = match &self.booted {
            Some(booted) => Arc::clone(booted),
            None => self.engine.booted(node, session).await?,
        };
        self.ready = true;
        booted.room.check(op)?;
        let by = match op.is_echoed() {
            true => Some(survey::run_id(session).await?),
            false => None,
        };
        let (mode, sent) = (&booted.mode, &mut self.sent);
        let reply = match op {
            Op::Acquire(ask) => acquire(session, mode, (ask, op, call), sent).await,
            _ => run(session, mode, op, call, sent).await,
        };
        let reply = match reply {
            Err(Failure::Refused(error)) if session.wrong_type => {
                let error = foreign::named(session, call, error).await;
                return Err(Failure::Refused(error));
            }
            Err(Failure::Midway(error)) if session.wrong_type => {
                let error = foreign::named(session, call, error).await;
                return Err(Failure::Midway(error.effect_is(Effect::Unknown)));
            }
            Err(failed) if *sent => return Err(last_try(failed, op)),
            reply => reply?,
        };
        let reply = replicas::waited(session, op, reply).await;
        Ok(Taken { reply, by })
    }
}

impl ServerEngine {
    async fn take_by(&self, net: Net, op: &Op) -> Result<Taken, Fault> {
        op.check()?;
        let route = self.topology.route(op, self.patience)?;
        let mut work = Perform {
            engine: self,
            op,
            call: Call::new(op),
            booted: None,
            ready: false,
            sent: false,
        };
        match self.topology.with(net, route, &mut work).await {
            Err(Fault::Unknown(e)) if !work.ready => Err(Fault::NotDone(boot::boot_error(&e))),
            // Only reads were sent.
            Err(Fault::Unknown(e)) if !work.sent => Err(Fault::NotDone(e.effect_is(Effect::None))),
            done => done,
        }
    }

    async fn servers_by(&self, net: Net) -> Result<Servers, Fault> {
        let served = self.topology.served(net).await.map_err(Fault::NotDone)?;
        let mut asked: Vec<(Arc<Node>, Option<RunId>)> = Vec::new();
        let mut found = Vec::with_capacity(served.len());
        for (slots, node) in served {
            let run = match asked.iter().find(|(known, _)| Arc::ptr_eq(known, &node)) {
                Some((_, run)) => run.clone(),
                None => {
                    let run = run_of(net, &node).await;
                    asked.push((node, run.clone()));
                    run
                }
            };
            found.extend(run.map(|run| (slots, run)));
        }
        let complete = asked.iter().all(|(_, run)| run.is_some());
        Ok(Servers::new(found, complete))
    }
}

/// `None` if it does not answer.
async fn run_of(net: Net, node: &Node) -> Option<RunId> {
    let asked = node.attempt(net, Asking::No, &mut AskRun).await;
    let silent = |miss: &Miss| log::debug!("{}: which run it is: {miss:?}", node.shown_url());
    asked.inspect_err(silent).ok()
}

impl Performer for ServerEngine {
    fn perform(&self, op: &Op) -> Result<Reply, Fault> {
        self.take(op).map(|taken| taken.reply)
    }

    fn take(&self, op: &Op) -> Result<Taken, Fault> {
        run_now(|net| self.take_by(net, op))
    }

    #[cfg(feature = "tokio")]
    fn take_in_task<'a>(&'a self, op: &'a Op) -> super::Taking<'a> {
        Box::pin(self.take_by(Net::Tasks, op))
    }

    fn report(&self) -> Option<EngineReport> {
        let nodes = self.topology.known();
        let mut booted = nodes.iter().filter_map(|node| node.booted());
        let mut report = booted.next()?.report.clone();
        booted.for_each(|other| report.take_in(&other.report));
        report.topology = self.topology.describe();
        Some(report)
    }

    fn space(&self) -> Space {
        self.topology.space()
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn bells(&self) -> &Arc<Bells> {
        self.subscriber.bells()
    }

    fn listens(&self) {
        self.subscriber.start();
    }

    fn close(&self) {
        self.subscriber.stop();
    }

    fn servers(&self) -> Result<Servers, Fault> {
        run_now(|net| self.servers_by(net))
    }
}
