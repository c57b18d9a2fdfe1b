//! The outboxes of all processes: a simulated process that died leaves its file to whoever takes it over.

use crate::{
    disk::{OutboxAction, OutboxGot, Ticket, Work},
    model::{Error, Result, error::Kind},
};
use std::collections::BTreeMap;

/// Names a simulated process.
pub(crate) type ProcessId = usize;

#[derive(Clone, Debug)]
struct Record {
    work: Work,
    /// Whether a save of a living process is at work on it.
    in_flight: bool,
    /// Whether it came from a dead process's file, to which it goes back.
    adopted: bool,
}

/// Each process's records, the oldest first. A ticket is never given twice, and one of a file that was taken over comes after
/// all that were given before.
#[derive(Clone, Default)]
pub(crate) struct SimOutboxes {
    files: BTreeMap<ProcessId, BTreeMap<u64, Record>>,
    /// Of processes that died.
    orphans: Vec<Work>,
    last_ticket: u64,
    /// Whether nothing can be written.
    pub(crate) full: bool,
}

impl SimOutboxes {
    pub(crate) fn perform(&mut self, who: ProcessId, action: &OutboxAction) -> Result<OutboxGot> {
        let own = self.files.entry(who).or_default();
        match action {
            OutboxAction::Defer(_) | OutboxAction::Intend(_) if self.full => {
                Err(Error::new(Kind::Outbox("cannot be written".to_owned())))
            }
            OutboxAction::Defer(what) | OutboxAction::Intend(what) => {
                let record = Record {
                    work: Work::Keys(what.clone()),
                    in_flight: matches!(action, OutboxAction::Intend(_)),
                    adopted: false,
                };
                Ok(OutboxGot::Kept(self.push(who, record)))
            }
            OutboxAction::Ripen(ticket) => {
                if let Some(record) = own.get_mut(&ticket.number()) {
                    record.in_flight = false;
                }
                Ok(OutboxGot::Nothing)
            }
            OutboxAction::Retire(ticket) => {
                own.remove(&ticket.number());
                Ok(OutboxGot::Nothing)
            }
            OutboxAction::TakeOver => {
                let orphans = std::mem::take(&mut self.orphans);
                let taken = usize::from(!orphans.is_empty());
                for work in orphans {
                    let record = Record {
                        work,
                        in_flight: false,
                        adopted: true,
                    };
                    self.push(who, record);
                }
                Ok(OutboxGot::TakenOver(taken))
            }
            OutboxAction::GiveBack => {
                let left = own.values().filter(|record| !record.in_flight).count();
                let all = std::mem::take(own).into_iter();
                let (back, kept) = all.partition(|(_, record)| record.adopted);
                *own = kept;
                let back: BTreeMap<_, Record> = back;
                self.orphans
                    .extend(back.into_values().map(|record| record.work));
                Ok(OutboxGot::Left(left as u64))
            }
            OutboxAction::Next(after) => {
                let after = after.map_or(0, Ticket::number);
                let ripe = own
                    .range(after + 1..)
                    .filter(|(_, record)| !record.in_flight);
                let records = ripe.map(|(id, record)| (Ticket::own(*id), record.work.clone()));
                Ok(OutboxGot::Next(records.collect()))
            }
        }
    }

    fn push(&mut self, who: ProcessId, record: Record) -> Ticket {
        self.last_ticket += 1;
        let own = self.files.entry(who).or_default();
        own.insert(self.last_ticket, record);
        Ticket::own(self.last_ticket)
    }

    /// The process is dead: its OS lock is gone, and so is who said that an intent is at work.
    pub(crate) fn die(&mut self, who: ProcessId) {
        let left = self.files.remove(&who).unwrap_or_default();
        self.orphans
            .extend(left.into_values().map(|record| record.work));
    }

    /// Every process is dead. What was retired stays so here, though the note of that is not synced: were it lost, the record
    /// would be replayed once more.
    pub(crate) fn all_die(&mut self) {
        for who in self.files.keys().copied().collect::<Vec<_>>() {
            self.die(who);
        }
    }

    /// Records that wait for a server, of whatever process.
    pub(crate) fn waiting(&self) -> usize {
        let living = self.files.values().map(BTreeMap::len);
        living.sum::<usize>() + self.orphans.len()
    }
}
