//! Counts and reports the store's locks and saves.

use super::names::Names;
use crate::{
    cache::{
        Cache,
        observe::{Began, DocumentName, Event, LockOutcome, SaveKind},
    },
    model::{Error, Result, Span},
    protocol::{Held, Outcome},
};
use std::fmt;

impl Names {
    fn shown(&self) -> DocumentName<'_> {
        DocumentName {
            run: &self.place.folder,
            controller: &self.listed.controller,
            name: &self.document,
        }
    }
}

/// A save, an update, a transaction or a deletion from its start to its end.
pub(super) struct Saving<'a> {
    cache: &'a Cache,
    kind: SaveKind,
    documents: &'a [&'a Names],
    tasks: &'a [String],
    began: Began,
    pub(super) span: Span,
    pub(super) round_trips: u32,
    /// Tries of an update that were overtaken.
    pub(super) conflicts: u32,
}

/// The documents' names, for messages.
struct Listing<'a>(&'a [&'a Names]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, names) in self.0.iter().enumerate() {
            let before = if n == 0 { "" } else { ", " };
            write!(f, "{before}{}", names.document)?;
        }
        Ok(())
    }
}

impl<'a> Saving<'a> {
    pub(super) fn begin(
        cache: &'a Cache,
        kind: SaveKind,
        documents: &'a [&'a Names],
        tasks: &'a [String],
    ) -> Self {
        Self {
            cache,
            kind,
            documents,
            tasks,
            began: cache.observers().begin(),
            span: Span::save(kind.as_str(), &Listing(documents), tasks),
            round_trips: 0,
            conflicts: 0,
        }
    }

    /// A lock turned out to be lost after the documents were saved.
    pub(super) fn lock_lost(&self) {
        let what = Listing(self.documents);
        log::warn!("{what}: saved, but a lock was lost meanwhile");
        let why = "it was lost when it was committed";
        self.cache.lock_lost(&what.to_string(), why);
    }

    pub(super) fn end(self, outcome: Result<&Outcome, &Error>) {
        let conflict = outcome.err().is_some_and(Error::is_conflict);
        let conflicts = self.conflicts.max(u32::from(conflict));
        let counters = self.cache.counters();
        counters.conflicts.add_some(conflicts.into());
        match outcome {
            Ok(done) => {
                self.cache.note(&Listing(self.documents), &done.cache);
                self.span.outcome(done.cache.as_str());
            }
            // The caller's own closure failed: nothing was refused.
            Err(e) if e.caller().is_some() => return,
            Err(e) => {
                counters.saves_refused.add();
                self.span.outcome("refused");
                log::debug!("{}: not saved: {e}", Listing(self.documents));
            }
        }
        if let Some(duration) = self.began.took() {
            let documents: Vec<_> = self.documents.iter().map(|names| names.shown()).collect();
            self.cache.observers().tell(&Event::Save {
                kind: self.kind,
                documents: &documents,
                tasks: self.tasks,
                duration,
                round_trips: self.round_trips,
                conflicts,
                outcome,
            });
        }
    }
}

/// A request for a lock ended.
pub(super) fn lock_ended(
    cache: &Cache,
    names: &Names,
    began: Began,
    span: &Span,
    taken: &Result<Held>,
) {
    let counters = cache.counters();
    let outcome = match taken {
        Ok(held) => {
            counters.locks.add();
            if held.had_to_wait {
                counters.lock_waits.add();
            }
            match held.os_lock {
                true => LockOutcome::AcquiredWhileAway,
                false => LockOutcome::Acquired,
            }
        }
        Err(e) if e.is_lock_held() => {
            counters.lock_timeouts.add();
            LockOutcome::TimedOut(e)
        }
        Err(e) if e.is_abandoned() => LockOutcome::Abandoned,
        Err(e) => LockOutcome::Refused(e),
    };
    span.outcome(outcome.as_str());
    if let Some(waited) = began.took() {
        cache.observers().tell(&Event::Lock {
            document: names.shown(),
            waited,
            outcome,
        });
    }
}
