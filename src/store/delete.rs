//! Deleting a document.

use super::{Document, observed::Saving};
use crate::{
    cache::observe::SaveKind,
    engine::{Net, at_once},
    model::{Result, token},
    protocol::{self, Outcome, lock::Expect},
    rules::KeyList,
};

/// What a deletion makes out of date.
pub(crate) struct Deletion {
    /// For observers and spans.
    tasks: Vec<String>,
    dependents: KeyList,
}

impl<T> Document<T> {
    /// Deletes the document's file under its lock, then its entry, its dependents, and everything
    /// that the tasks make out of date.
    ///
    /// # Errors
    ///
    /// No such document, a lock that is held, a `READONLY` marker, an unknown task, or a failed
    /// file operation: nothing was deleted.
    pub fn delete(&self, tasks: impl IntoIterator<Item: AsRef<str>>) -> Result<Outcome> {
        let deletion = self.deletion(tasks)?;
        at_once(self.delete_by(Net::Threads, &deletion))
    }

    pub(crate) fn deletion(&self, tasks: impl IntoIterator<Item: AsRef<str>>) -> Result<Deletion> {
        let (names, cache) = (self.names(), self.store().cache());
        let tasks: Vec<String> = tasks.into_iter().map(|it| it.as_ref().to_owned()).collect();
        let rules = cache.rules();
        let dependents = rules.expand_for(&names.listed.controller, &tasks, &names.params)?;
        Ok(Deletion { tasks, dependents })
    }

    pub(crate) async fn delete_by(&self, net: Net, deletion: &Deletion) -> Result<Outcome> {
        let (names, cache) = (self.names(), self.store().cache());
        let dependents = cache.entries(&deletion.dependents);
        let dependents = cache.split(&names.entry, dependents)?;
        let wait = self.store().0.lock_wait;
        let mut hold = self.take(net, wait, Expect::Document).await?.0;
        let plan = protocol::delete::Plan {
            document: names.document.clone(),
            place: names.place.clone(),
            own: names.entry.clone(),
            ttl_ms: self.store().ttl_ms(names)?,
            dependents,
            params: names.params.clone(),
            writer: hold.writer()?,
            guarantee: self.store().0.guarantee,
            mark_ttl: cache.mark_ttl(),
            token: token::hex_128()?,
        };
        let documents = [names];
        let mut saving = Saving::begin(cache, SaveKind::Delete, &documents, &deletion.tasks);
        hold.begin_save();
        let deleting = hold.drive(protocol::delete::delete(plan));
        let deleted = saving.span.around(deleting).await;
        saving.round_trips = hold.round_trips();
        hold.end_save(deleted.is_ok());
        let deleted = deleted.map_err(|e| hold.why_lost(e));
        saving.end(deleted.as_ref());
        deleted
    }
}
