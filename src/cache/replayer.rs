//! Brings the outbox to the server: at open, after the next success, and in the background.

use crate::{
    Result,
    disk::Outbox,
    engine::Breaker,
    limits,
    protocol::{Action, Answer, Now, Replayed, Step, mismatch, replay},
};
use backon::{BackoffBuilder, ExponentialBuilder};
use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// One thread for each cache that has an outbox's folder, or something in its outbox. Dropping it ends the thread, which
/// waits for no more than a reply that is under way.
pub(super) struct Replayer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    engine: Arc<Breaker>,
    outbox: Arc<Outbox>,
    expand: replay::Expand,
    /// One replay at a time: two would only do each other's work.
    turn: Mutex<()>,
    signal: Mutex<Signal>,
    bell: Condvar,
    replayed: AtomicU64,
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
                engine,
                outbox,
                expand,
                turn: Mutex::default(),
                signal: Mutex::default(),
                bell: Condvar::new(),
                replayed: AtomicU64::new(0),
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
        let named = thread::Builder::new().name("cachetx-outbox".to_owned());
        match named.spawn(move || shared.run()) {
            Ok(started) => *thread = Some(started),
            Err(e) => log::error!("the outbox has no thread, so it is replayed by calls only: {e}"),
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
            && thread.join().is_err()
        {
            log::error!("the outbox's thread panicked");
        }
    }

    /// Replays now, in this thread.
    pub(super) fn replay(&self) -> Result<Replayed> {
        self.shared.replay(|| false)
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
            let failed = match self.replay(|| lock(&self.signal).stop) {
                Ok(done) => done.cause,
                Err(e) => Some(e),
            };
            if let (Some(cause), false) = (&failed, complained) {
                log::warn!("the outbox waits, and will be tried again: {cause}");
            }
            complained = failed.is_some();
        }
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
                Action::Server(op) => Answer::Server(self.engine.insist(&op)),
                Action::Outbox(action) => Answer::Outbox(self.outbox.perform(&action)),
                Action::Disk(..) | Action::Sleep(_) => return Err(mismatch("a replay")),
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
