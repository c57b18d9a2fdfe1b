//! Keys and values: rules, an engine and what they have done so far.

mod around;
mod backend;
mod builder;
mod echo;
mod held;
mod life;
mod load;
pub(crate) mod observe;
mod open;
mod outbox;
mod replayer;
mod slots;
mod stats;
#[cfg(feature = "tokio")]
mod tasks;
mod timer;
#[cfg(feature = "watch")]
mod watch;

pub use builder::CacheBuilder;
pub use load::{OnBusy, PutOutcome};
pub use outbox::{OutboxFile, OutboxRecord};
pub use slots::CrossSlot;
pub use stats::Stats;
pub(crate) use timer::{Hurry, Task};
#[cfg(feature = "watch")]
pub use watch::RulesWatch;

use crate::{
    disk::{Invalidation, Outbox, OutboxAction, OutboxGot},
    drive::{blocks, now},
    engine::{Breaker, Ear, EngineReport, Net, Watch, at_once},
    model::{Entry, Error, Result, Span, error::Kind},
    op::{Ask, Fault, Invalidate, InvalidateReply, Op, Reply, Space, keys},
    protocol::{CacheOutcome, Replayed, Spread, deferred},
    rules::{KeyList, LiveRules, Params, Rules},
};
use arcstr::ArcStr;
use observe::{Observers, Recorder};
pub(crate) use replayer::Look;
use replayer::Replayer;
use stats::Counters;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use timer::Timer;

/// Rules and a connection to a server. Cheap to clone; clones share connections and counters.
///
/// Its threads and connections belong to the process that opened it. A child process that continues
/// after `fork` without `exec` has to open its own cache.
///
/// # Examples
///
/// ```no_run
/// use cachetx::{Cache, Params, Rules};
///
/// let rules = Rules::from_path("rules/nodb.json")?;
/// let cache = Cache::builder(rules).url("redis://127.0.0.1/").open()?;
/// let params = Params::new().with("run_id", "copacetic-sled");
/// let outcome = cache.invalidate(["build_soils"], &params)?;
/// assert!(outcome.is_settled());
/// # Ok::<(), cachetx::Error>(())
/// ```
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

struct Inner {
    rules: Arc<LiveRules>,
    /// Declared before the engine and the outbox: dropping it ends the thread that uses them.
    replayer: Replayer,
    engine: Arc<Breaker>,
    outbox: Arc<Outbox>,
    /// Whether a store's root may hold the outbox: not if the builder names a folder, nor if the
    /// server does not outlive the process.
    takes_folders: bool,
    counters: Counters,
    observers: Observers,
    /// Measures latencies; it is one of the observers.
    recorder: Option<Arc<Recorder>>,
    cross_slot: CrossSlot,
    response_timeout: Duration,
    lease_ttl: Duration,
    mark_ttl: Duration,
    on_busy: OnBusy,
    lives: life::Lives,
    timer: Timer,
    #[cfg(feature = "tokio")]
    tasks: tasks::Tasks,
}

impl Cache {
    /// Starts a builder with these rules. Set a server and call [`CacheBuilder::open`].
    pub fn builder(rules: Rules) -> CacheBuilder {
        CacheBuilder::new(rules)
    }

    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Rules {
        self.0.rules.get()
    }

    /// Replaces the rules at once, for all documents of the cache: tasks, dependents and TTLs may
    /// change. Saves that have begun continue with the old rules. Returns whether anything changed.
    /// Other processes keep their rules until they replace them; at boot they warn about different
    /// rules.
    ///
    /// # Errors
    ///
    /// [`Error::is_config`](crate::Error::is_config) if the new rules have other controllers or
    /// other keys, which documents in use would not know. The old rules stay in force.
    ///
    /// # Examples
    ///
    /// ```
    /// # use cachetx::{Cache, Rules};
    /// let rules = |tasks: &str| Rules::from_json(&format!(
    ///     r#"{{ "version": "1.0", "cache_keys": {{ "a": "{{run_id}}:a" }}, "rules": {{ {tasks} }} }}"#));
    /// let cache = Cache::builder(rules("")?).in_memory().open()?;
    /// assert!(cache.replace_rules(rules(r#""build": { "invalidates_cache": ["a"] }"#)?)?);
    /// assert!(cache.rules().has_task("build"));
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn replace_rules(&self, rules: Rules) -> Result<bool> {
        let replaced = self.0.rules.replace(rules);
        match &replaced {
            Ok(true) => self.rules_changed(Ok(())),
            Ok(false) => {}
            Err(e) => self.rules_changed(Err(e)),
        }
        replaced
    }

    /// What boot found and loaded; `None` if the server was never reached.
    #[must_use]
    pub fn report(&self) -> Option<EngineReport> {
        let mut report = self.0.engine.report()?;
        if self.space() == Space::Slots {
            // For a single server these are only notes; for a Cluster they are warnings.
            report.notes.clear();
            report.warnings.extend(slots::warnings(&self.rules()));
        }
        Some(report)
    }

    /// Sends the server a request that every user may send, and measures the time until the answer.
    /// In a Cluster the primaries are asked one after the other, and the time is the total. The
    /// circuit breaker does not hold it back.
    ///
    /// # Errors
    ///
    /// [`Error::is_unavailable`](crate::Error::is_unavailable) if a server does not answer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use cachetx::{Cache, Rules};
    /// let cache = Cache::builder(Rules::from_path("rules/nodb.json")?).in_memory().open()?;
    /// assert!(cache.ping()?.as_secs() < 10);
    /// # Ok::<(), cachetx::Error>(())
    /// ```
    pub fn ping(&self) -> Result<Duration> {
        blocks();
        let asked_at = Instant::now();
        let servers = self.0.engine.servers().map_err(Fault::into_error)?;
        let took = asked_at.elapsed();
        match servers.complete {
            true => Ok(took),
            false => Err(Error::new(Kind::Unavailable {
                message: "a server does not answer".to_owned(),
            })),
        }
    }

    /// Counts of what this cache has done since it was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (engine, outbox) = (&self.0.engine, &self.0.outbox);
        Stats {
            outbox_pending: outbox.pending(),
            outbox_replayed: self.0.replayer.replayed(),
            outbox_set_aside: outbox.set_aside(),
            echoes: self.0.replayer.echoes(),
            latencies: self.0.recorder.as_ref().map(|recorder| recorder.read()),
            ..self.0.counters.read(engine.state(), engine.counters())
        }
    }

    /// Deletes the entries that the tasks make out of date, in one atomic step, even on a full
    /// server. In a Cluster with [`CrossSlot::Split`], one step per hash slot.
    ///
    /// # Errors
    ///
    /// An unknown task, a param that is missing or not allowed in a key, or keys in several hash
    /// slots of a Cluster: nothing was deleted. An unreachable server is not an error: the
    /// invalidation is recorded in the outbox and replayed later, and the outcome is
    /// [`CacheOutcome::Deferred`].
    pub fn invalidate(
        &self,
        tasks: impl IntoIterator<Item: AsRef<str>>,
        params: &Params,
    ) -> Result<CacheOutcome> {
        let mut names = Vec::new();
        let keys = self.rules().expand(self.named(tasks, &mut names), params)?;
        at_once(self.invalidate_by(Net::Threads, &names, &keys, params))
    }

    pub(crate) async fn invalidate_by(
        &self,
        net: Net,
        tasks: &[String],
        keys: &KeyList,
        params: &Params,
    ) -> Result<CacheOutcome> {
        let began = self.observers().begin();
        let mut steps = self.steps(self.entries(keys))?;
        if steps.is_empty() {
            // Nothing to delete. Ask the server all the same, so that the outcome is true.
            steps.push(Vec::new());
        }
        let (mut removed, mut missed, mut cause) = (0, Vec::new(), None);
        for entries in steps {
            let asked = Invalidate {
                entries: entries.clone(),
                raises: Vec::new(),
                token: String::new(),
                release: None,
            };
            match self.ask_by(net, asked).await {
                Ok(InvalidateReply::Removed(more)) => removed += more,
                Err(fault) => {
                    missed.extend(entries);
                    cause.get_or_insert(fault.into_error());
                }
            }
        }
        let outcome = match cause {
            None => CacheOutcome::Invalidated { removed },
            Some(cause) => {
                let record = OutboxAction::Defer(Invalidation {
                    entries: missed,
                    raises: Vec::new(),
                    release: None,
                    params: params.clone(),
                    at_ns: now().wall_ns,
                });
                deferred(cause, self.keep_by(net, record).await)
            }
        };
        self.invalidated("an invalidation", tasks, began, &outcome);
        Ok(outcome)
    }

    /// Replays the outbox, and the outboxes of dead processes. A background thread does this too;
    /// call it to know that it is done, and with what result.
    ///
    /// # Errors
    ///
    /// Only a bug in the library. An unreachable server is not an error: see [`Replayed::left`] and
    /// [`Replayed::cause`].
    pub fn replay_outbox(&self) -> Result<Replayed> {
        self.0.replayer.replay()
    }

    /// Replays the outbox once more, stops its thread, and releases its files: records that could
    /// not be replayed are left to other processes, or to the next one. A save or a change that is
    /// running in another thread keeps its record until it ends. The thread that reads messages
    /// about locks stops too. The cache and its clones still work without these threads; what they
    /// record from now on is left to other processes at once.
    ///
    /// Dropping the last clone does the same without the replay.
    ///
    /// # Errors
    ///
    /// As [`Cache::replay_outbox`].
    pub fn close(&self) -> Result<Replayed> {
        self.0.replayer.stop();
        let replayed = self.replay_outbox();
        self.0.outbox.close();
        self.0.engine.close();
        replayed
    }

    /// Puts the outbox into a store's root, unless it has a folder.
    pub(crate) fn offer_outbox_folder(&self, folder: &Path) {
        if self.0.takes_folders && self.0.outbox.add_folder(folder) {
            self.0.replayer.start();
            self.0.replayer.ring();
        }
    }

    /// Makes the background thread call `look` each time it looks, until that returns
    /// [`Look::Over`].
    pub(crate) fn look_too(&self, look: impl FnMut() -> Look + Send + 'static) {
        self.0.replayer.look_too(Box::new(look));
        self.0.replayer.start();
    }

    /// Performs an action of a protocol on the outbox.
    pub(crate) fn keep(&self, action: &OutboxAction) -> Result<OutboxGot> {
        let kept = self.0.outbox.perform(action);
        if self.0.outbox.ripe() > 0 {
            self.0.replayer.start();
        }
        kept
    }

    /// Runs an operation. After a success, waiting records of the outbox are replayed.
    pub(crate) fn perform(&self, op: Op) -> Result<Reply, Fault> {
        blocks();
        let on_its_way = self.0.replayer.on_its_way(&op);
        let span = Span::request(op.name());
        let done = span.inside(|| self.0.engine.perform(&op))?;
        self.0.replayer.follow(op, done.by);
        drop(on_its_way);
        Ok(done.reply)
    }

    #[cfg(feature = "tokio")]
    pub(crate) async fn perform_in_task(&self, op: Op) -> Result<Reply, Fault> {
        let on_its_way = self.0.replayer.on_its_way_in_task(&op).await;
        let span = Span::request(op.name());
        let done = span.around(self.0.engine.perform_in_task(&op)).await?;
        self.0.replayer.follow(op, done.by);
        drop(on_its_way);
        Ok(done.reply)
    }

    /// Runs one operation outside a protocol.
    pub(crate) fn ask<A: Ask>(&self, op: A) -> Result<A::Reply, Fault> {
        at_once(self.ask_by(Net::Threads, op))
    }

    /// Joins a channel's queue of waiters.
    pub(crate) fn listen(&self, channel: &str) -> Ear {
        self.0.engine.listen(channel)
    }

    /// Whether anything in this process waits in the channel's queue.
    pub(crate) fn is_awaited(&self, channel: &str) -> bool {
        self.0.engine.is_awaited(channel)
    }

    /// Calls `heard` for every message of the channel.
    pub(crate) fn watch(&self, channel: &str, heard: impl Fn() + Send + Sync + 'static) -> Watch {
        self.0.engine.watch(channel, heard)
    }

    /// Runs periodic background jobs.
    pub(crate) fn timer(&self) -> &Timer {
        &self.0.timer
    }

    pub(crate) fn space(&self) -> Space {
        self.0.engine.space()
    }

    /// The entries of these keys, with the names that this server uses for them.
    pub(crate) fn entries(&self, keys: &KeyList) -> Vec<Entry> {
        self.space().place(entries(keys))
    }

    /// The lists of entries that one step each can delete. Refused if there are several and the
    /// cache may not split.
    fn steps(&self, entries: Vec<Entry>) -> Result<Vec<Vec<Entry>>> {
        let steps = self.space().divide(entries, |entry| &entry.value);
        if let (CrossSlot::Refuse, [first, second, ..]) = (self.0.cross_slot, &steps[..]) {
            self.space().meet(&first[0].value, &second[0].value)?;
        }
        Ok(steps)
    }

    /// Divides the dependents of `own` into those that can be deleted in one step with it, and the
    /// steps that follow.
    ///
    /// # Errors
    ///
    /// There are steps that follow, and the cache may not split. Nothing has been written yet.
    pub(crate) fn split(&self, own: &Entry, dependents: Vec<Entry>) -> Result<Spread> {
        let mut spread = Spread::default();
        if self.space() == Space::Whole || cfg!(cachetx_without_slot_check) {
            spread.here = dependents;
            return Ok(spread);
        }
        for step in self.space().divide(dependents, |entry| &entry.value) {
            match self.space().meet(&own.value, &step[0].value) {
                Ok(()) => spread.here = step,
                Err(e) if self.0.cross_slot == CrossSlot::Refuse => return Err(e),
                Err(_) => spread.elsewhere.push(step),
            }
        }
        Ok(spread)
    }

    /// Lists of own entries, by index, that one commit each can set.
    ///
    /// # Errors
    ///
    /// There are several lists, and the cache may not split. Nothing has been written yet.
    pub(crate) fn commits(&self, owns: &[&Entry]) -> Result<Vec<Vec<usize>>> {
        let numbered: Vec<(usize, &str)> = owns.iter().map(|own| &*own.value).enumerate().collect();
        let steps = self.space().divide(numbered, |(_, key)| key);
        if let (CrossSlot::Refuse, [first, second, ..]) = (self.0.cross_slot, &steps[..]) {
            self.space().meet(first[0].1, second[0].1)?;
        }
        let numbers = |step: Vec<(usize, &str)>| step.into_iter().map(|(n, _)| n).collect();
        Ok(steps.into_iter().map(numbers).collect())
    }

    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// The life of an entry that is set now and has `ttl` in the rules. With jitter, each call
    /// draws a new one.
    pub(crate) fn entry_life(&self, ttl: Duration) -> Duration {
        self.0.lives.entry(ttl)
    }

    pub(crate) fn lease_ttl(&self) -> Duration {
        self.0.lease_ttl
    }

    pub(crate) fn mark_ttl(&self) -> Duration {
        self.0.mark_ttl
    }

    pub(crate) fn response_timeout(&self) -> Duration {
        self.0.response_timeout
    }
}

impl From<&Cache> for Cache {
    fn from(cache: &Cache) -> Self {
        cache.clone()
    }
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("report", &self.report())
            .finish_non_exhaustive()
    }
}

/// The entries of these keys. Consecutive keys of one run share the name of their leases.
fn entries(keys: &KeyList) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::with_capacity(keys.len());
    let text = ArcStr::from(keys.text());
    let mut last = None;
    for (spot, first_param) in keys.with_first_params() {
        let key = &text[spot.clone()];
        let group = keys::leases_group(key, first_param);
        let leases = match entries.last() {
            Some(entry) if last == Some(group) => entry.leases.clone(),
            _ => keys::leases(key, first_param).into(),
        };
        last = Some(group);
        entries.push(Entry {
            value: text.substr(spot),
            leases,
        });
    }
    entries
}
