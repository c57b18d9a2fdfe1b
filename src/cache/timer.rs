//! Periodic background jobs: they renew leases, marks and locks.

use crate::model::limits;
use std::{
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

/// One thread for each cache, and more, up to a bound, while jobs take long: a server that does not
/// answer, or a caller's hook, must not delay all others. Threads start with the first job and end
/// some seconds after the last, or with the cache.
///
/// Not the crate `scheduled_thread_pool`, which keeps cancelled jobs until their time: too much,
/// since every lock has a job.
#[derive(Default)]
pub(crate) struct Timer(Arc<Shared>);

/// Returns when to run again; `None` ends the job.
type Job = Box<dyn FnMut(&Hurry) -> Option<Duration> + Send>;

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    bell: Condvar,
}

#[derive(Default)]
struct State {
    /// Jobs that wait, by time and number.
    queue: BTreeMap<(Instant, u64), Job>,
    stages: HashMap<u64, Stage>,
    last: u64,
    threads: usize,
    /// Threads that wait for a job's time. While anything is queued there is at least one, unless
    /// all threads up to the bound are busy.
    idle: usize,
    /// When the next of them wakes by itself, at the latest; `None` if that is not known.
    looks_at: Option<Instant>,
    /// The cache was dropped.
    stopped: bool,
}

/// Where a job is.
#[derive(Clone, Copy)]
enum Stage {
    Queued(Instant),
    /// A thread runs it.
    Busy {
        hurried: bool,
    },
}

/// A job of the timer. Dropping this ends the job; a run that has started completes.
pub(crate) struct Task(Hurry);

/// A handle to run a job at once.
#[derive(Clone)]
pub(crate) struct Hurry {
    shared: Weak<Shared>,
    number: u64,
}

impl Timer {
    /// Runs the job after `first`, and again after each pause that it returns.
    pub(crate) fn start(
        &self,
        first: Duration,
        job: impl FnMut(&Hurry) -> Option<Duration> + Send + 'static,
    ) -> Task {
        Task(Hurry {
            shared: Arc::downgrade(&self.0),
            number: self.put(first, Box::new(job)),
        })
    }

    /// Runs the job once, as soon as a thread is free.
    #[cfg(feature = "tokio")]
    pub(crate) fn once(&self, job: impl FnOnce() + Send + 'static) {
        let mut job = Some(job);
        self.put(
            Duration::ZERO,
            Box::new(move |_| {
                job.take()?();
                None
            }),
        );
    }

    /// Queues a job and returns its number.
    fn put(&self, first: Duration, job: Job) -> u64 {
        let at = Instant::now() + first;
        let mut state = self.0.lock();
        state.last += 1;
        let number = state.last;
        state.put(at, number, job);
        self.0.see_to_a_thread(&mut state);
        // Most locks are released long before their job's time: none of them wakes a thread.
        if state.looks_at.is_none_or(|looks_at| at < looks_at) {
            self.0.bell.notify_one();
        }
        number
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.0.lock().stopped = true;
        self.0.bell.notify_all();
    }
}

impl Hurry {
    /// Runs the job at once, or once more if it is running.
    pub(crate) fn now(&self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let mut state = shared.lock();
        match state.stages.get(&self.number).copied() {
            Some(Stage::Queued(at)) => {
                if let Some(job) = state.queue.remove(&(at, self.number)) {
                    state.put(Instant::now(), self.number, job);
                }
                shared.bell.notify_one();
            }
            Some(Stage::Busy { .. }) => {
                let hurried = true;
                state.stages.insert(self.number, Stage::Busy { hurried });
            }
            None => {}
        }
    }
}

#[cfg(test)]
impl Task {
    pub(crate) fn hurry(&self) {
        self.0.now();
    }
}

impl Task {
    /// Ends the job before this is dropped.
    pub(crate) fn cancel(&self) {
        let Some(shared) = self.0.shared.upgrade() else {
            return;
        };
        let mut state = shared.lock();
        let job = match state.stages.remove(&self.0.number) {
            Some(Stage::Queued(at)) => state.queue.remove(&(at, self.0.number)),
            Some(Stage::Busy { .. }) | None => None,
        };
        drop(state);
        // After the lock is released: dropping what the job owns may do work of its own.
        drop(job);
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl State {
    fn put(&mut self, at: Instant, number: u64, job: Job) {
        self.stages.insert(number, Stage::Queued(at));
        self.queue.insert((at, number), job);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a thread if none waits for the next job's time.
    fn see_to_a_thread(self: &Arc<Self>, state: &mut State) {
        if state.idle > 0 || state.threads >= limits::TIMER_THREADS || state.queue.is_empty() {
            return;
        }
        let shared = Arc::clone(self);
        match thread::Builder::new()
            .name("cachetx-timer".to_owned())
            .spawn(move || shared.run())
        {
            // Counted before it runs, so that no other caller starts another one meanwhile.
            Ok(_) => {
                state.threads += 1;
                state.idle += 1;
            }
            Err(e) if state.threads == 0 => {
                log::error!("no thread renews leases, marks and locks: {e}");
            }
            Err(e) => log::warn!("no more threads renew leases, marks and locks: {e}"),
        }
    }

    fn run(self: &Arc<Self>) {
        while let Some((number, mut job)) = self.next() {
            let hurry = Hurry {
                shared: Arc::downgrade(self),
                number,
            };
            // A job that panics (a caller's hook) must not end the others.
            let again = catch_unwind(AssertUnwindSafe(|| job(&hurry))).unwrap_or_else(|_| {
                log::error!("a job of the background panicked and is ended");
                None
            });
            let mut state = self.lock();
            let stage = state.stages.remove(&number);
            if let (Some(Stage::Busy { hurried }), Some(pause)) = (stage, again) {
                let pause = if hurried { Duration::ZERO } else { pause };
                state.put(Instant::now() + pause, number, job);
            }
            state.idle += 1;
        }
    }

    /// The next job, at its time; `None` ends the thread, which counted as idle.
    fn next(self: &Arc<Self>) -> Option<(u64, Job)> {
        let mut state = self.lock();
        let mut linger = Instant::now() + limits::TIMER_LINGER;
        let next = loop {
            let now = Instant::now();
            let first = state.queue.keys().next().copied();
            let until = match first {
                _ if state.stopped => break None,
                Some(key) if key.0 <= now => {
                    let hurried = false;
                    state.stages.insert(key.1, Stage::Busy { hurried });
                    break state.queue.remove(&key).map(|job| (key.1, job));
                }
                // Two threads stay: one takes the job, and the other waits for the next.
                Some((at, _)) if state.idle <= 2 => {
                    linger = now + limits::TIMER_LINGER;
                    at
                }
                _ if linger <= now => break None,
                Some((at, _)) => at.min(linger),
                None => linger,
            };
            state.looks_at = Some(state.looks_at.map_or(until, |at| at.min(until)));
            let waited = self.bell.wait_timeout(state, until - now);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.looks_at = None;
        };
        state.idle -= 1;
        match next {
            Some(_) => self.see_to_a_thread(&mut state),
            None => state.threads -= 1,
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, channel};

    const LONG: Duration = Duration::from_secs(3_600);
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A job that sends a message at each run, and then waits for `pause`.
    fn job(timer: &Timer, first: Duration, pause: Option<Duration>) -> (Task, Receiver<()>) {
        let (say, said) = channel();
        let task = timer.start(first, move |_| {
            let _ = say.send(());
            pause
        });
        (task, said)
    }

    #[test]
    fn jobs_are_done_in_the_order_of_their_times_and_again() {
        let timer = Timer::default();
        let (_late, never) = job(&timer, LONG, None);
        let (_soon, said) = job(
            &timer,
            Duration::from_millis(5),
            Some(Duration::from_millis(1)),
        );
        for _ in 0..10 {
            said.recv_timeout(PATIENCE).expect("again and again");
        }
        assert!(never.try_recv().is_err());
    }

    #[test]
    fn one_that_is_hurried_is_done_at_once_and_one_that_is_dropped_never() {
        let timer = Timer::default();
        let (dropped, gone) = job(&timer, LONG, None);
        let (task, said) = job(&timer, LONG, Some(LONG));
        drop(dropped);
        assert!(
            gone.recv_timeout(PATIENCE).is_err(),
            "what it owned is gone too"
        );
        for _ in 0..3 {
            task.hurry();
            said.recv_timeout(PATIENCE).expect("at once");
        }
        assert_eq!(
            timer.0.lock().stages.len(),
            1,
            "nothing of the dropped one is kept"
        );
    }

    #[test]
    fn jobs_that_take_long_keep_no_others_waiting_up_to_a_bound() {
        let timer = Timer::default();
        let ends = Arc::new(Mutex::new(()));
        let held = ends.lock().unwrap();
        let (begin, began) = channel();
        let long: Vec<Task> = (0..limits::TIMER_THREADS)
            .map(|_| {
                let (ends, begin) = (Arc::clone(&ends), begin.clone());
                timer.start(Duration::ZERO, move |_| {
                    begin.send(()).unwrap();
                    drop(ends.lock());
                    None
                })
            })
            .collect();
        for _ in 1..limits::TIMER_THREADS {
            began.recv_timeout(PATIENCE).expect("a thread of its own");
        }
        let (one_more, said) = job(&timer, Duration::ZERO, Some(LONG));
        began.recv_timeout(PATIENCE).expect("the last thread");
        assert_eq!(timer.0.lock().threads, limits::TIMER_THREADS);
        drop(held);
        said.recv_timeout(PATIENCE).expect("when a thread is free");
        drop((long, one_more));
    }

    #[test]
    fn one_that_panics_takes_no_other_along_and_the_thread_ends_with_the_timer() {
        let timer = Timer::default();
        let _bad = timer.start(Duration::ZERO, |_| panic!("expected"));
        let (task, said) = job(&timer, Duration::ZERO, Some(LONG));
        said.recv_timeout(PATIENCE).expect("done");
        task.hurry();
        said.recv_timeout(PATIENCE).expect("done again");
        let shared = Arc::downgrade(&timer.0);
        drop((timer, task));
        let end = Instant::now() + PATIENCE;
        while shared.strong_count() > 0 {
            assert!(Instant::now() < end, "the thread goes on");
            std::thread::yield_now();
        }
    }
}
