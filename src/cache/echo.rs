//! The last changes, kept to be made again on a server that is another one than the one that took them: after a failover, or a
//! restart from a snapshot, it may have older entries back, and locks that were released.
//!
//! What is made again only deletes, own entries too: a missing entry is loaded, an old one is stale until its TTL. Each change
//! belongs to the run of the server that took it, so a server gets back no change that it took itself.

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
    /// Rings when a request of a round is over.
    sent: Condvar,
    /// Whether a change was taken by a server that the last look did not find.
    doubted: AtomicBool,
}

#[derive(Default)]
struct Kept {
    /// The oldest first.
    steps: VecDeque<Step>,
    keys: usize,
    /// As the last look found them.
    servers: Servers,
    /// Own keys of commits that are on their way, in about the order in which they come back.
    committing: VecDeque<Substr>,
    /// `None` between two rounds.
    round: Option<UnderWay>,
}

/// What became of an operation that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// A server can lose nothing of it.
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
    /// Released.
    locks: Vec<Lock>,
    /// Whether the round that is under way is about it.
    considered: bool,
}

#[derive(Default)]
struct UnderWay {
    /// Own keys of commits that are, or were, on their way in this round: they may be newer than what it deletes.
    spared: HashSet<Substr>,
    /// Keys of the request that is on its way.
    sending: HashSet<Substr>,
}

/// What one server is to be told again.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) run: RunId,
    pub(super) entries: Vec<Entry>,
    pub(super) locks: Vec<Lock>,
}

impl Step {
    /// `None` for an operation that leaves nothing to be kept.
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

    /// Who has its keys now: in a Cluster all of them are in one slot.
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

    /// Whether there is anything that a server may have lost.
    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        let kept = self.lock();
        let newest = kept.steps.back();
        newest.is_some_and(|step| now.duration_since(step.at) <= limits::ECHO_AGE)
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.load(SeqCst)
    }

    /// The servers are to be looked at again.
    pub(super) fn doubt(&self) {
        self.doubted.store(true, SeqCst);
    }

    /// To be held while the operation is on its way, and until it is kept: no round deletes what a commit sets meanwhile. Waits
    /// for a request that is just deleting the same keys.
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

    /// The same where it need not be waited for.
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

    /// Begins a round, before servers are asked who they are: what is kept from now on is for the next one.
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
    /// Whether one of them is being deleted just now.
    fn is_sending(&self, keys: &[Substr]) -> bool {
        let sending = self.round.as_ref().map(|round| &round.sending);
        sending.is_some_and(|sending| keys.iter().any(|key| sending.contains(key)))
    }

    /// Commits of these set out.
    fn set_out(&mut self, keys: &[Substr]) {
        self.committing.extend(keys.iter().cloned());
        if let Some(round) = &mut self.round {
            round.spared.extend(keys.iter().cloned());
        }
    }
}

/// Those that it sets.
fn own_keys(op: &Op) -> Vec<Substr> {
    match op {
        Op::Commit(op) => op.own.iter().map(|own| own.entry.value.clone()).collect(),
        _ => Vec::new(),
    }
}

/// An operation that was not answered yet.
pub(super) struct OnItsWay<'a> {
    echo: &'a Echo,
    /// Empty where it sets nothing.
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

/// One look at the servers, and what follows from it.
pub(super) struct Round<'a> {
    echo: &'a Echo,
}

impl Round<'_> {
    /// What these servers are to be told again: what was changed on a server that is none of them, or another run of one. Of
    /// an entry only the last change counts.
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

    /// Sends one request for these entries, but for those that a commit may have set meanwhile.
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

    /// That server was told everything.
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
