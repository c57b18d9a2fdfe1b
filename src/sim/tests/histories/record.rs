//! The results of all scripts in a history, and checks that they are possible.

use crate::{
    model::{Error, error::Kind},
    protocol::{CacheOutcome, save::Saved},
    sim::{calls::Way, cast::Saves},
};
use std::collections::BTreeMap;

/// An acknowledged save.
struct Acknowledged {
    number: u64,
    /// The number of actions that all scripts together had taken by then.
    at: u64,
    /// Whether the entries on the server are known to be right.
    settled: bool,
}

#[derive(Default)]
pub(super) struct Record {
    saved: Vec<Acknowledged>,
    /// Saves that reported that nothing was changed.
    refused: Vec<u64>,
    /// The versions of the document that were seen.
    seen: Vec<Saves>,
    /// The first result that is not possible.
    pub(super) wrong: Option<String>,
    /// How often each event happened.
    pub(super) counts: BTreeMap<&'static str, u64>,
}

impl Record {
    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn demand(&mut self, right: bool, why: impl FnOnce() -> String) {
        if !right && self.wrong.is_none() {
            self.wrong = Some(why());
        }
    }

    pub(super) fn saved(&mut self, number: u64, at: u64, saved: &Result<Saved, Error>) {
        let cache = match saved {
            Ok(saved) => &saved.outcome.cache,
            Err(e) => {
                self.refused.push(number);
                let why = match e {
                    e if e.is_lock_held() => "refused: the lock is held",
                    e if e.is_conflict() => "refused: conflict",
                    e if e.is_fenced() => "refused: fenced",
                    e if e.is_lock_lost() => "refused: the lock is lost",
                    e if e.is_unavailable() => "refused: the server is away",
                    e if matches!(e.kind(), Kind::SidecarBusy { .. }) => {
                        "refused: the sidecar is busy"
                    }
                    e => return self.demand(false, || format!("a save failed: {e}")),
                };
                self.count(why);
                return;
            }
        };
        self.count(match cache {
            CacheOutcome::Committed { .. } => "committed",
            CacheOutcome::Invalidated { .. } => "invalidated",
            CacheOutcome::Deferred { .. } => "deferred",
            CacheOutcome::Unrecorded { .. } => "unrecorded",
        });
        self.saved.push(Acknowledged {
            number,
            at,
            settled: cache.is_settled(),
        });
    }

    /// A reader that began then has read the document.
    pub(super) fn read(&mut self, began: u64, got: &Saves) {
        let before = |save: &&Acknowledged| save.at <= began;
        let missing = self
            .saved
            .iter()
            .filter(before)
            .find(|save| !got.contains(&save.number));
        let missing = missing.map(|save| save.number);
        self.demand(missing.is_none(), || {
            format!("a reader got {got:?}, older than the save {missing:?} that had ended")
        });
        self.seen.push(got.clone());
    }

    /// A reader that began then has got the dependent.
    pub(super) fn derived(&mut self, began: u64, got: &Saves, way: Way) {
        self.count(match way {
            Way::Found => "a dependent was found",
            Way::Filled => "a dependent was loaded and filled",
            Way::Loaded => "a dependent was loaded and not filled",
        });
        let before = |save: &&Acknowledged| save.settled && save.at <= began;
        let missing = self
            .saved
            .iter()
            .filter(before)
            .find(|save| !got.contains(&save.number));
        let missing = missing.map(|save| save.number);
        self.demand(missing.is_none(), || {
            format!("a dependent of {got:?} was got after the save {missing:?} was committed")
        });
        self.seen.push(got.clone());
    }

    /// Everything is over; this is the document.
    pub(super) fn ended(&mut self, document: &Saves) {
        let lost = self.saved.iter().map(|save| save.number);
        let lost = lost
            .filter(|number| !document.contains(number))
            .collect::<Vec<_>>();
        self.demand(lost.is_empty(), || {
            format!("the saves {lost:?} were acknowledged and are not in {document:?}")
        });
        let kept = self
            .refused
            .iter()
            .filter(|number| document.contains(number));
        let kept = kept.copied().collect::<Vec<_>>();
        self.demand(kept.is_empty(), || {
            format!("the saves {kept:?} failed and are in {document:?}")
        });
        let stray = self
            .seen
            .iter()
            .find(|seen| !document.starts_with(seen))
            .cloned();
        self.demand(stray.is_none(), || {
            format!("{stray:?} was seen, and no version of {document:?} is that")
        });
    }

    /// The outbox was replayed; this is what a dependent is derived from now.
    pub(super) fn replayed(&mut self, dependent: &Saves) {
        let stale = self.saved.iter().map(|save| save.number);
        let stale = stale
            .filter(|number| !dependent.contains(number))
            .collect::<Vec<_>>();
        self.demand(stale.is_empty(), || {
            format!("after the replay a dependent is of {dependent:?}, without {stale:?}")
        });
    }
}
