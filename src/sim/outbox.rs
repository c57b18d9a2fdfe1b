//! The outboxes of all processes. A simulated process that dies leaves its file to the process that
//! takes it over.

use crate::{
    disk::{OutboxAction, OutboxGot, Ticket, Work},
    model::{Error, Result, error::Kind},
};
use std::collections::BTreeMap;

/// Identifies a simulated process.
pub(crate) type ProcessId = usize;

#[derive(Clone, Debug)]
struct Record {
    work: Work,
    /// Whether a save of a living process works on it.
    in_flight: bool,
    /// Whether it came from a dead process's file, to which it is given back.
    adopted: bool,
}

/// Each process's records, the oldest first. A ticket is never given twice, and a record that is
/// taken over gets a ticket after all earlier ones.
#[derive(Clone, Default)]
pub(crate) struct SimOutboxes {
    files: BTreeMap<ProcessId, BTreeMap<u64, Record>>,
    /// Records of dead processes.
    orphans: Vec<Work>,
    last_ticket: u64,
    /// Whether writes fail.
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

    /// The process dies: its OS lock is released, and its intents are no longer in flight.
    pub(crate) fn die(&mut self, who: ProcessId) {
        let left = self.files.remove(&who).unwrap_or_default();
        self.orphans
            .extend(left.into_values().map(|record| record.work));
    }

    /// All processes die. Retired records stay retired here, although a retirement is not synced:
    /// if it were lost, the record would only be replayed once more.
    pub(crate) fn all_die(&mut self) {
        for who in self.files.keys().copied().collect::<Vec<_>>() {
            self.die(who);
        }
    }

    /// The number of records that wait for a server, of all processes.
    pub(crate) fn waiting(&self) -> usize {
        let living = self.files.values().map(BTreeMap::len);
        living.sum::<usize>() + self.orphans.len()
    }
}
