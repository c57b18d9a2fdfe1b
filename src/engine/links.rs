//! One server's connections for tasks: one that all share whose requests stand alone, and a bounded number of those that one has for
//! itself.

use super::{
    door::Door,
    link::{Link, TaskLink},
    net::Sharing,
    node::Cause,
    pool::Slot,
    refusal::unavailable,
    run_id::Identity,
};
use crate::model::{Effect, Error};
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A node's connections for tasks.
pub(super) struct Links {
    state: Mutex<State>,
    own: Semaphore,
    /// One task at a time makes the shared one.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    shared: Option<Slot>,
    /// Those that one task has for itself, in the order of their last use.
    idle: Vec<Slot>,
    /// The last connection was lost.
    failed: bool,
}

impl Links {
    pub(super) fn new(own: u32) -> Self {
        Self {
            state: Mutex::default(),
            own: Semaphore::new(own as usize),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    pub(super) async fn take(&self, patience: Duration, sharing: Sharing) -> Option<Taken<'_>> {
        let permit = match sharing {
            Sharing::Shared => None,
            Sharing::Own => {
                let permit = tokio::time::timeout(patience, self.own.acquire());
                Some(permit.await.ok()?.ok()?)
            }
        };
        let mut state = self.lock();
        let mut slot = match sharing {
            Sharing::Shared => state.shared_slot(),
            Sharing::Own => state.idle.pop(),
        }
        .unwrap_or_default();
        slot.failed |= slot.connection.is_none() && state.failed;
        drop(state);
        slot.close_if_old();
        let was = task_link(&slot).cloned();
        Some(Taken {
            slot,
            links: self,
            was,
            permit,
        })
    }

    /// Opens a connection for a slot that has none; where tasks share it, one for all of them.
    pub(super) async fn connect(
        &self,
        door: &Arc<Door>,
        sharing: Sharing,
    ) -> Result<Link, (Error, Cause)> {
        if sharing == Sharing::Own {
            return open(door).await.map(Link::Task);
        }
        let before = self.shared();
        let _one = self.connecting.lock().await;
        match self.shared() {
            // Somebody was faster.
            Some(link) if before.as_ref().is_none_or(|before| !before.is_same(&link)) => {
                Ok(Link::Task(link))
            }
            _ => {
                let link = open(door).await?;
                let mut state = self.lock();
                state.failed = false;
                state.shared = Some(Slot::of(Link::Task(link.clone()), Identity::Unasked));
                Ok(Link::Task(link))
            }
        }
    }

    fn shared(&self) -> Option<TaskLink> {
        let state = self.lock();
        task_link(state.shared.as_ref()?).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Another handle on the shared connection.
    fn shared_slot(&self) -> Option<Slot> {
        let shared = self.shared.as_ref()?;
        let (_, identity) = shared.connection.as_ref()?;
        let mut slot = Slot::of(Link::Task(task_link(shared)?.clone()), identity.clone());
        slot.opened = shared.opened;
        Some(slot)
    }
}

fn task_link(slot: &Slot) -> Option<&TaskLink> {
    match slot.connection.as_ref()? {
        (Link::Task(link), _) => Some(link),
        (Link::Thread(_), _) => None,
    }
}

/// By a thread that may block: it looks the name up, and asks the program for credentials.
async fn open(door: &Arc<Door>) -> Result<TaskLink, (Error, Cause)> {
    let door = Arc::clone(door);
    let patience = door.response_timeout();
    let opened = tokio::task::spawn_blocking(move || door.open()).await;
    let gone = |why: String| (unavailable(why, Effect::None), Cause::Unreached);
    let connection = opened.map_err(|e| gone(format!("the runtime has shut down: {e}")))??;
    TaskLink::spawn(connection, patience).map_err(|e| gone(e.to_string()))
}

/// A slot in use; its drop gives it back.
pub(super) struct Taken<'a> {
    slot: Slot,
    links: &'a Links,
    /// The connection that it had last.
    was: Option<TaskLink>,
    /// `None` where the connection is shared.
    permit: Option<SemaphorePermit<'a>>,
}

impl Taken<'_> {
    /// This connection is used from now on.
    pub(super) fn uses(&mut self, link: &Link) {
        self.was = match link {
            Link::Task(link) => Some(link.clone()),
            Link::Thread(_) => None,
        };
    }
}

impl Deref for Taken<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        &self.slot
    }
}

impl DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Slot {
        &mut self.slot
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let slot = std::mem::take(&mut self.slot);
        let mut state = self.links.lock();
        state.failed |= slot.failed;
        match &self.permit {
            // One whose future was dropped has none: what it left on the connection is not known.
            Some(_) if slot.connection.is_some() => state.idle.push(slot.given_back()),
            Some(_) => {}
            None => state.give_back(slot, self.was.as_ref()),
        }
    }
}

impl State {
    /// What one task has found out about the shared connection.
    fn give_back(&mut self, slot: Slot, was: Option<&TaskLink>) {
        let Some(shared) = &mut self.shared else {
            return;
        };
        let is_same = |link: Option<&TaskLink>| {
            let own = task_link(shared);
            own.is_some_and(|own| link.is_some_and(|link| own.is_same(link)))
        };
        if let Some((Link::Task(link), identity)) = slot.connection {
            if is_same(Some(&link)) {
                shared.connection = Some((Link::Task(link), identity));
            }
        } else if (slot.failed || slot.is_given_up) && is_same(was) {
            self.shared = None;
        }
    }
}
