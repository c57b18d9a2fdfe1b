//! Replays the outbox: at open, after the next success, and in the background. Sends the echo to a
//! server that has replaced another.

use super::{
    echo::{Due, Echo, Keep, OnItsWay, Round},
    observe::{Event, Observers},
};
use crate::{
    disk::{Outbox, OutboxAction, OutboxGot},
    drive::{Backend, Local, drive_while},
    engine::{Breaker, RunId},
    model::{Entry, Lock, Result, Span, counted, limits},
    op::{Ask, Fault, Invalidate, Op, Reply},
    protocol::{Now, Replayed, replay},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::{
    ops::ControlFlow,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// One thread for each cache that has an outbox folder, has records in its outbox, or has deleted
/// anything. Dropping it ends the thread; the drop waits at most for a reply that is under way.
pub(super) struct Replayer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Whether a background looker stays registered.
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
    observers: Observers,
    echo: Echo,
    /// The number of new connections when the servers were last asked for their run ids.
    looked_at: Mutex<u64>,
    /// The same number when an operation last looked, to be compared without a lock.
    noticed: AtomicU64,
    expand: replay::Expand,
    /// One replay at a time: two would only do each other's work.
    turn: Mutex<()>,
    signal: Mutex<Signal>,
    bell: Condvar,
    replayed: AtomicU64,
    echoes: AtomicU64,
}

/// Since when this process has sent no request to the server.
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

/// Connections that were opened again, or to another server.
fn connections(engine: &Breaker) -> u64 {
    engine.counters().reconnects() + engine.counters().redirects()
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
    pub(super) fn new(
        engine: Arc<Breaker>,
        outbox: Arc<Outbox>,
        observers: Observers,
        expand: replay::Expand,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                lookers: Mutex::default(),
                engine,
                outbox,
                observers,
                echo: Echo::default(),
                looked_at: Mutex::default(),
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

    /// Starts the thread if it is not running.
    pub(super) fn start(&self) {
        if lock(&self.shared.signal).stop {
            return;
        }
        let mut thread = lock(&self.thread);
        if thread.is_some() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        match thread::Builder::new()
            .name("cachetx-outbox".to_owned())
            .spawn(move || shared.run())
        {
            Ok(started) => *thread = Some(started),
            Err(e) => log::error!("the outbox has no thread, so it is replayed by calls only: {e}"),
        }
    }

    /// Must be held from before the operation is sent until [`follow`](Self::follow) has returned.
    pub(super) fn on_its_way(&self, op: &Op) -> OnItsWay<'_> {
        self.shared.echo.on_its_way(op)
    }

    /// [`on_its_way`](Self::on_its_way) for a task.
    #[cfg(feature = "tokio")]
    pub(super) async fn on_its_way_in_task(&self, op: &Op) -> OnItsWay<'_> {
        loop {
            match self.shared.echo.on_its_way_now(op) {
                Some(on_its_way) => return on_its_way,
                None => tokio::time::sleep(limits::ECHO_PAUSE).await,
            }
        }
    }

    /// Remembers what a successful operation changed on that server. Wakes the thread if the server
    /// may have been replaced.
    pub(super) fn follow(&self, op: Op, by: Option<RunId>) {
        let shared = &self.shared;
        let kept = by.map_or(Keep::Nothing, |by| shared.echo.keep(op, by, Instant::now()));
        let connections = connections(&shared.engine);
        let hint = shared.noticed.swap(connections, Relaxed) != connections;
        if hint || kept != Keep::Nothing {
            self.start();
        }
        if hint || kept == Keep::Doubted || shared.outbox.ripe() > 0 {
            self.ring();
        }
    }

    /// Wakes the thread.
    pub(super) fn ring(&self) {
        lock(&self.shared.signal).now = true;
        self.shared.bell.notify_all();
    }

    fn end(&self) {
        lock(&self.shared.signal).stop = true;
        self.shared.bell.notify_all();
    }

    pub(super) fn stop(&self) {
        self.end();
        let running = lock(&self.thread).take();
        if let Some(thread) = running
            // A looker may have held the last handle. Then this is that thread, which ends by
            // itself.
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

    /// How many times the last changes were sent again.
    pub(super) fn echoes(&self) -> u64 {
        self.shared.echoes.load(Relaxed)
    }

    /// How many records the server has acknowledged.
    pub(super) fn replayed(&self) -> u64 {
        self.shared.replayed.load(Relaxed)
    }
}

impl Drop for Replayer {
    fn drop(&mut self) {
        // A task must not wait for a reply that is under way. The thread owns what it uses.
        #[cfg(feature = "tokio")]
        if tokio::runtime::Handle::try_current().is_ok() {
            return self.end();
        }
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
        // Not under the lock: a looker may take long, and another store may register one meanwhile.
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

    /// Reads each server's run id if something suggests that a server was replaced, or if `ask` is
    /// set, and sends the last changes to those that did not take them. Failures are retried at the
    /// next look.
    fn send_echo(&self, ask: bool) {
        let left_out = cfg!(any(cachetx_without_replay, cachetx_without_echo));
        if left_out || !self.echo.is_wanted(Instant::now()) {
            return;
        }
        let mut looked_at = lock(&self.looked_at);
        let connections = connections(&self.engine);
        if !ask && connections == *looked_at && !self.echo.is_doubted() {
            return;
        }
        let round = self.echo.begin();
        let Ok(servers) = self.engine.servers() else {
            self.echo.doubt();
            return;
        };
        let mut complete = servers.complete;
        let (mut entries, mut locks) = (0, 0);
        for due in round.due(servers) {
            let run = due.run.clone();
            let count = (due.entries.len(), due.locks.len());
            if let Err(fault) = self.tell(&round, due) {
                log::debug!("the echo stopped: {}", fault.into_error());
                complete = false;
                continue;
            }
            round.told(&run);
            entries += count.0;
            locks += count.1;
        }
        match complete {
            true => *looked_at = connections,
            false => self.echo.doubt(),
        }
        if entries + locks > 0 {
            log::warn!(
                "a server is another one than before and may have old entries back: {} that were changed last are deleted, and {} released, once more",
                counted(entries, "entry", "entries"),
                counted(locks, "lock", "locks")
            );
            self.echoes.fetch_add(1, Relaxed);
            self.observers.tell(&Event::Echo { entries, locks });
        }
    }

    fn tell(&self, round: &Round<'_>, due: Due) -> Result<(), Fault> {
        let ask = |entries: Vec<Entry>, release: Option<Lock>| {
            let asked = Invalidate {
                entries,
                raises: Vec::new(),
                token: String::new(),
                release,
            };
            self.engine.insist(&asked.into_op()).map(drop)
        };
        for step in self
            .engine
            .space()
            .divide(due.entries, |entry| &entry.value)
        {
            for entries in step.chunks(limits::REPLAY_KEYS) {
                round.send(entries.to_vec(), |entries| ask(entries, None))?;
            }
        }
        let mut locks = due.locks.into_iter();
        locks.try_for_each(|lock| ask(Vec::new(), Some(lock)))
    }

    /// Replays everything once, or until `ended` returns true.
    fn replay(&self, ended: impl Fn() -> bool) -> Result<Replayed> {
        if cfg!(cachetx_without_replay) {
            return Ok(Replayed::default());
        }
        let _turn = lock(&self.turn);
        let began = self.observers.begin();
        let run = replay::replay(replay::How {
            space: self.engine.space(),
            expand: self.expand.clone(),
        });
        let unless_ended = || {
            if ended() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        let span = match self.outbox.ripe() {
            0 => Span::none(),
            _ => Span::replay(),
        };
        let before = self.replayed.load(Relaxed);
        let done = match span.inside(|| drive_while(run, self, unless_ended)) {
            ControlFlow::Continue(done) => done?,
            ControlFlow::Break(()) => Replayed {
                records: self.replayed.load(Relaxed) - before,
                left: self.outbox.ripe(),
                cause: None,
            },
        };
        span.replayed(done.records, done.left);
        if done.records > 0 {
            log::info!(
                "the outbox: {} sent to the server, {} left",
                counted(done.records, "record", "records"),
                done.left
            );
        }
        if let (Some(duration), true) = (began.took(), done.records + done.left > 0) {
            self.observers.tell(&Event::Replay {
                records: done.records,
                left: done.left,
                duration,
                cause: done.cause.as_ref(),
            });
        }
        Ok(done)
    }
}

impl Local for &Shared {
    /// A replay does not read the clock.
    fn now(&self) -> Now {
        Now::default()
    }

    fn outbox(&mut self, action: &OutboxAction) -> Result<OutboxGot> {
        let done = self.outbox.perform(action);
        if matches!((action, &done), (OutboxAction::Retire(_), Ok(_))) {
            // Counted at once: a replay that is ended right after this has still done it.
            self.replayed.fetch_add(1, Relaxed);
        }
        done
    }
}

impl Backend for &Shared {
    fn server(&mut self, op: Op) -> Result<Reply, Fault> {
        let done = Span::request(op.name()).inside(|| self.engine.insist(&op))?;
        // The record is retired now. If the server loses this deletion, the echo sends it again.
        done.by.map(|by| self.echo.keep(op, by, Instant::now()));
        Ok(done.reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::Cache,
        disk::Invalidation,
        rules::{Params, Rules},
    };
    use std::cell::Cell;

    #[test]
    fn a_record_counts_once_wherever_its_replay_is_ended() {
        for steps in 0..8_u32 {
            let rules =
                Rules::from_json(r#"{ "version": "1.0", "cache_keys": {}, "rules": {} }"#).unwrap();
            let cache = Cache::builder(rules).in_memory().open().unwrap();
            let entry = Entry {
                value: "v".into(),
                leases: "l".into(),
            };
            let record = Invalidation::of(vec![entry], Params::new(), 0);
            let kept = cache.0.outbox.perform(&OutboxAction::Defer(record));
            kept.unwrap();
            let before = Cell::new(steps);
            let ended = || before.replace(before.get().saturating_sub(1)) == 0;
            cache.0.replayer.shared.replay(ended).unwrap();
            assert_eq!(cache.replay_outbox().unwrap().left, 0);
            assert_eq!(
                cache.stats().outbox_replayed,
                1,
                "ended before step {steps}"
            );
        }
    }
}
