//! Journals and their locks.

use super::session::Step;
use crate::{
    disk::{FileAction, Got, Journal, journal},
    model::Result,
};
use std::io;

impl Step<'_> {
    /// The answers if the journals' folder does not exist.
    pub(super) fn without_journals(&self, action: &FileAction) -> Got {
        match action {
            FileAction::ListJournals => Got::Journals(Vec::new()),
            FileAction::RemoveJournal => Got::Nothing,
            _ => Got::Missing,
        }
    }

    pub(super) fn act_on_journal(mut self, action: &FileAction) -> Result<Got> {
        let name = self.place.file.to_string();
        let there = self.document();
        Ok(match (action, self.open.journal) {
            (FileAction::MakeJournal, _) => {
                self.close_journal();
                if there.is_some() {
                    return Ok(Got::Busy);
                }
                let file = self.disk.new_file(self.wall_ns);
                self.names().link(&name, file);
                self.disk.lock(file, self.session);
                (self.open.journal, self.open.made_journal) = (Some(file), true);
                Got::Nothing
            }
            // Only its creator may write it: others have it open for reading.
            (FileAction::WriteJournal { .. }, Some(file)) if there != Some(file) => {
                return Err(self.failed("write", io::ErrorKind::NotFound));
            }
            (FileAction::WriteJournal { journal, .. }, Some(file)) if self.open.made_journal => {
                let now = self.disk.kept_of(self.wall_ns);
                self.file(file).append(journal.line().as_bytes(), now);
                Got::Nothing
            }
            (FileAction::SyncJournal, Some(file)) => {
                if !self.disk.is(super::Weakness::NoJournalSync) {
                    self.file(file).sync();
                }
                Got::Nothing
            }
            (FileAction::ReadJournal, _) => {
                let Some(file) = there else {
                    return Ok(Got::Missing);
                };
                self.open.journal.get_or_insert(file);
                let read = Journal::parse(self.disk.files[&file].bytes());
                Got::Journal(read.map_err(|e| self.failed("read", e.kind()))?)
            }
            (FileAction::LockJournal, _) => {
                let Some(file) = there else {
                    return Ok(Got::Missing);
                };
                // Locks by a new descriptor. If the session already has one, that blocks the lock
                // and is then closed.
                let free = !self.disk.locks.contains_key(&file);
                self.close_journal();
                if !free {
                    return Ok(Got::Busy);
                }
                self.disk.lock(file, self.session);
                self.open.journal = Some(file);
                Got::Nothing
            }
            (FileAction::RemoveJournal, _) => {
                self.names().unlink(&name);
                Got::Nothing
            }
            (FileAction::ListJournals, _) => {
                Got::Journals(journal::ids(self.disk.names(&self.place.folder)))
            }
            _ => return Err(self.failed("go on with", io::ErrorKind::Other)),
        })
    }

    fn close_journal(&mut self) {
        self.open.made_journal = false;
        if let Some(file) = self.open.journal.take() {
            self.disk.unlock(file, self.session);
        }
    }
}
