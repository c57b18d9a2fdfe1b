//! Finishes transactions of processes that died, when a store is opened and in the background.

use super::{Store, Trace};
use crate::{cache::Look, disk::JournalId, drive::now, model::limits, protocol::recover};
use std::{collections::HashSet, sync::Arc, time::Duration};

/// What could not be done and is already logged; retried twice a second.
#[derive(Default)]
struct Left {
    /// The journals could not be listed.
    unseen: bool,
    journals: HashSet<JournalId>,
}

impl Store {
    /// Finishes transactions of processes that died: now, and from then on in the background.
    pub(super) fn finish_what_died(&self) {
        let mut left = Left::default();
        self.finish_all(limits::SIDECAR_WAIT, self.0.trace.as_ref(), &mut left);
        // Weak, so that this does not keep the store alive. Not traced, since a trace counts what
        // callers do.
        let store = Arc::downgrade(&self.0);
        self.cache().look_too(move || match store.upgrade() {
            Some(store) => {
                Store(store).finish_all(limits::FINISH_WAIT, None, &mut left);
                Look::Again
            }
            None => Look::Over,
        });
    }

    /// Finishes what can be finished now. Waits for at most `wait` in all for documents that others
    /// are working on.
    fn finish_all(&self, wait: Duration, trace: Option<&Trace>, left: &mut Left) {
        let before = std::mem::take(left);
        let journals = match self.drive_traced(&mut self.workspace(), recover::list(), trace) {
            Ok(journals) => journals,
            Err(e) => {
                if !before.unseen {
                    log::warn!("cannot look for transactions that died: {e}");
                }
                left.unseen = true;
                return;
            }
        };
        let until = now().boot.saturating_add(wait);
        for id in journals {
            // With its own files: there may be many.
            let run = recover::finish_if_dead(id, until.saturating_sub(now().boot));
            match self.drive_traced(&mut self.workspace(), run, trace) {
                Ok(()) => {}
                Err(e) if e.is_busy() => log::debug!("a transaction's journal {id}: {e}"),
                Err(e) => {
                    if !before.journals.contains(&id) {
                        log::warn!("a transaction's journal {id} is left to who comes next: {e}");
                    }
                    left.journals.insert(id);
                }
            }
        }
    }
}
