//! The server: the in-memory model of the operations, with a clock that the simulation moves, and
//! with failures on the way to it.

use crate::{
    engine::{MemoryEngine, MemoryServer, Performer},
    model::{Entry, Error, Lock, error::Kind},
    op::{
        Acquire, AcquireReply, Commit, CommitReply, Fault, Holders, HoldersReply, Invalidate, Op,
        Own, Read, ReadReply, Reply, Space, keys::sibling,
    },
    rules::slot,
};
use std::{cell::RefCell, time::Duration};

/// The fate of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// The server cannot be reached.
    Away,
    /// The connection breaks before the server has the request. The client cannot know this.
    Dropped,
    /// The server does it, and its reply is lost.
    Unanswered,
    /// The client gives up waiting. The request is still on its way, and the server does it at some
    /// later moment.
    Late,
    /// The same, but because the connection turned out to be closed: the engine sends the request
    /// again at once, if it may.
    SentTwice,
}

/// A server with one check removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerWeakness {
    /// A fill is accepted without a lease.
    FillsWithoutLease,
    /// A commit does not delete its dependents.
    KeepsDependents,
    /// A writer's marks are not stored.
    ForgetsMarks,
    /// A commit sets its entries over anything, or nothing.
    SetsOverAnything,
    /// A stamp is never raised: deleting an entry leaves its stamp unchanged.
    NeverRaises,
    /// A commit that sets nothing also deletes the stamps of its entries.
    ForgetsStamps,
    /// A repeated commit sets its entries again.
    SetsAgain,
    /// Not the server but the engine: it sends any request again if its connection was closed.
    AllSentAgain,
    /// A refused request for a lock sets the life of the fence to twice the TTL that it asked for.
    RefusalsCutFences,
    /// A lock that its holder requests again keeps only the rest of its first life.
    KeepsFirstLife,
    /// Invalidations delete nothing in this key's slot, in which there are no commits.
    KeepsSlot(&'static str),
}

pub(crate) struct SimServer {
    pub(crate) memory: MemoryServer,
    engine: MemoryEngine,
    weakness: Option<ServerWeakness>,
    space: Space,
    /// Late requests: nobody waits for their replies any more.
    late: RefCell<Vec<Op>>,
    /// The fences that callers were given, with their keys.
    fences: RefCell<Vec<(String, u64)>>,
}

impl SimServer {
    pub(crate) fn new(weakness: Option<ServerWeakness>) -> Self {
        Self {
            weakness,
            ..Self::with(MemoryServer::with_manual_clock())
        }
    }

    pub(crate) fn with(memory: MemoryServer) -> Self {
        Self {
            engine: MemoryEngine::new(memory.clone()),
            memory,
            weakness: None,
            space: Space::Whole,
            late: RefCell::default(),
            fences: RefCell::default(),
        }
    }

    /// Acts as a Cluster: the keys of each operation must be in one slot.
    pub(crate) fn in_slots(self) -> Self {
        Self {
            space: Space::Slots,
            ..self
        }
    }

    pub(crate) fn copy(&self) -> Self {
        Self {
            weakness: self.weakness,
            space: self.space,
            late: self.late.clone(),
            fences: self.fences.clone(),
            ..Self::with(self.memory.copy())
        }
    }

    pub(crate) fn perform(&self, op: &Op, fate: Fate) -> Result<Reply, Fault> {
        let reply = self.answer(op, fate);
        if let (Op::Acquire(op), Ok(Reply::Acquire(AcquireReply::Acquired { fence }))) =
            (op, &reply)
        {
            let mut fences = self.fences.borrow_mut();
            fences.push((op.fence_key.clone(), *fence));
        }
        reply
    }

    fn answer(&self, op: &Op, fate: Fate) -> Result<Reply, Fault> {
        let broken = |message: &str| {
            Error::new(Kind::Unavailable {
                message: message.to_owned(),
            })
        };
        match fate {
            Fate::Answered => self.execute(op),
            Fate::Away => Err(Fault::NotDone(broken("away"))),
            Fate::Dropped => Err(Fault::Unknown(broken("no answer"))),
            Fate::Unanswered => {
                let _ = self.execute(op);
                Err(Fault::Unknown(broken("no answer")))
            }
            Fate::Late | Fate::SentTwice => {
                self.late.borrow_mut().push(op.clone());
                let again =
                    op.may_be_sent_again() || self.weakness == Some(ServerWeakness::AllSentAgain);
                match fate == Fate::SentTwice && again {
                    true => self.execute(op),
                    false => Err(Fault::Unknown(broken("no answer"))),
                }
            }
        }
    }

    /// The number of requests that are still on their way.
    pub(crate) fn late(&self) -> usize {
        self.late.borrow().len()
    }

    /// One of them arrives. Returns its name.
    pub(crate) fn deliver(&self, n: usize) -> &'static str {
        let op = self.late.borrow_mut().remove(n);
        let _ = self.execute(&op);
        op.name()
    }

    /// A new server process with this memory. Requests on their way to the old one are lost.
    pub(crate) fn restart_from(&self, snapshot: &MemoryServer) {
        self.late.borrow_mut().clear();
        self.memory.restart_from(snapshot);
    }

    fn execute(&self, op: &Op) -> Result<Reply, Fault> {
        if self.space == Space::Slots {
            op.slot().expect("the keys are in one slot");
        }
        let mut op = op.clone();
        match (self.weakness, &mut op) {
            (Some(ServerWeakness::FillsWithoutLease), Op::Fill(fill)) => {
                let flight = format!("l:{}:0", fill.token);
                let mut keys = self.memory.keyspace().expect("it runs");
                keys.set_field(
                    &fill.entry.leases,
                    &fill.entry.value,
                    flight.into_bytes().into(),
                );
            }
            (Some(ServerWeakness::KeepsDependents), Op::Commit(commit)) => {
                commit.dependents.clear();
            }
            (Some(ServerWeakness::SetsOverAnything), Op::Commit(commit)) => {
                commit.own.iter_mut().for_each(|own| own.over = None);
            }
            (Some(ServerWeakness::ForgetsMarks), Op::Prepare(prepare)) => {
                let entries = std::mem::take(&mut prepare.entries);
                let release = None;
                self.engine.perform(&Op::Invalidate(Invalidate {
                    entries,
                    raises: Vec::new(),
                    token: String::new(),
                    release,
                }))?;
            }
            (Some(ServerWeakness::NeverRaises), Op::Invalidate(invalidate)) => {
                invalidate.raises.clear();
            }
            (Some(ServerWeakness::KeepsSlot(key)), Op::Invalidate(invalidate)) => {
                let is_there = |entry: &Entry| slot(&entry.value) == slot(key);
                invalidate.entries.retain(|entry| !is_there(entry));
            }
            _ => {}
        }
        let before = self.stamps(&op);
        let life = self.lock_life(&op);
        let reply = self.engine.perform(&op);
        if let (Op::Acquire(op), Ok(Reply::Acquire(reply))) = (&op, &reply) {
            self.shorten(op, reply, life);
        }
        if let (Op::Commit(commit), Ok(Reply::Commit(reply))) = (&op, &reply) {
            self.weaken(commit, reply, before);
        }
        reply
    }

    /// The stamps of a commit's own entries.
    fn stamps(&self, op: &Op) -> Vec<Option<Vec<u8>>> {
        let Op::Commit(commit) = op else {
            return Vec::new();
        };
        let stamp = |own: &Own| {
            let entry = own.entry.clone();
            let life = false;
            match self.engine.perform(&Op::Read(Read { entry, life })) {
                Ok(Reply::Read(ReadReply::Found { voucher, .. })) => voucher,
                _ => None,
            }
        };
        commit.own.iter().map(stamp).collect()
    }

    /// Undoes a part of a commit's effect.
    fn weaken(&self, commit: &Commit, reply: &CommitReply, before: Vec<Option<Vec<u8>>>) {
        let has_set = match reply {
            CommitReply::Committed { .. } | CommitReply::Replicated { .. } => return,
            CommitReply::Replayed => true,
            CommitReply::Lost { .. } | CommitReply::Superseded { .. } => false,
        };
        let mut keys = self.memory.keyspace().expect("it runs");
        for (own, before) in commit.own.iter().zip(before) {
            let (stamp, life) = (sibling(&own.entry.value, "stamp"), Some(own.ttl_ms));
            match (self.weakness, before) {
                (Some(ServerWeakness::SetsAgain), _) if has_set => {
                    keys.set(&own.entry.value, own.bytes.clone(), life);
                }
                (Some(ServerWeakness::NeverRaises), Some(before)) if !has_set => {
                    keys.set(&stamp, before.into(), life);
                }
                (Some(ServerWeakness::NeverRaises | ServerWeakness::ForgetsStamps), _)
                    if !has_set =>
                {
                    keys.remove(&stamp);
                }
                _ => {}
            }
        }
    }

    /// The remaining life of a requested lock, for any holder.
    fn lock_life(&self, op: &Op) -> Option<u64> {
        let Op::Acquire(op) = op else { return None };
        self.memory.keyspace()?.left_ms(&op.lock.key).flatten()
    }

    fn shorten(&self, op: &Acquire, reply: &AcquireReply, before: Option<u64>) {
        let (key, life) = match (self.weakness, reply, before) {
            (Some(ServerWeakness::RefusalsCutFences), AcquireReply::Held { .. }, _) => {
                (&op.fence_key, 2 * op.ttl_ms)
            }
            (Some(ServerWeakness::KeepsFirstLife), AcquireReply::Acquired { .. }, Some(before)) => {
                (&op.lock.key, before)
            }
            _ => return,
        };
        let mut keys = self.memory.keyspace().expect("it runs");
        keys.live_for(key, life);
    }

    /// What a reader gets that does not look at the file.
    pub(crate) fn cached(&self, entry: &Entry) -> Option<Vec<u8>> {
        let read = Read {
            entry: entry.clone(),
            life: false,
        };
        match self.engine.perform(&Op::Read(read)) {
            Ok(Reply::Read(ReadReply::Found { value, .. })) => value,
            Ok(_) => None,
            Err(e) => panic!("{e:?}"),
        }
    }

    /// The remaining life of this lock, if it exists with this value.
    pub(crate) fn lock_left(&self, lock: &Lock) -> Option<Duration> {
        let locks = vec![lock.key.clone()];
        let within = None;
        match self.engine.perform(&Op::Holders(Holders { locks, within })) {
            Ok(Reply::Holders(HoldersReply::Found(found))) => match found.as_slice() {
                [Some((value, left_ms))] if *value == lock.value => {
                    Some(Duration::from_millis(*left_ms))
                }
                _ => None,
            },
            other => panic!("{other:?}"),
        }
    }

    /// A fence that is not above an earlier one; returns both.
    pub(crate) fn fence_that_fell(&self) -> Option<[u64; 2]> {
        let fences = self.fences.borrow();
        for (n, (key, fence)) in fences.iter().enumerate() {
            let next = fences[n + 1..].iter().find(|(other, _)| other == key);
            if let Some((_, next)) = next.filter(|(_, next)| next <= fence) {
                return Some([*fence, *next]);
            }
        }
        None
    }

    pub(crate) fn advance(&self, time: Duration) {
        self.memory.advance(time);
    }

    /// Evicts a key, as a server that is short of memory may do with any key.
    pub(crate) fn evict(&self, key: &str) {
        if let Some(mut keys) = self.memory.keyspace() {
            keys.remove(key);
        }
    }

    /// The Cluster's node that has this key's slot comes back empty.
    pub(crate) fn forget_slot(&self, key: &str) {
        let mut keys = self.memory.keyspace().expect("it runs");
        let there = keys.dump().into_keys();
        there
            .filter(|other| slot(other) == slot(key))
            .for_each(|key| {
                keys.remove(&key);
            });
    }
}
