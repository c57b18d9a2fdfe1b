//! Spans of the `tracing` facade (feature `tracing`).

use std::fmt;
use tracing::{Instrument as _, debug_span, field, info_span};

/// A span. It is entered while its work is polled or runs, and never held across an await.
#[derive(Clone, Debug)]
pub(crate) struct Span(tracing::Span);

impl Span {
    fn of(span: tracing::Span) -> Self {
        Self(span)
    }

    /// A request for a document's lock.
    pub(crate) fn lock(document: &str) -> Self {
        Self::of(info_span!("cachetx.lock", document, outcome = field::Empty))
    }

    /// A save, an update, a transaction or a deletion.
    pub(crate) fn save(kind: &'static str, documents: &dyn fmt::Display, tasks: &[String]) -> Self {
        Self::of(info_span!(
            "cachetx.save",
            kind,
            document = %documents,
            ?tasks,
            outcome = field::Empty
        ))
    }

    /// A request for a value, which is loaded if the server has none.
    pub(crate) fn load(controller: &str, key: &str) -> Self {
        Self::of(info_span!(
            "cachetx.load",
            controller,
            key,
            outcome = field::Empty
        ))
    }

    /// A replay of the outbox.
    pub(crate) fn replay() -> Self {
        Self::of(debug_span!(
            "cachetx.replay",
            records = field::Empty,
            left = field::Empty
        ))
    }

    pub(crate) fn none() -> Self {
        Self::of(tracing::Span::none())
    }

    /// An operation on its way to the server: `Acquire`, `Commit`, …
    pub(crate) fn request(operation: &'static str) -> Self {
        Self::of(debug_span!("cachetx.request", operation))
    }

    /// The current span of this thread or task.
    #[cfg(feature = "tokio")]
    pub(crate) fn current() -> Self {
        Self::of(tracing::Span::current())
    }

    pub(crate) fn outcome(&self, outcome: &str) {
        self.0.record("outcome", outcome);
    }

    pub(crate) fn replayed(&self, records: u64, left: u64) {
        self.0.record("records", records);
        self.0.record("left", left);
    }

    pub(crate) async fn around<F: Future>(&self, work: F) -> F::Output {
        work.instrument(self.0.clone()).await
    }

    pub(crate) fn inside<R>(&self, work: impl FnOnce() -> R) -> R {
        self.0.in_scope(work)
    }
}
