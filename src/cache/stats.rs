use super::observe::Latencies;
use crate::engine::{self, BreakerState};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts of what a cache has done since it was opened. It serializes under the names of its
/// fields, which are stable.
///
/// # Examples
///
/// ```
/// # use cachetx::{Cache, Document, Params, Rules, Store};
/// # let folder = tempfile::tempdir()?;
/// # let cache = Cache::builder(Rules::from_path("rules/shop.json")?).in_memory().open()?;
/// # let store = Store::builder(&cache).root(folder.path()).run_param("shop_id")
/// #     .layout_of("product", "{shop_id}/product-{sku}.json").open()?;
/// # let sku = Params::new().with("sku", "tea");
/// # let tea: Document<serde_json::Value> = store.document_with("main-street", "product", sku)?;
/// # tea.create(&serde_json::json!({ "cents": 400 }))?;
/// let stats = cache.stats();
/// assert_eq!((stats.commits, stats.outbox_pending), (1, 0));
/// println!("{}", serde_json::to_string(&stats)?);
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Locks acquired.
    pub locks: u64,
    /// Acquired locks that another holder had at the first request.
    pub lock_waits: u64,
    /// Locks that another holder kept for as long as the caller would wait, `try_lock` included.
    pub lock_timeouts: u64,
    /// Saves, updates, transactions and deletions that were refused; nothing was written.
    pub saves_refused: u64,
    /// Saves, and tries of updates, whose file was no longer the one that they had read. Updates
    /// retry.
    pub conflicts: u64,
    /// Saves whose entry was set and whose dependents were deleted in one step.
    pub commits: u64,
    /// Saves and invalidations that only deleted.
    pub invalidations: u64,
    /// Saves and invalidations that the server did not take, and that were recorded in the outbox.
    pub deferred: u64,
    /// Saves and invalidations that the server did not take and that could not be recorded.
    pub unrecorded: u64,
    /// Records in this process's outbox that wait for the server. After
    /// [`Cache::close`](crate::Cache::close), those in the file that it left to other processes,
    /// until one of them has replayed all of it.
    pub outbox_pending: u64,
    /// Records replayed to the server, those of dead processes included.
    pub outbox_replayed: u64,
    /// Damaged lines in dead processes' outboxes, moved to `.poison` files.
    pub outbox_set_aside: u64,
    /// Times that the last changes were deleted again because a server had replaced the one that
    /// took them.
    pub echoes: u64,
    /// Times that other rules came into force.
    pub rules_replaced: u64,
    /// Rules that were refused, or whose file could not be compiled.
    pub rules_refused: u64,
    /// Locks found lost when they were renewed or committed.
    pub locks_lost: u64,
    /// Documents whose file was unchanged since it was last read: no server, no reading, no
    /// parsing.
    pub reads_from_snapshot: u64,
    /// Documents read from their file.
    pub reads_from_file: u64,
    /// Values that [`Cache::get_or_load`](crate::Cache::get_or_load) found on the server.
    pub hits: u64,
    /// Values that it had to load, or loaded early.
    pub loads: u64,
    /// Values that it filled.
    pub fills: u64,
    /// Values that it could not fill because the entry was changed during the load.
    pub fills_refused: u64,
    /// Requests sent to the server, a pipeline counted once.
    pub round_trips: u64,
    /// Scripts loaded again because a server had lost them.
    pub reloads: u64,
    /// Connections opened to replace one that a server or the network had closed. Failed attempts
    /// are not counted.
    pub reconnects: u64,
    /// Operations redirected to another server of a Cluster, or to a new primary.
    pub redirects: u64,
    /// Operations that were not sent because the circuit breaker was open.
    pub skipped: u64,
    /// Whether operations are sent to the server now.
    pub breaker: BreakerState,
    /// Open connections to all servers, without those for messages about locks.
    pub connections_open: u64,
    /// Open connections that are not in use. One that tasks share counts as idle.
    pub connections_idle: u64,
    /// Calls for which no connection became free for as long as they would wait
    /// ([`CacheBuilder::pool_size`](crate::CacheBuilder::pool_size)).
    pub connection_timeouts: u64,
    /// Latencies; `None` unless
    /// [`CacheBuilder::measure_latencies`](crate::CacheBuilder::measure_latencies) was set.
    pub latencies: Option<Latencies>,
}

/// A count that threads share.
#[derive(Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.add_some(1);
    }

    pub(crate) fn add_some(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) locks: Counter,
    pub(crate) lock_waits: Counter,
    pub(crate) lock_timeouts: Counter,
    pub(crate) saves_refused: Counter,
    pub(crate) conflicts: Counter,
    pub(crate) commits: Counter,
    pub(crate) invalidations: Counter,
    pub(crate) deferred: Counter,
    pub(crate) unrecorded: Counter,
    pub(crate) rules_replaced: Counter,
    pub(crate) rules_refused: Counter,
    pub(crate) locks_lost: Counter,
    pub(crate) reads_from_snapshot: Counter,
    pub(crate) reads_from_file: Counter,
    pub(crate) hits: Counter,
    pub(crate) loads: Counter,
    pub(crate) fills: Counter,
    pub(crate) fills_refused: Counter,
}

impl Counters {
    pub(super) fn read(&self, breaker: BreakerState, engine: &engine::Counters) -> Stats {
        Stats {
            locks: self.locks.get(),
            lock_waits: self.lock_waits.get(),
            lock_timeouts: self.lock_timeouts.get(),
            saves_refused: self.saves_refused.get(),
            conflicts: self.conflicts.get(),
            commits: self.commits.get(),
            invalidations: self.invalidations.get(),
            deferred: self.deferred.get(),
            unrecorded: self.unrecorded.get(),
            outbox_pending: 0,
            outbox_replayed: 0,
            outbox_set_aside: 0,
            echoes: 0,
            rules_replaced: self.rules_replaced.get(),
            rules_refused: self.rules_refused.get(),
            locks_lost: self.locks_lost.get(),
            reads_from_snapshot: self.reads_from_snapshot.get(),
            reads_from_file: self.reads_from_file.get(),
            hits: self.hits.get(),
            loads: self.loads.get(),
            fills: self.fills.get(),
            fills_refused: self.fills_refused.get(),
            round_trips: engine.round_trips(),
            reloads: engine.reloads(),
            reconnects: engine.reconnects(),
            redirects: engine.redirects(),
            skipped: engine.skips(),
            breaker,
            connections_open: engine.open_connections(),
            connections_idle: engine.idle_connections(),
            connection_timeouts: engine.connection_timeouts(),
            latencies: None,
        }
    }
}
