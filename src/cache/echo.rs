//! The last changes, kept to be repeated on a server that has replaced the one that took them.
//! After a failover, or a restart from a snapshot, a server may have older entries and released
//! locks back.
//!
//! The echo only deletes, own entries too: a missing entry is loaded, an old one is stale until its
//! TTL. Each change belongs to the server run that took it, so a server never gets back a change
//! that it took itself.

use crate::{
    engine::{RunId, Servers},
    model::{Entry, Lock, limits},
    op::Op,
    rules::slot,
};
use arcstr::Substr;
use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Instant,
};

#[derive(Default)]
pub(super) struct Echo {
    kept: Mutex<Kept>,
    /// Notified when a request of a round is done.
    sent: Condvar,
    /// Whether a change was taken by a server that the last look did not find.
    doubted: AtomicBool,
}

#[derive(Default)]
struct Kept {
    /// Oldest first.
    steps: VecDeque<Step>,
    keys: usize,
    /// As the last look found them.
    servers: Servers,
    /// Own keys of commits that are under way, in about the order in which they return.
    committing: VecDeque<Substr>,
    /// `None` between rounds.
    round: Option<UnderWay>,
}

/// What was kept of a completed operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// It changed nothing that a server could lose.
    Nothing,
    Kept,
    /// It was done by a server that the last look did not find.
    Doubted,
}

/// What one operation changed.
struct Step {
    at: Instant,
    by: RunId,
    entries: Vec<Entry>,
    /// Locks that it released.
    locks: Vec<Lock>,
    /// Whether the present round covers it.
    considered: bool,
}

#[derive(Default)]
struct UnderWay {
    /// Own keys of commits that are or were under way in this round: they may be newer than what
    /// the round deletes.
    spared: HashSet<Substr>,
    /// Keys of the request that is under way.
    sending: HashSet<Substr>,
}

/// What to send to one server again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) run: RunId,
    pub(super) entries: Vec<Entry>,
    pub(super) locks: Vec<Lock>,
}

impl Step {
    /// `None` for an operation of which nothing is kept.
    fn of(op: Op, by: RunId, at: Instant) -> Option<Self> {
        let (entries, locks) = match op {
            Op::Commit(op) => {
                let own = op.own.into_iter().map(|own| own.entry);
                let locks = if op.release { op.locks } else { Vec::new() };
                (own.chain(op.dependents).collect(), locks)
            }
            Op::Invalidate(op) => (op.entries, Vec::from_iter(op.release)),
            Op::Release(op) => (Vec::new(), vec![op.lock]),
            _ => return None,
        };
        let step = Self {
            at,
            by,
            entries,
            locks,
            considered: false,
        };
        (step.keys() > 0).then_some(step)
    }

    fn keys(&self) -> usize {
        self.entries.len() + self.locks.len()
    }

    /// The server that has its keys now. In a Cluster they are all in one slot.
    fn owner<'a>(&self, servers: &'a Servers) -> Option<&'a RunId> {
        let mut keys = self.entries.iter().map(|entry| entry.value.as_str());
        let lock = || self.locks.first().map(|lock| lock.key.as_str());
        servers.of(slot(keys.next().or_else(lock)?))
    }
}

impl Echo {
    /// Keeps what an operation changed on that server.
    pub(super) fn keep(&self, op: Op, by: RunId, now: Instant) -> Keep {
        let Some(step) = Step::of(op, by, now) else {
            return Keep::Nothing;
        };
        let mut kept = self.lock();
        let is_same = kept.steps.back().is_none_or(|last| last.by == step.by);
        let is_first = kept.servers.is_empty() && is_same;
        let doubted = !is_first && !kept.servers.has(&step.by);
        if doubted {
            self.doubt();
        }
        kept.keys += step.keys();
        kept.steps.push_back(step);
        while let Some(oldest) = kept.steps.front()
            && (kept.keys > limits::ECHO_KEYS || now.duration_since(oldest.at) > limits::ECHO_AGE)
        {
            kept.keys -= oldest.keys();
            kept.steps.pop_front();
        }
        match doubted {
            true => Keep::Doubted,
            false => Keep::Kept,
        }
    }

    /// Whether there is a change that a server may have lost.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        let kept = self.lock();
        let newest = kept.steps.back();
        newest.is_some_and(|step| now.duration_since(step.at) <= limits::ECHO_AGE)
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.load(SeqCst)
    }

    /// Requests another look at the servers.
    pub(super) fn doubt(&self) {
        self.doubted.store(true, SeqCst);
    }

    /// Must be held while the operation is under way, and until it is kept: no round deletes what a
    /// commit sets meanwhile. Waits for a request that is deleting the same keys.
    pub(super) fn on_its_way(&self, op: &Op) -> OnItsWay<'_> {
        let keys = own_keys(op);
        if !keys.is_empty() {
            let kept = self
                .sent
                .wait_while(self.lock(), |kept| kept.is_sending(&keys));
            kept.unwrap_or_else(PoisonError::into_inner).set_out(&keys);
        }
        OnItsWay { echo: self, keys }
    }

    /// Like `on_its_way`; `None` if it would have to wait.
    #[cfg(feature = "tokio")]
    pub(super) fn on_its_way_now(&self, op: &Op) -> Option<OnItsWay<'_>> {
        let keys = own_keys(op);
        if !keys.is_empty() {
            let mut kept = self.lock();
            if kept.is_sending(&keys) {
                return None;
            }
            kept.set_out(&keys);
        }
        Some(OnItsWay { echo: self, keys })
    }

    /// Begins a round, before the servers are asked for their run ids. What is kept from now on
    /// belongs to the next round.
    pub(super) fn begin(&self) -> Round<'_> {
        self.doubted.store(false, SeqCst);
        let mut kept = self.lock();
        kept.steps
            .iter_mut()
            .for_each(|step| step.considered = true);
        kept.round = Some(UnderWay {
            spared: kept.committing.iter().cloned().collect(),
            sending: HashSet::new(),
        });
        Round { echo: self }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// Whether one of the keys is being deleted now.
    fn is_sending(&self, keys: &[Substr]) -> bool {
        let sending = self.round.as_ref().map(|round| &round.sending);
        sending.is_some_and(|sending| keys.iter().any(|key| sending.contains(key)))
    }

    /// Commits that set these keys begin.
    fn set_out(&mut self, keys: &[Substr]) {
        self.committing.extend(keys.iter().cloned());
        if let Some(round) = &mut self.round {
            round.spared.extend(keys.iter().cloned());
        }
    }
}

/// The keys that the operation sets.
fn own_keys(op: &Op) -> Vec<Substr> {
    match op {
        Op::Commit(op) => op.own.iter().map(|own| own.entry.value.clone()).collect(),
        _ => Vec::new(),
    }
}

/// An operation that has not been answered yet.
pub(super) struct OnItsWay<'a> {
    echo: &'a Echo,
    /// Empty if it sets nothing.
    keys: Vec<Substr>,
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        if self.keys.is_empty() {
            return;
        }
        let mut kept = self.echo.lock();
        for key in &self.keys {
            if let Some(at) = kept.committing.iter().position(|other| other == key) {
                kept.committing.remove(at);
            }
        }
    }
}

/// One look at the servers, and the requests that follow from it.
pub(super) struct Round<'a> {
    echo: &'a Echo,
}

impl Round<'_> {
    /// What to send to these servers again: changes taken by a server that is not among them, or by
    /// an earlier run of one. Only the last change of an entry counts.
    pub(super) fn due(&self, servers: Servers) -> Vec<Due> {
        let mut kept = self.echo.lock();
        let (mut due, mut later): (Vec<Due>, HashSet<Substr>) = Default::default();
        for step in kept.steps.iter_mut().rev() {
            if let Some(owner) = step.owner(&servers).filter(|owner| **owner != step.by) {
                if servers.has(&step.by) {
                    // Its slot has moved, with its keys.
                    step.by = owner.clone();
                } else if step.considered {
                    let due = due_of(&mut due, owner);
                    let entries = step.entries.iter();
                    let last = entries.filter(|entry| !later.contains(&entry.value));
                    due.entries.extend(last.cloned());
                    due.locks.extend(step.locks.iter().cloned());
                } else {
                    self.echo.doubt();
                }
            }
            later.extend(step.entries.iter().map(|entry| entry.value.clone()));
        }
        kept.servers = servers;
        due
    }

    /// Sends one request for these entries, except for those that a commit may have set meanwhile.
    pub(super) fn send<E>(
        &self,
        mut entries: Vec<Entry>,
        send: impl FnOnce(Vec<Entry>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut kept = self.echo.lock();
        if let Some(round) = &mut kept.round {
            entries.retain(|entry| !round.spared.contains(&entry.value));
            let keys = entries.iter().map(|entry| entry.value.clone());
            round.sending = keys.collect();
        }
        drop(kept);
        if entries.is_empty() {
            return Ok(());
        }
        let sent = send(entries);
        if let Some(round) = &mut self.echo.lock().round {
            round.sending.clear();
        }
        self.echo.sent.notify_all();
        sent
    }

    /// That server has acknowledged everything due to it.
    pub(super) fn told(&self, run: &RunId) {
        let mut kept = self.echo.lock();
        let Kept { steps, servers, .. } = &mut *kept;
        let considered = steps.iter_mut().filter(|step| step.considered);
        for step in considered.filter(|step| step.owner(servers) == Some(run)) {
            step.by = run.clone();
        }
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        let mut kept = self.echo.lock();
        kept.round = None;
        kept.steps
            .iter_mut()
            .for_each(|step| step.considered = false);
        self.echo.sent.notify_all();
    }
}

fn due_of<'a>(due: &'a mut Vec<Due>, run: &RunId) -> &'a mut Due {
    let at = due.iter().position(|due| due.run == *run);
    let at = at.unwrap_or_else(|| {
        due.push(Due {
            run: run.clone(),
            entries: Vec::new(),
            locks: Vec::new(),
        });
        due.len() - 1
    });
    &mut due[at]
}

#[cfg(test)]
mod tests;
