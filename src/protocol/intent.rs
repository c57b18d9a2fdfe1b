//! What a crash-safe writer does before it changes the truth: it records what it is about to make
//! out of date, then deletes and marks those entries, so that nobody fills them meanwhile. If the
//! writer dies, the marks last while readers may still load the old values, and the process that
//! takes over its outbox deletes again.

use super::{
    outcome::CacheOutcome,
    run::{Io, mismatch},
    steps::millis,
};
use crate::{
    disk::{Invalidation, OutboxAction, OutboxGot, Ticket},
    model::{Entry, Lock, Result},
    op::{Invalidate, Prepare, PrepareReply, Raise},
    rules::Params,
};
use std::time::Duration;

/// What a save guarantees about dependents if its process dies in the middle.
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
/// use cachetx::{Guarantee, Save};
///
/// let save = Save::new().tasks(["reprice"]).guarantee(Guarantee::CrashSafe);
/// tea.update_with(save, |tea| {
///     tea["cents"] = 500.into();
///     Ok(())
/// })?;
/// # Ok::<(), cachetx::BoxError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Guarantee {
    /// If the process dies between the file and the server, dependents stay stale until their TTL.
    /// Costs two round trips, including the lock's. The default.
    #[default]
    BestEffort,
    /// Dependents are right even then: they are recorded, deleted and marked before the file
    /// changes. Costs one more round trip and one more fsync (of the outbox).
    CrashSafe,
}

/// The entries that a writer is about to make out of date.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// For messages.
    pub(crate) what: String,
    /// One list per step on the server. The lock, if there is one, is checked in the first.
    pub(crate) steps: Vec<Vec<Entry>>,
    /// Own entries among them, whose stamps are raised.
    pub(crate) raises: Vec<Raise>,
    pub(crate) lock: Option<Lock>,
    /// Whether the lock is released at the end, so that a replay of the record must release it too.
    pub(crate) release: bool,
    /// What the keys were made from.
    pub(crate) params: Params,
    /// Token of the marks: 128 random bits in hex.
    pub(crate) token: String,
    /// How long the marks last.
    pub(crate) mark_ttl: Duration,
}

/// A recorded intent, marked as far as the server took the marks.
#[derive(Clone, Debug)]
pub(crate) struct Intent {
    scope: Scope,
    /// `None` if something else is the record.
    ticket: Option<Ticket>,
    marked_at: Duration,
}

impl Intent {
    /// Records the intent, then marks the entries. An unreachable server is not an error: the
    /// guarantee depends on the record.
    ///
    /// # Errors
    /// The outbox cannot keep the record. Nothing was done.
    pub(super) async fn declare(io: &Io, scope: Scope) -> Result<Self> {
        let what = Invalidation {
            entries: scope.steps.concat(),
            raises: scope.raises.clone(),
            release: scope.lock.clone().filter(|_| scope.release),
            params: scope.params.clone(),
            at_ns: io.now().wall_ns,
        };
        let ticket = match io.outbox(OutboxAction::Intend(what)).await? {
            OutboxGot::Kept(ticket) => ticket,
            _ => return Err(mismatch("the outbox")),
        };
        Ok(Self::marked(io, scope, Some(ticket)).await)
    }

    /// Marks entries that are durably recorded elsewhere, before the truth changes.
    pub(super) async fn mark_only(io: &Io, scope: Scope) -> Self {
        Self::marked(io, scope, None).await
    }

    async fn marked(io: &Io, scope: Scope, ticket: Option<Ticket>) -> Self {
        let mut intent = Self {
            scope,
            ticket,
            marked_at: Duration::ZERO,
        };
        intent.mark(io).await;
        intent
    }

    pub(crate) fn scope(&self) -> &Scope {
        &self.scope
    }

    pub(super) fn token(&self) -> &str {
        &self.scope.token
    }

    /// Renews the marks if they might end before the truth has changed.
    pub(super) async fn refresh(&mut self, io: &Io) {
        if io.now().boot.saturating_sub(self.marked_at) > self.scope.mark_ttl / 2 {
            self.mark(io).await;
        }
    }

    /// Renews the marks for their whole life. If that fails, a reader may load an old value while
    /// the writer is at work and fill it; the commit deletes it, and so does a replay.
    pub(super) async fn mark(&mut self, io: &Io) {
        if cfg!(cachetx_without_marks) {
            return;
        }
        let what = &self.scope.what;
        self.marked_at = io.now().boot;
        for (step, entries) in self.scope.steps.iter().enumerate() {
            let locks = self.scope.lock.iter().filter(|_| step == 0);
            let asked = Prepare {
                locks: locks.cloned().collect(),
                entries: entries.clone(),
                token: self.scope.token.clone(),
                ttl_ms: millis(self.scope.mark_ttl),
            };
            match io.server(asked).await {
                Ok(PrepareReply::Done) => {}
                // The file decides who may write; the present holder of the lock sets marks of its
                // own.
                Ok(PrepareReply::Lost) => {
                    log::warn!("{what}: the lock is lost, so nothing was marked before the save");
                }
                Err(fault) => {
                    let cause = fault.into_error();
                    let why =
                        format!("{what}: not marked before the change, but recorded: {cause}");
                    // Its end says the same.
                    if cause.is_unavailable() {
                        log::debug!("{why}");
                        return;
                    }
                    log::warn!("{why}");
                }
            }
        }
    }

    /// Drops the marks and retires the record, because nothing was changed.
    pub(super) async fn withdraw(self, io: &Io) {
        for entries in self.scope.steps {
            let erased = Invalidate {
                entries,
                raises: Vec::new(),
                token: self.scope.token.clone(),
                release: None,
            };
            if let Err(fault) = io.server(erased).await {
                let e = fault.into_error();
                log::debug!("{}: marks are left to their life: {e}", self.scope.what);
            }
        }
        if let Some(ticket) = self.ticket {
            retire(io, &self.scope.what, ticket).await;
        }
    }

    /// Ends the intent: what the server did not take is replayed from the record.
    pub(super) async fn settle(self, io: &Io, outcome: &CacheOutcome) {
        let Some(ticket) = self.ticket else { return };
        match outcome.is_settled() {
            true => retire(io, &self.scope.what, ticket).await,
            false => {
                let ripe = io.outbox(OutboxAction::Ripen(ticket)).await;
                // Only this process's memory says that it is ripe; the record itself is safe.
                if let Err(e) = ripe {
                    log::error!("{}: replayed when this process ends: {e}", self.scope.what);
                }
            }
        }
    }
}

async fn retire(io: &Io, what: &str, ticket: Ticket) {
    if let Err(e) = io.outbox(OutboxAction::Retire(ticket)).await {
        log::debug!("{what}: its record is replayed once more: {e}");
    }
}
