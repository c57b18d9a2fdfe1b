//! Brings the outbox to the server: at open, after the next success, and in the background; and the echo to a server that is
//! another one than before.

use super::echo::Echo;
use crate::{
    Result,
    disk::Outbox,
    engine::Breaker,
    limits,
    op::{Ask, Invalidate, Op},
    protocol::{Action, Answer, Now, Replayed, Step, mismatch, replay},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// One thread for each cache that has an outbox's folder, or something in its outbox, or has deleted anything. Dropping it ends the thread, which
/// waits for no more than a reply that is under way.
pub(super) struct Replayer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Whether whoever looks for something to do in the background is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Again,
    Over,
}

type Looker = Box<dyn FnMut() -> Look + Send>;

struct Shared {
    /// What stores look for: transactions of dead processes.
    lookers: Mutex<Vec<Looker>>,
    engine: Arc<Breaker>,
    outbox: Arc<Outbox>,
    echo: Echo,
    /// The connections that were looked at, and the strangers that were sent the echo.
    seen: Mutex<Seen>,
    /// The same together, to be compared without a lock.
    noticed: AtomicU64,
    expand: replay::Expand,
    /// One replay at a time: two would only do each other's work.
    turn: Mutex<()>,
    signal: Mutex<Signal>,
    bell: Condvar,
    replayed: AtomicU64,
    echoes: AtomicU64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Made again, or to another server.
    connections: u64,
    strangers: u64,
}

/// Since when this process has asked the server nothing.
struct Silence {
    since: Instant,
    round_trips: u64,
}

impl Silence {
    fn begin(engine: &Breaker) -> Self {
        Self {
            since: Instant::now(),
            round_trips: engine.counters().round_trips(),
        }
    }

    fn is_long(&mut self, engine: &Breaker) -> bool {
        if self.round_trips != engine.counters().round_trips() {
            *self = Self::begin(engine);
        }
        self.since.elapsed() >= limits::ECHO_SILENCE
    }
}

impl Seen {
    fn now(engine: &Breaker) -> Self {
        let counters = engine.counters();
        Self {
            connections: counters.reconnects() + counters.redirects(),
            strangers: counters.strangers(),
        }
    }

    fn sum(self) -> u64 {
        self.connections + self.strangers
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Signal {
    /// The server answers, or there are files to look at.
    now: bool,
    stop: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Replayer {
    pub(super) fn new(engine: Arc<Breaker>, outbox: Arc<Outbox>, expand: replay::Expand) -> Self {
        Self {
            shared: Arc::new(Shared {
                lookers: Mutex::default(),
                engine,
                outbox,
                echo: Echo::default(),
                seen: Mutex::default(),
                noticed: AtomicU64::new(0),
                expand,
                turn: Mutex::default(),
                signal: Mutex::default(),
                bell: Condvar::new(),
                replayed: AtomicU64::new(0),
                echoes: AtomicU64::new(0),
            }),
            thread: Mutex::default(),
        }
    }

    /// Starts the thread where it does not run yet.
    pub(super) fn start(&self) {
        let mut thread = lock(&self.thread);
        if thread.is_some() || lock(&self.shared.signal).stop {
            return;
        }
        let shared = Arc::clone(&self.shared);
        match thread::Builder::new()
            .name("cachetx-outbox".to_owned())
            .spawn(move || shared.run()) {
            Ok(started) => *thread = Some(started),
            Err(e) => log::error!("the outbox has no thread, so it is replayed by calls only: {e}"),
        }
    }

    /// Remembers what a successful operation deleted, and lets the thread look where the server may be another one.
    pub(super) fn follow(&self, op: Op) {
        if self.shared.echo.keep(op, Instant::now()) {
            self.start();
        }
        let sum = Seen::now(&self.shared.engine).sum();
        if self.shared.noticed.swap(sum, Relaxed) != sum {
            self.start();
            self.ring();
        } else if self.shared.outbox.ripe() > 0 {
            self.ring();
        }
    }

    /// Lets the thread look at once.
    pub(super) fn ring(&self) {
        lock(&self.shared.signal).now = true;
        self.shared.bell.notify_all();
    }

    pub(super) fn stop(&self) {
        lock(&self.shared.signal).stop = true;
        self.shared.bell.notify_all();
        if let Some(thread) = lock(&self.thread).take()
            // A looker may have had the last handle: then this is that thread, which ends by itself.
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            log::error!("the outbox's thread panicked");
        }
    }

    pub(super) fn look_too(&self, looker: Looker) {
        lock(&self.shared.lookers).push(looker);
    }

    /// Replays now, in this thread.
    pub(super) fn replay(&self) -> Result<Replayed> {
        self.shared.replay(|| false)
    }

    /// How often the last invalidations were sent again.
    pub(super) fn echoes(&self) -> u64 {
        self.shared.echoes.load(Relaxed)
    }

    /// Records that the server has acknowledged.
    pub(super) fn replayed(&self) -> u64 {
        self.shared.replayed.load(Relaxed)
    }
}

impl Drop for Replayer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn run(&self) {
        let pauses = || {
            ExponentialBuilder::new()
                .with_min_delay(limits::REPLAY_PAUSE_MIN)
                .with_max_delay(limits::REPLAY_PAUSE_MAX)
                .with_jitter()
                .without_max_times()
                .build()
        };
        let mut backoff = pauses();
        let mut complained = false;
        let mut silence = Silence::begin(&self.engine);
        loop {
            let pause = match self.outbox.ripe() {
                0 => {
                    backoff = pauses();
                    limits::TAKEOVER_PAUSE
                }
                _ => backoff.next().unwrap_or(limits::REPLAY_PAUSE_MAX),
            };
            if self.wait(pause).stop {
                return;
            }
            let ask = silence.is_long(&self.engine) && self.echo.is_wanted(Instant::now());
            self.send_echo(ask);
            if ask {
                silence = Silence::begin(&self.engine);
            }
            let failed = match self.replay(|| lock(&self.signal).stop) {
                Ok(done) => done.cause,
                Err(e) => Some(e),
            };
            if let (Some(cause), false) = (&failed, complained) {
                log::warn!("the outbox waits, and will be tried again: {cause}");
            }
            complained = failed.is_some();
            self.look();
        }
    }

    fn look(&self) {
        // Not under the lock: a looker may take its time, and another store may come.
        let mut lookers = std::mem::take(&mut *lock(&self.lookers));
        lookers.retain_mut(|look| look() == Look::Again);
        lock(&self.lookers).append(&mut lookers);
    }

    fn wait(&self, pause: Duration) -> Signal {
        let signal = lock(&self.signal);
        let waited = self
            .bell
            .wait_timeout_while(signal, pause, |signal| !signal.now && !signal.stop);
        let (mut signal, _) = waited.unwrap_or_else(PoisonError::into_inner);
        signal.now = false;
        *signal
    }

    /// Sends the last invalidations again where the server is another one than before, which connections that were made
    /// anew hint at; `ask` does without a hint. What fails is tried at the next look.
    fn send_echo(&self, ask: bool) {
        if cfg!(cachetx_without_replay) {
            return;
        }
        let mut seen = lock(&self.seen);
        let now = Seen::now(&self.engine);
        let hints = now.connections != seen.connections;
        if (hints || ask) && self.engine.look_around(hints).is_ok() {
            seen.connections = now.connections;
        }
        let strangers = Seen::now(&self.engine).strangers;
        if strangers == seen.strangers {
            return;
        }
        let steps = self.echo.recall();
        for entries in &steps {
            let release = None;
            let entries = entries.clone();
            if let Err(fault) = self
                .engine
                .insist(&Invalidate { entries, release }.into_op())
            {
                log::debug!("the echo stopped: {}", fault.into_error());
                return;
            }
        }
        seen.strangers = strangers;
        if !steps.is_empty() {
            log::warn!(
                "the server is another one than before and may have entries back: the last {} invalidations were sent again",
                steps.len()
            );
            self.echoes.fetch_add(1, Relaxed);
        }
    }

    /// One replay of all there is, unless `ended` says otherwise in between.
    fn replay(&self, ended: impl Fn() -> bool) -> Result<Replayed> {
        if cfg!(cachetx_without_replay) {
            return Ok(Replayed::default());
        }
        let _turn = lock(&self.turn);
        let mut run = replay::replay(replay::How {
            space: self.engine.space(),
            expand: self.expand.clone(),
        });
        let mut answer = None;
        let done = loop {
            let action = match run.resume(answer.take(), Now::default()) {
                Step::Done(done) => break done?,
                Step::Do(_) if ended() => return Ok(Replayed::default()),
                Step::Do(action) => action,
            };
            answer = Some(match action {
                Action::Server(op) => {
                    let done = self.engine.insist(&op);
                    if done.is_ok() {
                        // The record goes; a server that loses this deletion is to get it again.
                        self.echo.keep(op, Instant::now());
                    }
                    Answer::Server(done)
                }
                Action::Outbox(action) => Answer::Outbox(self.outbox.perform(&action)),
                Action::Disk(..) | Action::Sleep(_) | Action::Listen(..) => {
                    return Err(mismatch("a replay"));
                }
            });
        };
        if done.records > 0 {
            self.replayed.fetch_add(done.records, Relaxed);
            log::info!(
                "{} records of the outbox have reached the server, {} are left",
                done.records,
                done.left
            );
        }
        Ok(done)
    }
}
