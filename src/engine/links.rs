//! One server's connections for tasks: one that all tasks of a runtime share for single requests,
//! and a bounded number that a task has for itself. A runtime uses no connection of another one,
//! which may not be driven at the time.

use super::{
    door::Door,
    link::{Connection, Link, TaskLink},
    net::{Net, Sharing},
    pool::Slot,
    redirect::Cause,
    refusal::unavailable,
    run_id::Identity,
};
use crate::model::{Effect, Error, limits};
use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    runtime::{Handle, Id},
    sync::{Semaphore, SemaphorePermit, watch},
};

/// A node's connections for tasks.
pub(super) struct Links {
    door: Arc<Door>,
    state: Arc<Mutex<State>>,
    own: Semaphore,
    /// Bounds the threads of a runtime that open connections or block on one. If a future is
    /// dropped, its thread continues.
    threads: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    /// One for each runtime.
    shared: Vec<Slot>,
    /// The results of opening shared connections, while they are being opened.
    opening: Vec<(Id, Opening)>,
    /// Connections for one task at a time, in the order of their last use.
    idle: Vec<Slot>,
    /// The last connection was lost.
    failed: bool,
}

type Opened = Result<TaskLink, (Error, Cause)>;
type Opening = watch::Receiver<Option<Opened>>;

impl Links {
    pub(super) fn new(door: Arc<Door>, own: u32) -> Self {
        Self {
            door,
            state: Arc::default(),
            own: Semaphore::new(own as usize),
            threads: Arc::new(Semaphore::new(own as usize)),
        }
    }

    pub(super) async fn take(
        &self,
        patience: Duration,
        sharing: Sharing,
    ) -> Option<SlotOfLinks<'_>> {
        let permit = match sharing {
            Sharing::Shared => None,
            Sharing::Own => {
                let permit = tokio::time::timeout(patience, self.own.acquire());
                Some(permit.await.ok()?.ok()?)
            }
        };
        let (runtime, mut state) = (here(), lock(&self.state));
        let mut slot = match sharing {
            Sharing::Shared => state.shared_slot(runtime),
            Sharing::Own => state.idle_slot(runtime),
        }
        .unwrap_or_default();
        let was = task_link(&slot).cloned();
        slot.close_if_old();
        slot.failed |= slot.connection.is_none() && state.failed;
        drop(state);
        Some(SlotOfLinks {
            slot,
            links: self,
            was,
            permit,
        })
    }

    /// Opens the shared connection, unless there is one other than `was`, or one is being opened.
    /// Opening continues even if nobody waits for it any more; its result is shared by all, also a
    /// failure.
    fn opening(&self, was: Option<&TaskLink>, again: bool) -> Result<TaskLink, Opening> {
        let (runtime, mut state) = (here(), lock(&self.state));
        if let Some(link) = state.shared_at(runtime).and_then(task_link)
            && !link.is_closed()
            && !was.is_some_and(|was| was.is_same(link))
        {
            return Ok(link.clone());
        }
        state.forget_ended(runtime);
        // One whose runtime has ended does not count.
        state.opening.retain(|(_, it)| it.has_changed().is_ok());
        let mut under_way = state.opening.iter();
        if let Some((_, opening)) = under_way.find(|(of, _)| *of == runtime) {
            return Err(opening.clone());
        }
        let (opened, opening) = watch::channel(None);
        state.opening.push((runtime, opening.clone()));
        let (door, shared) = (Arc::clone(&self.door), Arc::clone(&self.state));
        let threads = Arc::clone(&self.threads);
        tokio::spawn(async move {
            let done = open(door, threads, again)
                .await
                .and_then(|link| match link {
                    Link::Task(link) => Ok(link),
                    _ => Err(in_vain()),
                });
            let mut state = lock(&shared);
            state.opening.retain(|(of, _)| *of != runtime);
            if let Ok(link) = &done {
                state.failed = false;
                let slot = Slot::of(Link::Task(link.clone()), Identity::Unasked);
                state.forget(runtime);
                state.shared.push(slot);
            }
            drop(state);
            opened.send_replace(Some(done));
        });
        Err(opening)
    }
}

impl Links {
    /// The next caller opens a connection anew.
    fn give_up(&self, opening: &Opening) {
        let mut state = lock(&self.state);
        state.opening.retain(|(_, it)| !it.same_channel(opening));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The runtime of the present task.
fn here() -> Id {
    Handle::current().id()
}

fn is_of(slot: &Slot, runtime: Id) -> bool {
    task_link(slot).is_none_or(|link| link.runtime() == runtime)
}

fn is_closed(slot: &Slot) -> bool {
    task_link(slot).is_some_and(TaskLink::is_closed)
}

impl State {
    fn shared_at(&self, runtime: Id) -> Option<&Slot> {
        self.shared.iter().find(|slot| is_of(slot, runtime))
    }

    /// Connections of other runtimes that have ended.
    fn forget_ended(&mut self, runtime: Id) {
        for slots in [&mut self.shared, &mut self.idle] {
            slots.retain(|slot| is_of(slot, runtime) || !is_closed(slot));
        }
    }

    fn forget(&mut self, runtime: Id) {
        self.shared.retain(|slot| !is_of(slot, runtime));
    }

    /// Another handle on the runtime's shared connection. If there is none, an idle connection (the
    /// first one, from a boot) becomes it.
    fn shared_slot(&mut self, runtime: Id) -> Option<Slot> {
        if self.shared_at(runtime).is_none() {
            let idle = self.idle_slot(runtime)?;
            self.shared.push(idle);
        }
        let shared = self.shared_at(runtime)?;
        let (_, identity) = shared.connection.as_ref()?;
        let link = task_link(shared)?;
        if link.is_closed() {
            self.failed = true;
            self.forget(runtime);
            return None;
        }
        let mut slot = Slot::of(Link::Task(link.clone()), identity.clone());
        (slot.opened, slot.used) = (shared.opened, shared.used);
        Some(slot)
    }

    fn idle_slot(&mut self, runtime: Id) -> Option<Slot> {
        loop {
            let last = self.idle.iter().rposition(|slot| is_of(slot, runtime))?;
            let slot = self.idle.remove(last);
            if !is_closed(&slot) {
                return Some(slot);
            }
            self.failed = true;
        }
    }
}

fn task_link(slot: &Slot) -> Option<&TaskLink> {
    match slot.connection.as_ref()? {
        (Link::Task(link), _) => Some(link),
        _ => None,
    }
}

/// In a thread that may block, since it resolves the name and asks the program for credentials.
async fn open(
    door: Arc<Door>,
    threads: Arc<Semaphore>,
    again: bool,
) -> Result<Link, (Error, Cause)> {
    let (address, patience) = (door.peer().shown_url(), door.peer().response_timeout());
    let unreached = |why: &dyn fmt::Display| {
        let message = format!("cannot connect to {address}: {why}");
        (unavailable(message, Effect::None), Cause::Unreached)
    };
    let thread = Arc::clone(&threads).acquire_owned().await;
    let opened = Net::Tasks.aside(move || {
        let _thread = thread;
        Ok(door.open(again))
    });
    let opened = opened.await;
    let connection = opened.unwrap_or_else(|gone| Err(unreached(&gone)))?;
    match connection {
        Connection::Wired(wired) => TaskLink::spawn(wired, patience)
            .map(Link::Task)
            .map_err(|e| unreached(&e)),
        #[cfg(feature = "redis-1")]
        connection @ Connection::Client(..) => Ok(Link::Aside(Some(connection), threads)),
    }
}

/// A slot in use; dropping it returns it.
pub(super) struct SlotOfLinks<'a> {
    slot: Slot,
    links: &'a Links,
    /// The connection that the slot had last.
    was: Option<TaskLink>,
    /// `None` if the connection is shared.
    permit: Option<SemaphorePermit<'a>>,
}

impl SlotOfLinks<'_> {
    /// Whether other tasks use the connection too.
    pub(super) fn is_shared(&self) -> bool {
        self.permit.is_none()
    }

    /// The slot uses this connection from now on.
    pub(super) fn uses(&mut self, link: &Link) {
        self.was = match link {
            Link::Task(link) => Some(link.clone()),
            _ => None,
        };
    }

    /// Opens a connection; a shared one is opened once for all tasks.
    pub(super) async fn connect(&mut self, again: bool) -> Result<Link, (Error, Cause)> {
        let door = &self.links.door;
        if self.permit.is_some() {
            let threads = Arc::clone(&self.links.threads);
            let link = open(Arc::clone(door), threads, again).await?;
            let mut state = lock(&self.links.state);
            state.failed = false;
            state.forget_ended(here());
            return Ok(link);
        }
        // The name lookup, and the wait for a thread for it, are not bounded.
        let until = tokio::time::Instant::now() + 2 * door.peer().config().patience();
        let mut ended = 0;
        loop {
            let mut opening = match self.links.opening(self.was.as_ref(), again) {
                Ok(link) => return Ok(Link::Task(link)),
                Err(opening) => opening,
            };
            let opened = opening.wait_for(Option::is_some);
            let opened = tokio::time::timeout_at(until, opened).await;
            match opened.map(|it| it.map(|opened| opened.clone())) {
                Ok(Ok(opened)) => {
                    return opened.map_or_else(|| Err(in_vain()), |it| it.map(Link::Task));
                }
                // The runtime that was opening it has ended.
                Ok(Err(_)) if ended < limits::CONNECT_ATTEMPTS => ended += 1,
                Ok(Err(_)) => {
                    let message = "the task that opens the connection has ended: does the runtime have I/O and time enabled (`enable_all`)?";
                    let failed = unavailable(message.to_owned(), Effect::None);
                    return Err((failed, Cause::Unreached));
                }
                Err(_) => {
                    self.links.give_up(&opening);
                    return Err(in_vain());
                }
            }
        }
    }
}

fn in_vain() -> (Error, Cause) {
    let message = "no connection could be opened in time".to_owned();
    (unavailable(message, Effect::None), Cause::Unreached)
}

impl Deref for SlotOfLinks<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl DerefMut for SlotOfLinks<'_> {
    fn deref_mut(&mut self) -> &mut Slot {
        &mut self.slot
    }
}

impl Drop for SlotOfLinks<'_> {
    fn drop(&mut self) {
        let slot = std::mem::take(&mut self.slot);
        let mut state = lock(&self.links.state);
        match &self.permit {
            // After a dropped future the slot has no connection: what the future left on it is
            // unknown.
            Some(_) => {
                state.failed |= slot.failed;
                if slot.connection.is_some() {
                    state.idle.push(slot.given_back());
                }
            }
            None => state.give_back(slot, self.was.as_ref()),
        }
    }
}

impl State {
    /// Applies what one task has found out about the shared connection.
    fn give_back(&mut self, slot: Slot, was: Option<&TaskLink>) {
        let at = |link: &TaskLink| {
            let mut shared = self.shared.iter();
            shared.position(|slot| task_link(slot).is_some_and(|own| own.is_same(link)))
        };
        if let Some((Link::Task(link), identity)) = slot.connection {
            if let Some(at) = at(&link) {
                let shared = &mut self.shared[at];
                shared.used = Some(Instant::now());
                // Other tasks may have asked meanwhile.
                if !matches!(identity, Identity::Unasked) {
                    shared.connection = Some((Link::Task(link), identity));
                }
            }
        } else if (slot.failed || slot.is_given_up)
            && let Some(at) = was.and_then(at)
        {
            self.failed |= slot.failed;
            self.shared.remove(at);
        }
    }
}
