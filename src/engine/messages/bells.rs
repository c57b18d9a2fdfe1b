use crate::model::limits;
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

/// The listeners in this process, by channel.
#[derive(Default)]
pub(crate) struct Bells {
    channels: Mutex<HashMap<String, Bell>>,
    /// A channel without listeners was joined.
    changed: AtomicBool,
    /// Messages need no connection: they stay inside the process.
    always_live: bool,
    /// Channels are forgotten as soon as nobody listens: there is no connection to keep them for.
    forgetful: AtomicBool,
}

/// The listeners of one channel.
#[derive(Default)]
struct Bell {
    /// Whether messages come. If not, waiters poll as often as without messages.
    live: bool,
    /// Longest waiting first.
    waiters: Vec<Arc<Waiter>>,
    watchers: Vec<Arc<dyn Fn() + Send + Sync>>,
    /// Since when nobody listens. The channel is kept for a while: a lock in demand soon has a
    /// listener again.
    idle_since: Option<Instant>,
}

#[derive(Default)]
struct Waiter {
    rung: Mutex<bool>,
    bell: Condvar,
    #[cfg(feature = "tokio")]
    task: tokio::sync::Notify,
}

impl Waiter {
    fn ring(&self) {
        *lock(&self.rung) = true;
        self.bell.notify_one();
        #[cfg(feature = "tokio")]
        self.task.notify_one();
    }

    fn is_rung(&self) -> bool {
        *lock(&self.rung)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bells {
    /// For messages that come without a connection.
    pub(in crate::engine) fn always_live() -> Self {
        Self {
            always_live: true,
            forgetful: AtomicBool::new(true),
            ..Self::default()
        }
    }

    /// Joins the channel's queue. Earlier messages were missed: if messages come already and the
    /// queue is empty, the first wait returns at once.
    pub(crate) fn listen(self: &Arc<Self>, channel: &str) -> Ear {
        let waiter = Arc::new(Waiter::default());
        self.join(channel, |bell| {
            *lock(&waiter.rung) = bell.live && bell.waiters.is_empty();
            bell.waiters.push(Arc::clone(&waiter));
        });
        Ear {
            bells: Arc::clone(self),
            channel: channel.to_owned(),
            waiter,
        }
    }

    /// Whether messages come on the channel and somebody waits for one.
    pub(crate) fn is_awaited(&self, channel: &str) -> bool {
        let channels = lock(&self.channels);
        channels
            .get(channel)
            .is_some_and(|bell| bell.live && !bell.waiters.is_empty())
    }

    /// Calls `heard` for every message from now on, in the thread that delivers it. Calls it at
    /// once if messages come already.
    pub(crate) fn watch(
        self: &Arc<Self>,
        channel: &str,
        heard: impl Fn() + Send + Sync + 'static,
    ) -> Watch {
        let heard: Arc<dyn Fn() + Send + Sync> = Arc::new(heard);
        let live = self.join(channel, |bell| {
            bell.watchers.push(Arc::clone(&heard));
            bell.live
        });
        if live {
            heard();
        }
        Watch {
            bells: Arc::clone(self),
            channel: channel.to_owned(),
            heard,
        }
    }

    fn join<T>(&self, channel: &str, add: impl FnOnce(&mut Bell) -> T) -> T {
        let mut channels = lock(&self.channels);
        let bell = channels.entry(channel.to_owned()).or_insert_with(|| {
            self.changed.store(true, SeqCst);
            Bell {
                live: self.always_live,
                ..Bell::default()
            }
        });
        bell.idle_since = None;
        add(bell)
    }

    fn leave(&self, channel: &str, remove: impl FnOnce(&mut Bell)) {
        let mut channels = lock(&self.channels);
        if let Some(bell) = channels.get_mut(channel) {
            remove(bell);
            if bell.is_idle() && self.forgetful.load(SeqCst) {
                channels.remove(channel);
            } else if bell.is_idle() {
                bell.idle_since = Some(Instant::now());
            }
        }
    }

    /// A message: wakes the one that has waited longest. That one acquires the lock and tells the
    /// next when it releases it, or finds the lock held by another, who will tell.
    pub(crate) fn ring(&self, channel: &str) {
        let mut watchers = Vec::new();
        if let Some(bell) = lock(&self.channels).get(channel) {
            bell.ring_next();
            watchers.clone_from(&bell.watchers);
        }
        // Watchers may leave now, or join another channel.
        watchers.iter().for_each(|heard| heard());
    }

    /// Called when messages start to come. Earlier ones were missed, so every listener looks once.
    pub(crate) fn is_live(&self, channel: &str) {
        let mut watchers = Vec::new();
        if let Some(bell) = lock(&self.channels).get_mut(channel) {
            bell.live = true;
            bell.waiters.iter().for_each(|waiter| waiter.ring());
            watchers.clone_from(&bell.watchers);
        }
        watchers.iter().for_each(|heard| heard());
    }

    /// Called when messages stop on all channels: waiters begin to poll.
    pub(super) fn are_deaf(&self) {
        for bell in lock(&self.channels).values_mut() {
            bell.live = false;
            bell.waiters.iter().for_each(|waiter| waiter.ring());
        }
        self.changed.store(true, SeqCst);
    }

    /// Called when no thread delivers messages any more.
    pub(super) fn are_left(&self) {
        let mut channels = lock(&self.channels);
        self.forgetful.store(true, SeqCst);
        channels.retain(|_, bell| !bell.is_idle());
    }

    /// Whether a channel was added since the last call.
    pub(super) fn have_changed(&self) -> bool {
        self.changed.swap(false, SeqCst)
    }

    /// The channels to listen to. Those without a listener for a while are forgotten.
    pub(super) fn wanted(&self) -> HashSet<String> {
        let mut channels = lock(&self.channels);
        channels.retain(|_, bell| {
            let idle = bell.idle_since.map(|since| since.elapsed());
            idle.is_none_or(|idle| idle < limits::LISTEN_LINGER)
        });
        channels.keys().cloned().collect()
    }
}

impl std::fmt::Debug for Bells {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(lock(&self.channels).keys()).finish()
    }
}

impl Bell {
    fn ring_next(&self) {
        if let Some(next) = self.waiters.iter().find(|waiter| !waiter.is_rung()) {
            next.ring();
        }
    }

    fn is_idle(&self) -> bool {
        self.waiters.is_empty() && self.watchers.is_empty()
    }
}

/// A place in a channel's queue.
pub(crate) struct Ear {
    bells: Arc<Bells>,
    channel: String,
    waiter: Arc<Waiter>,
}

impl Ear {
    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// Waits for a message, at most for `time`. Returns whether messages come.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        let rung = lock(&self.waiter.rung);
        let waited = self
            .waiter
            .bell
            .wait_timeout_while(rung, time, |rung| !*rung);
        let (mut rung, _) = waited.unwrap_or_else(PoisonError::into_inner);
        *rung = false;
        drop(rung);
        self.messages_come()
    }

    /// The same in a task.
    #[cfg(feature = "tokio")]
    pub(crate) async fn wait_in_task(&self, time: Duration) -> bool {
        let rung = async {
            while !std::mem::take(&mut *lock(&self.waiter.rung)) {
                self.waiter.task.notified().await;
            }
        };
        // A message or a time-out: the waiter looks either way.
        let _ = tokio::time::timeout(time, rung).await;
        self.messages_come()
    }

    fn messages_come(&self) -> bool {
        lock(&self.bells.channels)
            .get(&self.channel)
            .is_some_and(|bell| bell.live)
    }
}

#[cfg(test)]
impl Ear {
    /// Whether a message is there for the next wait.
    pub(crate) fn is_rung(&self) -> bool {
        self.waiter.is_rung()
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.bells.leave(&self.channel, |bell| {
            bell.waiters
                .retain(|waiter| !Arc::ptr_eq(waiter, &self.waiter));
            // A message that this waiter did not act on goes to the next one.
            if self.waiter.is_rung() {
                bell.ring_next();
            }
        });
    }
}

/// Ends when dropped.
pub(crate) struct Watch {
    bells: Arc<Bells>,
    channel: String,
    heard: Arc<dyn Fn() + Send + Sync>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.bells.leave(&self.channel, |bell| {
            bell.watchers
                .retain(|heard| !Arc::ptr_eq(heard, &self.heard));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    const NOW: Duration = Duration::ZERO;

    fn heard(ear: &Ear) -> bool {
        let rung = ear.is_rung();
        ear.wait(NOW);
        rung
    }

    #[test]
    fn a_message_wakes_the_one_that_has_waited_longest_and_every_watcher() {
        let bells = Arc::new(Bells::default());
        let [first, second] = [bells.listen("l"), bells.listen("l")];
        let other = bells.listen("m");
        let messages = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&messages);
        let watch = bells.watch("l", move || {
            count.fetch_add(1, SeqCst);
        });
        bells.ring("l");
        assert!(heard(&first) && !heard(&second) && !heard(&other));
        // A waiter that finds the lock taken is still the first.
        bells.ring("l");
        bells.ring("l");
        assert!(heard(&first) && heard(&second));
        bells.ring("l");
        drop(first);
        assert!(heard(&second), "a message that was not followed goes on");
        assert_eq!(messages.load(SeqCst), 4);
        drop(watch);
        bells.ring("l");
        assert_eq!(messages.load(SeqCst), 4);
    }

    #[test]
    fn whoever_comes_first_looks_for_what_it_missed() {
        let bells = Arc::new(Bells::always_live());
        assert!(!bells.is_awaited("l"));
        let [first, second] = [bells.listen("l"), bells.listen("l")];
        assert!(bells.is_awaited("l") && !bells.is_awaited("m"));
        let deaf = Arc::new(Bells::default());
        let alone = deaf.listen("l");
        assert!(!deaf.is_awaited("l") && !alone.is_rung());
        assert!(heard(&first) && !heard(&second));
        drop((first, second));
        assert!(!bells.is_awaited("l"));
    }

    #[test]
    fn when_messages_begin_and_end_everybody_looks() {
        let bells = Arc::new(Bells::default());
        let [first, second] = [bells.listen("l"), bells.listen("l")];
        assert!(bells.have_changed() && !bells.have_changed());
        assert!(!first.wait(NOW));
        bells.is_live("l");
        assert!(heard(&first) && heard(&second));
        assert!(first.wait(NOW));
        bells.are_deaf();
        assert!(heard(&first) && heard(&second));
        assert!(!first.wait(NOW) && bells.have_changed());
        drop((first, second));
        assert!(bells.wanted().contains("l"), "for the next one");
        bells.are_left();
        assert!(bells.wanted().is_empty());
        drop(bells.listen("l"));
        assert!(bells.wanted().is_empty());
    }
}
